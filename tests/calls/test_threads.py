"""A user's handler on its own thread: the two crossings under load, and that nothing it does stops the main loop.

On real loops and a real thread, so this is the outer edge of this ring: short, bounded in counts, and waiting for events.
"""

import asyncio
import contextlib
import gc
import sys
import time

import pytest

from calls.support import Dialled, silent, speech
from calls.test_delivery import audio, key, name_of
from smartflo_bridge.calls.delivery import Delivery
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination

WAIT_SECONDS = 10
"""Far beyond what anything here takes: a test that fails, fails; it does not hang."""


@pytest.fixture
def home():
    """Make a home in a thread, and end it."""
    home = HandlerLoop.in_thread()
    yield home
    assert home.stop(WAIT_SECONDS), "the thread is still there"


def dial(handler, home, **more):
    """Dial on the real clock."""
    return Dialled(handler, home=home, clock_ns=time.monotonic_ns, **more)


def run_really(main):
    """Run on a real loop, within the time-out."""

    async def within():
        async with asyncio.timeout(WAIT_SECONDS):
            return await main

    return asyncio.run(within())


@pytest.mark.parametrize("max_seconds", [0.1, 2.0, 600.0])
def test_deliveries_cross_to_a_thread(home, max_seconds):
    """Thousands of events, put as fast as can be: all keys arrive, the order is kept, and only counted audio is missing."""
    count = 20_000

    async def take_all(delivery, names):
        async for event in delivery:
            names.append(name_of(event))

    async def main():
        delivery, names, dropped = Delivery(home, max_seconds), [], 0
        taking = asyncio.wrap_future(home.start(take_all(delivery, names)))
        for number in range(count):
            dropped += delivery.put(key(number) if number % 50 == 0 else audio(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        delivery.finish()
        await taking
        numbers = [number for _, number in names]
        assert numbers == sorted(set(numbers))
        assert sum(kind == "key" for kind, _ in names) == count // 50
        assert (count - len(names)) * 160 == dropped
        assert not delivery._backlog
        if max_seconds > 60:
            assert dropped == 0

    run_really(main())


def test_a_reader_in_a_thread_is_woken_each_time(home):
    """One event at a time, each put only when the one before has been taken: no wake-up is ever missed."""

    async def echo(delivery, loop, took):
        async for event in delivery:
            loop.call_soon_threadsafe(took.put_nowait, event.sequence_number)

    async def main():
        delivery, took = Delivery(home, 2.0), asyncio.Queue()
        taking = asyncio.wrap_future(home.start(echo(delivery, asyncio.get_running_loop(), took)))
        for number in range(2000):
            delivery.put(key(number))
            assert await took.get() == number
        delivery.finish()
        await taking

    run_really(main())


def test_a_whole_call_in_a_thread(home):
    """Play, mark, interrupt, digits and hang-up work across the thread as they do without one."""
    got = []

    async def answer(call):
        await call.play(speech(0.1), encoding="ulaw")
        got.append((await call.mark("said")).result)
        await call.play(speech(9.0), encoding="ulaw")
        got.append(await call.digits(2, 5))
        got.append((await call.interrupt()).dropped_ms)
        await call.hang_up()
        got.append(call.termination)

    async def main():
        dialled = dial(answer, home)
        while "mark said" not in dialled.peer.transcript or "mark m1" in dialled.peer.transcript:
            await asyncio.sleep(0.001)
        while not dialled.platform.echoed:
            await asyncio.sleep(0.001)
        dialled.platform.press("1", "2")
        await dialled.over()
        return dialled

    dialled = run_really(main())
    assert got == ["played", "12", 0, "hung_up"]
    assert dialled.peer.closed == (1000, "")


def test_a_handler_that_blocks_delays_nobody_s_audio(home):
    """While one handler holds up its thread for 0.5 s, queued audio leaves on time, its own and that of others."""

    async def block(call):
        await call.play(speech(1.0, call.stream_sid), encoding="ulaw")
        await call.digits(1, 5, barge_in=False)
        time.sleep(0.5)  # noqa: ASYNC251 - that is what is tested
        await silent(call)

    async def speak(call):
        await call.play(speech(1.0, call.stream_sid), encoding="ulaw")
        await silent(call)

    async def main():
        blocking, other = dial(block, home, sid="MZ1"), dial(speak, home, sid="MZ2")
        await blocking.begun()
        await other.begun()
        blocking.platform.press("1")
        worst, last = 0.0, time.monotonic()
        while blocking.platform.line.heard_bytes < 6400:
            await asyncio.sleep(0.005)
            blocking.platform.heard()
            worst, last = max(worst, time.monotonic() - last), time.monotonic()
        assert worst < 0.4, "the main loop was held up"
        for dialled in (blocking, other):
            session = await dialled.hung_up_on()
            assert session.ledger.worst_lateness_seconds < 0.4
            assert session.termination is Termination.COMPLETED

    run_really(main())


def test_a_handler_that_reads_on_without_a_pause_learns_the_end(home):
    """It was busy when the call ended, finds all events there, and then how the call ended."""
    seen = []

    async def busy(call):
        async for _ in call:
            time.sleep(0.2)  # noqa: ASYNC251 - it is what is tested
        seen.append(call.termination)

    async def main():
        dialled = dial(busy, home)
        await dialled.begun()
        dialled.platform.speak(speech(0.1))
        await asyncio.sleep(0.05)  # it is busy
        dialled.platform.stop()
        await dialled.over()

    run_really(main())
    assert seen == [Termination.COMPLETED]


def test_a_handler_that_blocks_for_good_is_left_alone(home, caplog):
    """Its call ends within twice the grace though its thread does not answer."""

    async def block(call):
        time.sleep(0.6)  # noqa: ASYNC251 - that is what is tested

    async def main():
        dialled = dial(block, home, grace_seconds=0.05)
        await dialled.begun()
        dialled.platform.speak(speech(0.1))
        began = time.monotonic()
        await dialled.hung_up_on()
        assert time.monotonic() - began < 0.5

    run_really(main())
    assert "a handler does not end and is left alone" in caplog.text


async def exits(call):
    """Leave as a script would."""
    sys.exit(3)


async def exits_in_a_task(call):
    """Leave from a task of the handler's own."""

    async def leave():
        sys.exit(3)

    leaving = asyncio.get_running_loop().create_task(leave())
    await asyncio.wait([leaving])
    leaving.exception()


@pytest.mark.parametrize("handler", [exits, exits_in_a_task])
def test_a_handler_that_exits_ends_its_own_call_only(home, handler, caplog):
    """`sys.exit` in a user's code is a failure of one call: the thread lives on, and the next call is answered."""

    async def speak(call):
        await call.play(speech(0.02), encoding="ulaw")

    async def main():
        await dial(handler, home, sid="MZ1").over(fails=True)
        dialled = dial(speak, home, sid="MZ2")
        assert (await dialled.over()).termination is Termination.HUNG_UP
        assert dialled.peer.audio == speech(0.02)

    run_really(main())


def test_an_exit_is_a_failure(home, caplog):
    """The call of a handler that exits is closed with 1011, and the log says why."""

    async def main():
        dialled = dial(exits, home)
        session = await dialled.over(fails=True)
        assert dialled.peer.closed == (1011, "the handler failed")
        assert session.termination is Termination.HANDLER_FAILED
        assert "handler failed" in caplog.text

    run_really(main())


def test_a_home_that_is_stopped_cancels_what_runs_there():
    """The end of the daemon ends the handlers that are left."""
    home = HandlerLoop.in_thread()

    async def wait_for_ever():
        await asyncio.Event().wait()

    async def main():
        return home.start(wait_for_ever())

    running = asyncio.run(main())
    assert home.stop(WAIT_SECONDS)
    assert running.cancelled() or running.done()
    home.post(print)  # nobody is left to be told, and that is no error


def test_a_handler_that_nobody_can_wake_is_not_collected(home, caplog):
    """A handler that is left alone waits for something of its own only: the loop would let it be collected, with an error."""

    async def ignore_cancelling():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def main():
        home.start(ignore_cancelling()).cancel()
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert not caplog.records


def test_the_main_home_needs_no_thread():
    """Handlers of our own run on the main loop, and there is nothing to stop."""

    async def main():
        home = HandlerLoop.main()
        assert home.is_main
        said = []
        home.post(said.append, 1)
        assert said == [1], "at once: nothing is between"
        assert home.stop(0)

    asyncio.run(main())
