"""Functions that answer in the place of a model."""

from smartflo_bridge.agents.answering import HANG_UP


async def repeat(said: str) -> str:
    """Say what the caller said, or hang up when asked to."""
    return HANG_UP if said == "hang up" else f"You said: {said}"
