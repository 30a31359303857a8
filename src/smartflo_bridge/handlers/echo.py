"""The echo: the caller hears themselves. What one listens to first, and what the benchmarks measure."""

from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import silence
from smartflo_bridge.core.incoming import MediaEvent

HEAD_START_SECONDS = 0.06
"""Silence before the first word. A live source arrives with jitter, and what arrives late is a gap: this absorbs it."""


class Echo:
    """Plays back what comes, in real time, without a gap."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._has_begun = False

    async def play(self, event: MediaEvent) -> None:
        """Play one piece of the caller's audio."""
        if not self._has_begun:
            self._has_begun = True
            await self._call.play(silence(HEAD_START_SECONDS), encoding="ulaw")
        await self._call.play(event.ulaw, encoding="ulaw")


async def echo(call: Call) -> None:
    """Play back what the caller says, until the call ends."""
    playback = Echo(call)
    async for event in call:
        if isinstance(event, MediaEvent):
            await playback.play(event)
