"""Pings of a connection: silence binds who has answered one, and nobody needs hundreds."""

import asyncio

from smartflo_bridge.server.pings import PING_BURST, Pings
from virtual_clock import virtual


@virtual
async def test_silence_binds_nobody_who_never_answered():
    """It is unknown whether the platform can: it is asked again and again, and a pong that answers nothing is no answer."""
    cuts, asked = [], []
    pings = Pings(20.0, asked.append, lambda: cuts.append(1))
    pings.begin()
    pings.take_pong(b"")
    await asyncio.sleep(3600)
    assert cuts == []
    assert len(asked) == 180
    assert len({*asked}) == 1
    assert len(asked[0]) == 4


@virtual
async def test_silence_after_an_answer():
    """Whoever has answered once is gone after twice the interval without a word; each word begins it anew."""
    loop = asyncio.get_running_loop()
    cuts, asked = [], []
    pings = Pings(20.0, asked.append, lambda: cuts.append(loop.time()))
    pings.begin()
    await asyncio.sleep(20)
    began_at = loop.time()
    pings.hear()
    pings.take_pong(asked[0])
    for _ in range(5):
        await asyncio.sleep(39)
        pings.hear()
        pings.take_pong(asked[-1])
    await asyncio.sleep(100)
    (at,) = cuts
    assert 5 * 39 + 40 <= at - began_at < 5 * 39 + 40.5


@virtual
async def test_no_silence_after_the_end():
    """A connection that is closed is neither asked nor cut."""
    cuts, asked = [], []
    pings = Pings(1.0, asked.append, lambda: cuts.append(1))
    pings.begin()
    await asyncio.sleep(1.5)
    pings.take_pong(asked[0])
    pings.close()
    await asyncio.sleep(100)
    assert cuts == []
    assert len(asked) == 1


@virtual
async def test_a_flood():
    """A hundred at once, and ten a second for ever; more is too many."""
    pings = Pings(20.0, print, print)
    await asyncio.sleep(60)
    assert all(pings.may_ping() for _ in range(PING_BURST))
    assert not pings.may_ping()
    pings = Pings(20.0, print, print)
    for _ in range(1000):
        await asyncio.sleep(0.1)
        assert pings.may_ping()
