"""How many may come in: pending handshakes, new calls a second, and none while the loop is late. With numbers for time."""

import asyncio
import logging
import time

import pytest

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.server import loop_lag
from smartflo_bridge.server.admission import MAX_PENDING, MAX_PENDING_PER_ADDRESS, Admission, Refusal
from smartflo_bridge.server.loop_lag import TICK_SECONDS, LoopLag
from smartflo_bridge.server.proxies import TrustedProxies


def admission(rate=30, max_calls=10_000, lag=None, proxies=("10.0.0.1",)):
    """Return an admission."""
    return Admission(
        Registry(max_calls),
        lag or LoopLag(),
        TrustedProxies(proxies),
        max_new_calls_per_second=rate,
        shed_seconds=0.25,
    )


# --- Handshakes


def test_one_address_has_so_many_handshakes_and_no_more():
    """Others are not affected, and a place that is given back is free; given back twice, it is free once."""
    admitted = admission()
    places = [admitted.enter("203.0.113.7", 0.0) for _ in range(MAX_PENDING_PER_ADDRESS)]
    assert None not in places
    assert admitted.enter("203.0.113.7", 0.0) is None
    assert admitted.enter("203.0.113.8", 0.0) is not None
    places[0].leave()
    places[0].leave()
    assert admitted.enter("203.0.113.7", 0.0) is not None
    assert admitted.enter("203.0.113.7", 0.0) is None
    assert admitted.refused == {Refusal.PENDING_OF_ADDRESS: 2}


@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", None])
def test_a_proxy_has_no_limit_of_its_own(address):
    """Nor a Unix socket: their connections are other people's. The limit for all counts them."""
    admitted = admission()
    places = [admitted.enter(address, 0.0) for _ in range(MAX_PENDING)]
    assert None not in places
    assert admitted.enter(address, 0.0) is None
    assert admitted.enter("203.0.113.7", 0.0) is None
    assert admitted.refused == {Refusal.PENDING: 2}
    for place in places:
        place.leave()
    assert admitted.pending == 0


def test_nothing_is_kept_of_who_has_left():
    """A hundred thousand addresses leave no trace."""
    admitted = admission()
    for number in range(100_000):
        admitted.enter(f"203.0.{number >> 8 & 255}.{number & 255}", 0.0).leave()
    assert admitted.pending == 0
    assert not admitted._pending


# --- New calls


def test_calls_a_second_are_limited_on_average():
    """Two seconds' worth may come at once; after that they come at the rate, whatever the moment."""
    admitted = admission(rate=30)
    assert [admitted.admits_call(100.0) for _ in range(61)] == [True] * 60 + [False]
    assert not admitted.admits_call(100.03)
    assert admitted.admits_call(100.04)
    count = sum(admitted.admits_call(101.0 + number / 200) for number in range(2000))
    assert count == pytest.approx(30 * 10 + 30, abs=2)
    assert [admitted.admits_call(1000.0) for _ in range(61)] == [True] * 60 + [False]


def test_a_full_house_admits_nobody_and_costs_no_credit():
    """What cannot be served does not count as served."""
    admitted = admission(rate=1, max_calls=1)
    admitted._registry.connections = 1
    assert [admitted.admits_call(5.0) for _ in range(10)] == [False] * 10
    admitted._registry.connections = 0
    assert [admitted.admits_call(5.0) for _ in range(3)] == [True, True, False]
    assert admitted.refused == {Refusal.FULL: 10, Refusal.RATE: 1}


def test_no_new_calls_while_the_loop_is_late():
    """For a second after a stall, and during it, which the first request after it may notice before the tick does."""
    lag = LoopLag()
    admitted = admission(lag=lag)
    lag.note(10.0)
    assert admitted.admits_call(10.05)
    assert not admitted.admits_call(10.0 + TICK_SECONDS + 0.26)
    lag.note(10.0 + TICK_SECONDS + 0.3)
    assert not admitted.admits_call(10.5)
    for number in range(1, 10):
        lag.note(10.4 + number * TICK_SECONDS)
    assert not admitted.admits_call(11.35)
    lag.note(11.4)
    assert admitted.admits_call(11.45)
    assert admitted.refused == {Refusal.LATE: 3}


def test_a_flood_is_told_in_few_lines(caplog):
    """One for each reason, every ten seconds at most, and without an address."""
    caplog.set_level(logging.INFO)
    admitted = admission(rate=1)
    for number in range(3000):
        admitted.admits_call(number / 100)
        for _ in range(3):
            admitted.enter("203.0.113.7", number / 100)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 6
    assert lines[0].startswith("connections refused why=rate so_far=1") or lines[0].startswith(
        "connections refused why=pend"
    )
    assert not any("203" in line for line in lines)


# --- The loop's lag


def test_the_lag_of_a_minute():
    """Its p99 is that of 600 ticks: five late ones are not in it, seven are."""
    for late, expected in ((5, 0.0), (7, 0.5)):
        lag, now = LoopLag(), 0.0
        for number in range(700):
            now += TICK_SECONDS + (0.5 if number >= 700 - late else 0.0)
            lag.note(now)
        assert lag.p99_seconds() == pytest.approx(expected)
        assert lag.seconds(now) == pytest.approx(0.5)


def test_a_late_loop_is_told_in_few_lines(caplog):
    """From more than a quarter of a second on, every ten seconds at most, with how often it was."""
    lag, now = LoopLag(), 0.0
    lag.note(now)
    for late_seconds in (0.24, 0.26, *[0.0] * 20, *[0.31] * 50):
        now += TICK_SECONDS + late_seconds
        lag.note(now)
    assert caplog.messages == [
        "the main loop is late ms=260 so_far=1",
        "the main loop is late ms=310 so_far=21",
        "the main loop is late ms=310 so_far=46",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_loop_that_is_blocked_is_late(monkeypatch):
    """By as much as it was blocked."""
    monkeypatch.setattr(loop_lag, "TICK_SECONDS", 0.02)

    async def main():
        lag = LoopLag()
        watching = asyncio.create_task(lag.watch())
        await asyncio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - the fault that is looked for
        seconds = lag.seconds(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        assert 0.25 < seconds < 3.0
        assert lag.seconds(asyncio.get_running_loop().time()) >= 0.25
        watching.cancel()

    asyncio.run(main())
