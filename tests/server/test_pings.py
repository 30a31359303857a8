"""Pings of a connection: silence binds who has answered one, and nobody needs hundreds."""

import asyncio

from smartflo_bridge.server.pings import PING_BURST, Pings
from virtual_clock import virtual


@virtual
async def test_silence_binds_nobody_who_never_answered():
    """It is unknown whether the platform can."""
    cuts = []
    Pings(20.0, lambda: cuts.append(1))
    await asyncio.sleep(3600)
    assert cuts == []


@virtual
async def test_silence_after_an_answer():
    """Whoever has answered once is gone after twice the interval without a word; each word begins it anew."""
    loop = asyncio.get_running_loop()
    cuts = []
    pings = Pings(20.0, lambda: cuts.append(loop.time()))
    began_at = loop.time()
    pings.hear()
    pings.take_pong()
    for _ in range(5):
        await asyncio.sleep(39)
        pings.hear()
        pings.take_pong()
    await asyncio.sleep(100)
    (at,) = cuts
    assert 5 * 39 + 40 <= at - began_at < 5 * 39 + 40.5


@virtual
async def test_no_silence_after_the_end():
    """A connection that is closed is not cut."""
    cuts = []
    pings = Pings(1.0, lambda: cuts.append(1))
    pings.take_pong()
    pings.close()
    await asyncio.sleep(100)
    assert cuts == []


@virtual
async def test_a_flood():
    """A hundred at once, and ten a second for ever; more is too many."""
    pings = Pings(20.0, lambda: None)
    await asyncio.sleep(60)
    assert all(pings.may_ping() for _ in range(PING_BURST))
    assert not pings.may_ping()
    pings = Pings(20.0, lambda: None)
    for _ in range(1000):
        await asyncio.sleep(0.1)
        assert pings.may_ping()
