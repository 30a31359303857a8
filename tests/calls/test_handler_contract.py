"""The contract of a handler: what its return, its exception, its slowness and its stubbornness mean for the call."""

import asyncio

import pytest

from calls.support import Dialled, silent, speech
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import CallEnded
from virtual_clock import virtual


def tracebacks(caplog):
    """Return the log records that carry a traceback."""
    return [record for record in caplog.records if record.exc_info]


# --- It returns


@virtual
async def test_what_is_queued_is_heard_before_a_returned_handler_s_call_ends():
    """Returning hangs up: all of the audio plays out, then the connection is closed with 1000."""

    async def speak_and_go(call):
        await call.play(speech(2.5), encoding="ulaw")

    dialled = Dialled(speak_and_go)
    session = await dialled.over()
    assert dialled.platform.heard(0, 2.5) == speech(2.5)
    assert dialled.peer.closed == (1000, "")
    assert dialled.peer.closed_at_seconds == pytest.approx(2.5, abs=0.01)
    assert session.termination is Termination.HUNG_UP


@virtual
async def test_a_handler_that_returns_at_once_hangs_up_at_once():
    """With nothing queued there is nothing to wait for."""

    async def go(call):
        """Do nothing."""

    dialled = Dialled(go)
    session = await dialled.over()
    assert dialled.peer.closed == (1000, "")
    assert dialled.peer.seconds < 0.01
    assert session.termination is Termination.HUNG_UP


@virtual
async def test_an_odd_tail_is_padded_and_heard():
    """The last samples are not lost because they fill no frame."""

    async def speak_and_go(call):
        await call.play(speech(0.3) + b"\x11", encoding="ulaw")

    dialled = Dialled(speak_and_go)
    await dialled.over()
    assert dialled.peer.audio == speech(0.3) + b"\x11" + b"\xff" * 159


@virtual
async def test_a_goodbye_whose_echo_never_comes_still_ends():
    """A platform that echoes nothing costs the slack, not the call."""

    async def speak_and_go(call):
        await call.play(speech(1.0), encoding="ulaw")

    dialled = Dialled(speak_and_go, echoes_marks=False)
    await dialled.over()
    assert dialled.peer.closed_at_seconds == pytest.approx(3.0, abs=0.02)


@virtual
async def test_the_caller_is_heard_no_more_when_the_handler_is_done():
    """Audio that comes during the goodbye is counted as dropped: there is nobody to deliver it to."""

    async def speak_and_go(call):
        await call.play(speech(1.0), encoding="ulaw")

    dialled = Dialled(speak_and_go)
    await dialled.begun()
    await dialled.platform.talk(speech(0.5, "caller"))
    session = await dialled.over()
    assert session.ledger.inbound_drops == {"handler_done": 4000}


# --- It raises


@virtual
async def test_a_handler_that_raises_ends_its_call_with_1011(caplog):
    """What is queued is not played any more, and the log has exactly one traceback."""

    async def fail(call):
        await call.play(speech(5.0), encoding="ulaw")
        await call.digits(1, 60)
        raise ZeroDivisionError

    dialled = Dialled(fail)
    await dialled.begun()
    dialled.platform.press("1")
    session = await dialled.over(fails=True)
    assert isinstance(dialled.handler_error, ZeroDivisionError)
    assert dialled.peer.closed == (1011, "the handler failed")
    assert dialled.peer.seconds < 0.1
    assert session.termination is Termination.HANDLER_FAILED
    (record,) = tracebacks(caplog)
    assert record.levelname == "ERROR"
    assert record.getMessage() == "handler failed stream_sid=MZ0a1"


@virtual
async def test_a_handler_that_raises_before_its_first_wait_ends_its_call():
    """A mistake in the first line is no different from one in the last."""

    async def fail(call):
        raise ValueError

    dialled = Dialled(fail)
    assert (await dialled.over(fails=True)).termination is Termination.HANDLER_FAILED


@virtual
async def test_a_group_with_another_error_is_a_failure(caplog):
    """CallEnded does not hide what else went wrong in a group of tasks."""

    async def fail(call):
        async def one():
            raise CallEnded

        async def other():
            raise KeyError

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one())
            tasks.create_task(other())

    dialled = Dialled(fail)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.HANDLER_FAILED
    assert len(tracebacks(caplog)) == 1


@virtual
async def test_a_handler_that_fails_after_its_call_changes_nothing_but_the_log(caplog):
    """How the call ended is known by then; the traceback is still wanted."""

    async def fail_late(call):
        await silent(call)
        raise ZeroDivisionError

    dialled = Dialled(fail_late)
    await dialled.begun()
    dialled.platform.stop()
    session = await dialled.over(fails=True)
    assert session.termination is Termination.COMPLETED
    assert dialled.peer.closed == (1000, "")
    assert len(tracebacks(caplog)) == 1


@virtual
async def test_a_handler_that_is_cancelled_from_within_has_not_returned(caplog):
    """Awaiting what somebody has cancelled is a failure like another: it is not taken for a decision to hang up."""

    async def trip(call):
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    dialled = Dialled(trip)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.HANDLER_FAILED
    assert "handler failed" in caplog.text


# --- It learns that the call is over


async def play_on(call):
    """Play until somebody says that nobody listens."""
    while True:
        await call.play(speech(1.0), encoding="ulaw")


async def play_on_in_a_group(call):
    """Do the same in two tasks of a group."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(play_on(call))
        tasks.create_task(play_on(call))


async def play_on_in_groups(call):
    """Do the same in a group within a group."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(play_on_in_a_group(call))


@pytest.mark.parametrize("handler", [play_on, play_on_in_a_group, play_on_in_groups])
@virtual
async def test_the_end_of_the_call_is_no_failure(handler, caplog):
    """CallEnded, alone or from several tasks, is the normal way in which a handler ends."""
    dialled = Dialled(handler, settings={"queue_seconds": 5.0})
    await dialled.begun()
    await asyncio.sleep(2)
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert dialled.peer.seconds == pytest.approx(2.0, abs=0.01)
    assert not tracebacks(caplog)


@virtual
async def test_every_verb_says_that_the_call_is_over():
    """After the end each verb raises CallEnded, except those that would have nothing to do."""
    said = []

    async def ask_all(call):
        await silent(call)
        assert call.termination is Termination.COMPLETED
        for verb in (
            lambda: call.play(speech(0.1), encoding="ulaw"),
            lambda: call.digits(1, 1),
            lambda: call.utterance().play(b"\0\0"),
            call.mark,
            call.interrupt,
        ):
            try:
                await verb()
            except CallEnded as ended:
                said.append(str(ended))
        await call.hang_up()
        call.utterance().end()

    dialled = Dialled(ask_all)
    await dialled.begun()
    await dialled.hung_up_on()
    assert len(said) == 5
    assert set(said) == {"the call is over"}
