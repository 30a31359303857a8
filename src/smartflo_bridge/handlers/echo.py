"""The echo: the caller hears themselves. What one listens to first, and what the benchmarks measure."""

from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import silence
from smartflo_bridge.core.incoming import MediaEvent

HEAD_START_SECONDS = 0.1
"""Silence before the first word: one of the platform's chunks. It absorbs the jitter with which a live source arrives,
and so keeps the echo free of gaps; the audio itself is sent on as soon as it comes."""


async def echo(call: Call) -> None:
    """Play back what the caller says, until the call ends."""
    await call.play(silence(HEAD_START_SECONDS), encoding="ulaw")
    async for event in call:
        if isinstance(event, MediaEvent):
            await call.play(event.ulaw, encoding="ulaw")
