"""Handlers that answer what the caller says, for replays: each waits for silence and speaks, one later than the other."""

import asyncio

from smartflo_bridge import Call, MediaEvent

SPEECH = bytes([0x10, 0x90]) * 400
QUIET_CHUNKS = 3
"""Without speech, before the caller is taken to have finished."""


async def quick(call: Call) -> None:
    """Answer as soon as the caller has been silent for 300 ms."""
    await _reply(call, 0.0)


async def slow(call: Call) -> None:
    """Think for half a second before each answer."""
    await _reply(call, 0.5)


async def mute(call: Call) -> None:
    """Answer nothing."""
    async for _ in call:
        pass


async def _reply(call: Call, thinking_seconds: float) -> None:
    quiet = QUIET_CHUNKS
    async for event in call:
        if not isinstance(event, MediaEvent):
            continue
        is_speech = event.ulaw.strip(b"\xff") != b""
        quiet = 0 if is_speech else quiet + 1
        if quiet == QUIET_CHUNKS:
            await asyncio.sleep(thinking_seconds)
            await call.play(SPEECH * 3, encoding="ulaw")
            call.mark("said")
