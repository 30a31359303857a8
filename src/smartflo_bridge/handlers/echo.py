"""The echo: the caller hears themselves. What one listens to first, and what the benchmarks measure."""

from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import silence
from smartflo_bridge.core.effects import HandlerEvent
from smartflo_bridge.core.incoming import MediaEvent

HEAD_START_SECONDS = 0.06
"""Silence before the first word. A live source arrives with jitter, and what arrives late is a gap: this absorbs it."""


class Echo:
    """Plays back what comes, in real time, without a gap."""

    def __init__(self, call: Call) -> None:
        self._playback = call.utterance(encoding="ulaw")
        self._has_begun = False

    def take(self, event: HandlerEvent) -> bool:
        """Play a piece of the caller's audio at once; return False if it has to wait."""
        if not isinstance(event, MediaEvent):
            return True
        return self._has_begun and self._playback.offer(event.media.payload) is None

    async def play(self, event: MediaEvent) -> None:
        """Play one piece of the caller's audio."""
        if not self._has_begun:
            self._has_begun = True
            await self._playback.play(silence(HEAD_START_SECONDS))
        await self._playback.play(event.ulaw)


async def echo(call: Call) -> None:
    """Play back what the caller says, until the call ends."""
    playback = Echo(call)
    await call.attend(playback.take)
    async for event in call:  # it had to wait, as the first one has
        if isinstance(event, MediaEvent):
            await playback.play(event)
        await call.attend(playback.take)
