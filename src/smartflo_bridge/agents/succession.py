"""Another line in place of one that the service will close: opened before, and taken up in a moment in which nobody speaks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from smartflo_bridge.agents.line import Line
from smartflo_bridge.core.errors import AgentError

LEAVING_SECONDS = 20.0
"""So long before a service closes the connection, another one is opened."""

QUIET_SECONDS = 7.0
"""How long it waits for a moment in which nobody speaks, before it is opened and again when it is: with `leg.OPEN_SECONDS`
between, all of that is over before the service closes."""

OpenSuccessor = Callable[[], Awaitable[Line | AgentError]]


async def successor_in_time(seconds: float, open_successor: OpenSuccessor, is_quiet: Callable[[], bool]) -> Line | None:
    """Return another line, shortly before the end of this one; None if there is none to be had.

    Args:
        seconds: how long this one lasts.
        open_successor: opens another.
        is_quiet: True while neither caller nor agent speaks, or has to.
    """
    await asyncio.sleep(seconds - LEAVING_SECONDS)
    await _quiet(is_quiet)  # what is said after it has been opened, it is not told of
    successor = await open_successor()
    if not isinstance(successor, Line):
        return None
    try:
        await _quiet(is_quiet)
    except asyncio.CancelledError:
        await successor.close()
        raise
    return successor


async def _quiet(is_quiet: Callable[[], bool]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_SECONDS):
            while not is_quiet():  # noqa: ASYNC110 - nobody announces a quiet moment
                await asyncio.sleep(0.1)
