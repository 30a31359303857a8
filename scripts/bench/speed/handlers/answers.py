"""Handlers that the benchmarks serve: a user's own, so they run on the handlers' thread."""

from smartflo_bridge import Call
from smartflo_bridge.core.incoming import DTMFEvent

ONE_SECOND = bytes(0x80 | (7 * n) % 0x7F for n in range(8000))
"""Sound of no meaning, at many levels."""


async def speak(call: Call) -> None:
    """Speak without a pause until the call is over, which `play` raises."""
    while await call.play(ONE_SECOND, encoding="ulaw"):  # which waits for room
        pass


async def give_way(call: Call) -> None:
    """Speak, and begin anew at each key."""
    await call.play(10 * ONE_SECOND, encoding="ulaw")
    async for event in call:
        if isinstance(event, DTMFEvent):
            await call.interrupt()
            await call.play(10 * ONE_SECOND, encoding="ulaw")
