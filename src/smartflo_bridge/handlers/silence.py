"""The silent handler: answers, listens, says nothing. For captures of a caller alone, and for load."""

from smartflo_bridge.calls.call import Call


async def silence(call: Call) -> None:
    """Listen until the call ends."""
    async for _ in call:
        pass
