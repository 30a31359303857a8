"""A handler that goes on after its call: its grace, its cancelling, and being left alone."""

import asyncio
import contextlib
import gc

import pytest

from calls.support import Dialled, silent, speech
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import CallEnded, HandlerError
from virtual_clock import virtual


@virtual
async def test_a_handler_may_tidy_up_after_its_call():
    """The connection is closed at once, the handler has its grace, and `run_call` waits for it."""

    async def tidy_up(call):
        await silent(call)
        await asyncio.sleep(3)

    dialled = Dialled(tidy_up, grace_seconds=5.0)
    await dialled.begun()
    await dialled.hung_up_on()
    assert dialled.peer.closed_at_seconds < 0.01
    assert dialled.handler_ended_at == pytest.approx(3, abs=0.01)
    assert dialled.peer.seconds == pytest.approx(3, abs=0.01)


@virtual
async def test_a_handler_that_goes_on_is_cancelled_after_its_grace(caplog):
    """One that does not listen to its call is cancelled; that is no failure and no line of its own."""

    async def dawdle(call):
        await asyncio.sleep(3600)

    dialled = Dialled(dawdle, grace_seconds=5.0)
    await dialled.begun()
    session = await dialled.hung_up_on()
    assert dialled.handler_ended_at == pytest.approx(5, abs=0.01)
    assert session.termination is Termination.COMPLETED
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@virtual
async def test_a_handler_that_ignores_being_cancelled_is_left_alone(caplog):
    """After twice the grace the call is given up as it is, with a warning, and nothing else waits for it."""
    is_wanted = asyncio.Event()

    async def ignore(call):
        while not is_wanted.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_wanted.wait()

    dialled = Dialled(ignore, grace_seconds=5.0)
    await dialled.begun()
    dialled.platform.speak(speech(0.1))
    await dialled.hung_up_on()
    assert dialled.peer.seconds == pytest.approx(10, abs=0.01)
    assert dialled.handler_ended_at is None
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "a handler does not end and is left alone stream_sid=MZ0a1"
    is_wanted.set()
    await asyncio.sleep(0.1)
    assert dialled.handler_ended_at is not None


@virtual
async def test_a_handler_that_is_left_alone_can_do_no_harm():
    """It wakes up later to a call that is over: whatever it tries says so, and its iteration ends."""
    said = []

    async def sleep_through(call):
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
        async for event in call:
            said.append(event)
        try:
            call.mark()
        except CallEnded:
            said.append("over")

    dialled = Dialled(sleep_through, grace_seconds=1.0)
    await dialled.begun()
    dialled.platform.speak(speech(0.1))
    session = await dialled.hung_up_on()
    assert session.ledger.inbound_drops == {"unread": 800}
    await asyncio.sleep(60)
    assert said == ["over"]
    assert session.ledger.balanced


@virtual
async def test_a_handler_that_is_left_alone_is_not_destroyed():
    """It waits for something of its own, so nothing but us keeps its task: it is left alone, not swept away."""

    async def ignore_once(call):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        await asyncio.get_running_loop().create_future()

    dialled = Dialled(ignore_once, grace_seconds=1.0)
    await dialled.begun()
    await dialled.hung_up_on()
    home = dialled.setup.home
    del dialled
    gc.collect()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert len(left) == 1
    assert home.is_main
    left.pop().cancel()


@virtual
async def test_two_readers_are_a_mistake():
    """The events of a call are for one task at a time; the second is told so."""

    async def read_twice(call):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(silent(call))
            tasks.create_task(call.digits(1, 5))

    dialled = Dialled(read_twice)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.HANDLER_FAILED

    async def read_again(call):
        first = asyncio.ensure_future(anext(call))
        await first
        waiting = asyncio.ensure_future(anext(call))
        await asyncio.sleep(0.1)
        with pytest.raises(HandlerError, match="one task at a time"):
            await anext(call)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await call.digits(1, 5)) == "3"

    dialled = Dialled(read_again)
    await asyncio.sleep(1)
    dialled.platform.press("3")
    assert (await dialled.over()).termination is Termination.HUNG_UP
