"""Several connections as one: what is read, what is sent, and that they live and die together."""

import asyncio

import pytest

from agents.support import MemoryConnection
from smartflo_bridge.agents.beside import FIRST, Beside, Several, connect_all
from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.far_end import Closed, DialError
from virtual_clock import virtual

OTHER = Endpoint("wss://other.example.com/")
PAIR = Endpoint("wss://first.example.com/", beside={"other": OTHER})


class Dialled:
    """A network that says what was dialled; `fails` are the addresses that cannot be reached, `is_slow` those late."""

    def __init__(self, fails: str = "", is_slow: str = "") -> None:
        self.connections: dict[str, MemoryConnection] = {}
        self.fails, self.is_slow = fails, is_slow

    async def __call__(self, endpoint: Endpoint, timeout_seconds: float) -> MemoryConnection:
        await asyncio.sleep(10.0 if endpoint.url == self.is_slow else 0.1)
        if endpoint.url == self.fails:
            msg = "it answered with HTTP status 401"
            raise DialError(msg)
        return self.connections.setdefault(endpoint.url, MemoryConnection(endpoint))


@virtual
async def test_one_alone_is_what_it_is():
    """Nothing is put around it."""
    dial = Dialled()
    assert await connect_all(dial, OTHER, 1.0, {}) is dial.connections[OTHER.url]


@virtual
async def test_each_message_goes_where_it_belongs():
    """Both ways; a message of the one beside says so, and is text whatever it was."""
    dial, began = Dialled(), asyncio.get_running_loop().time()
    pair = await connect_all(dial, PAIR, 1.0, {"third": MemoryConnection(OTHER)})
    assert asyncio.get_running_loop().time() - began < 0.15, "at the same time"
    first, other = dial.connections[PAIR.url], dial.connections[OTHER.url]
    assert await pair.send(b"1")
    assert await pair.send(Beside("other", "2"))
    assert (first.sent, other.sent) == ([b"1"], ["2"])
    assert type(other.sent[0]) is str
    other.say("b")
    found = await pair.recv()
    assert (found, found.name) == ("b", "other")
    first.say("a")
    other.say(b"\xff")
    other.say("c")
    assert [await pair.recv() for _ in range(3)] == ["a", "", "c"]
    await pair.close()
    assert first.is_closed
    assert other.is_closed


@virtual
async def test_a_read_that_is_given_up_loses_nothing():
    """What came meanwhile is there at the next."""
    dial = Dialled()
    pair = await connect_all(dial, PAIR, 1.0, {})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pair.recv(), 0.1)
    dial.connections[PAIR.url].say("a")
    await asyncio.sleep(0.1)
    assert await pair.recv() == "a"
    await pair.close()


@pytest.mark.parametrize("which", [PAIR.url, OTHER.url])
@virtual
async def test_when_one_is_gone_all_are(which):
    """It is told as the end of the whole."""
    dial = Dialled()
    pair = await connect_all(dial, PAIR, 1.0, {})
    dial.connections[which].lose(1011)
    assert await pair.recv() == Closed(1011)
    await pair.close()
    assert all(connection.is_closed for connection in dial.connections.values())


@pytest.mark.parametrize("which", [PAIR.url, OTHER.url])
@virtual
async def test_one_that_cannot_be_reached_closes_the_others(which):
    """And what was connected already; its own failure is told."""
    dial, third = Dialled(fails=which), MemoryConnection(OTHER)
    with pytest.raises(DialError, match="401"):
        await connect_all(dial, PAIR, 1.0, {"third": third})
    assert third.is_closed
    assert all(connection.is_closed for connection in dial.connections.values())


@virtual
async def test_one_that_is_late_closes_the_others():
    """When the time is over."""
    dial = Dialled(is_slow=OTHER.url)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await connect_all(dial, PAIR, 1.0, {})
    assert dial.connections[PAIR.url].is_closed


@virtual
async def test_what_is_read_ahead_is_one_message():
    """Of each: who does not read is not flooded."""
    first = MemoryConnection(PAIR)
    pair = Several({FIRST: first, "other": MemoryConnection(OTHER)})
    for number in range(10):
        first.say(str(number))
    assert await pair.recv() == "0"
    await asyncio.sleep(1.0)
    assert first.unread_by_bridge >= 8
    await pair.close()


@virtual
async def test_a_close_that_is_given_up_closes_all():
    """Even before what was being read has ended."""
    dial = Dialled()
    pair = await connect_all(dial, PAIR, 1.0, {})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pair.recv(), 0.1)
    closing = asyncio.ensure_future(pair.close())
    await asyncio.sleep(0)
    assert not dial.connections[PAIR.url].is_closed
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert all(connection.is_closed for connection in dial.connections.values())
