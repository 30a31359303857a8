"""A line alone: what a service may say before it is ready, and that it is closed whoever gives up waiting for that."""

import asyncio

import pytest

from agents.support import FACTS, MemoryConnection, Service
from smartflo_bridge.agents.dialect import Endpoint, Opening
from smartflo_bridge.agents.events import Ready, Speech
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.line import LAST_WORDS_SECONDS, MAX_EARLY, Line, open_line
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from virtual_clock import virtual

SETTINGS = RawSettings(url="ws://127.0.0.1:9/agent")


class Greeting(RawDialect):
    """A service that may greet before it says that it is ready."""

    awaits_ready = True


async def opened(early: int) -> tuple[Service, Line]:
    """Open a line to a service that says so many things before it is ready."""

    async def serve(connection: MemoryConnection) -> None:
        for _ in range(early):
            connection.say(b"\xff" * 160)
        connection.say({"type": "ready"})

    service = Service(serve)
    try:
        return service, await open_line(service.network, Greeting(SETTINGS, Opening(FACTS)), 5.0, {})
    finally:
        await service.over()


@virtual
async def test_a_greeting_before_it_is_ready_is_kept():
    """All of it, up to a bound, in its order."""
    _, line = await opened(MAX_EARLY - 1)
    assert line.early == [Speech(b"\xff" * 160)] * (MAX_EARLY - 1) + [Ready()]


@virtual
async def test_who_says_too_much_before_it_is_ready_is_no_service():
    """Nothing is kept of it, it is not tried again, and its connection is closed."""
    service = Service()
    opening = asyncio.ensure_future(open_line(service.network, Greeting(SETTINGS, Opening(FACTS)), 5.0, {}))
    await asyncio.sleep(0.1)
    for _ in range(MAX_EARLY):
        service.connection.say(b"\xff" * 160)
    await asyncio.sleep(0.1)
    assert not opening.done()
    service.connection.say(b"\xff" * 160)
    service.connection.say({"type": "ready"})
    with pytest.raises(DialError, match="too much") as caught:
        await opening
    assert not caught.value.may_retry
    assert service.connection.is_closed


@virtual
async def test_a_close_that_is_given_up_closes():
    """In the middle of its last words, which the service does not read."""
    connection = MemoryConnection(Endpoint(SETTINGS.url))
    connection.is_deaf = True
    closing = asyncio.ensure_future(Line(connection, RawDialect(SETTINGS, Opening(FACTS))).close())
    await asyncio.sleep(LAST_WORDS_SECONDS / 2)
    assert not connection.is_closed
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert connection.is_closed
    assert connection.sent == []
