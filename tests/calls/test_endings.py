"""How a call ends, seen from the shell: the code of the close, the one line in the log, and that nothing is left over."""

import asyncio
import re

import pytest

from calls.support import Dialled, silent, speech, until
from memory_peer import CALL_SID, CALLED, CALLER, SID, MemoryPeer
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.effects import Termination
from virtual_clock import virtual


def end_lines(caplog):
    """Return the lines that ended calls."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("call ended")]


# --- The peer is gone, in each state


async def nothing(dialled):
    """Say nothing: the stream is ACCEPTED."""


async def greeting(dialled):
    """Say `connected`."""
    dialled.peer.say("connected")


async def streaming(dialled):
    """Let the stream run, with audio both ways and a mark open."""
    dialled.platform.start()
    call = await dialled.begun()
    dialled.platform.speak(speech(0.1))
    await call.play(speech(3.0), encoding="ulaw")
    call.mark()
    await asyncio.sleep(1)


async def saying_goodbye(dialled):
    """Let the bridge be in its last words."""
    await streaming(dialled)
    hanging_up = asyncio.ensure_future(dialled.call.hang_up())
    await asyncio.sleep(0.5)
    assert not hanging_up.done()


@pytest.mark.parametrize("code", [None, 1000, 1001, 1005, 1006, 1011])
@pytest.mark.parametrize("state", [nothing, greeting, streaming, saying_goodbye])
@virtual
async def test_the_peer_is_lost(state, code, caplog):
    """Whenever the connection goes, the call is over at once, its accounts are closed, and nothing is left."""
    caplog.set_level("INFO")
    dialled = Dialled(starts=False)
    await state(dialled)
    at = dialled.peer.seconds
    dialled.peer.lose(code)
    session = await dialled.over()
    assert dialled.peer.seconds - at < 0.01
    normal = Termination.HUNG_UP if state is saying_goodbye else Termination.COMPLETED
    assert session.termination is (normal if code in (1000, 1001, 1005) else Termination.PEER_LOST)
    assert len(dialled.registry) == 0
    assert len(end_lines(caplog)) == (state in (streaming, saying_goodbye)), "a call that never began has no line"
    assert session.ledger.marks.total() == session.ledger.marks_placed


@virtual
async def test_the_peer_is_lost_after_the_stop():
    """A platform that says stop and closes has done all there is to do."""
    dialled = Dialled()
    await dialled.begun()
    dialled.platform.stop()
    dialled.peer.lose(1000)
    assert (await dialled.over()).termination is Termination.COMPLETED


# --- The codes that we close with


@pytest.mark.parametrize(
    ("settings", "starts", "closed", "termination"),
    [
        ({"start_deadline_seconds": 10.0}, False, (1008, "no start"), Termination.LIMIT),
        ({"idle_seconds": 30.0}, True, (1001, "nothing heard"), Termination.LIMIT),
        ({"max_call_seconds": 20.0}, True, (1000, "maximum length of a call"), Termination.LIMIT),
    ],
)
@virtual
async def test_a_clock_runs_out(settings, starts, closed, termination):
    """The call ends at its limit, to the ms, though nothing whatever happens."""
    dialled = Dialled(starts=starts, settings=settings)
    session = await dialled.over()
    assert dialled.peer.closed == closed
    assert session.termination is termination
    assert dialled.peer.closed_at_seconds == pytest.approx(next(iter(settings.values())), abs=0.002)


@virtual
async def test_a_stop_is_answered_with_a_normal_close():
    """After `stop` nothing more is sent, and the connection is closed with 1000."""

    async def speak(call):
        await call.play(speech(5.0), encoding="ulaw")
        await silent(call)

    dialled = Dialled(speak)
    await asyncio.sleep(1)
    await dialled.hung_up_on()
    assert dialled.peer.closed == (1000, "")


@virtual
async def test_a_drain_cuts_a_call_in_any_state():
    """Calls that have begun and connections that have not are closed with 1001."""
    registry = Registry(10)
    early = Dialled(starts=False, registry=registry)
    live = Dialled(registry=registry)
    await live.begun()
    assert registry.drain() == 2
    for dialled in (early, live):
        assert (await dialled.over()).termination is Termination.DRAINED
        assert dialled.peer.closed == (1001, "shutting down")
    assert registry.drain() == 0, "a call that is over is not told"


@virtual
async def test_hanging_up_by_end_waits_for_the_stop():
    """With `hang-up = "end"` the platform is asked to end the call, and its stop ends it."""

    async def leave(call):
        await call.hang_up()

    dialled = Dialled(leave, settings={"hang_up": "end"})
    session = await dialled.over()
    assert dialled.peer.transcript == ["end"]
    assert dialled.peer.sent[0].event == {"event": "end", "streamSid": SID, "call_sid": CALL_SID}
    assert session.termination is Termination.HUNG_UP
    assert dialled.peer.closed == (1000, "")


@virtual
async def test_a_slow_close_keeps_nobody_waiting_for_an_answer():
    """While the close takes its time, what the handler still asks for is answered."""
    outcomes = []

    async def ask_on(call):
        open_mark = call.mark("open")
        await silent(call)
        outcomes.append((await open_mark).result)

    dialled = Dialled(ask_on, peer=MemoryPeer(close_seconds=2.0), echoes_marks=False)
    await dialled.begun()
    dialled.platform.stop()
    await until(lambda: dialled.handler_ended_at is not None, 1.0)
    await dialled.over()
    assert outcomes == ["discarded"]
    assert dialled.peer.seconds == pytest.approx(2.0, abs=0.01)


# --- The line


@virtual
async def test_each_call_has_one_line_at_its_end(caplog):
    """It says how the call went, in ids and counts."""
    caplog.set_level("INFO")

    async def answer(call):
        await call.play(speech(0.4), encoding="ulaw")
        await call.mark("said")
        await call.play(speech(9.0), encoding="ulaw")
        await call.digits(1, 5)

    dialled = Dialled(answer)
    await dialled.platform.talk(speech(1.0, "caller"))
    dialled.platform.press("7", "7")
    await dialled.over()
    (line,) = end_lines(caplog)
    pairs = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
    assert pairs["stream_sid"] == SID
    assert pairs["call_sid"] == CALL_SID
    assert pairs["termination"] == "hung_up"
    assert float(pairs["seconds"]) == pytest.approx(1.0, abs=0.1)
    assert pairs["frames_in"] == "50"
    assert int(pairs["frames_out"]) in range(50, 62)
    assert pairs["marks"] == "discarded:1,played:1"
    assert "interrupted:" in pairs["dropped_out"]
    assert "gaps" not in pairs


@virtual
async def test_a_call_leaves_no_secret_in_the_log(caplog):
    """Neither numbers nor keys nor custom parameters nor audio are in any line, at any level."""
    caplog.set_level("DEBUG")

    async def answer(call):
        await call.digits(4, 5)

    dialled = Dialled(answer, start={"customParameters": {"account": "TOPSECRET"}})
    dialled.platform.speak(b"\x5a" * 800)
    dialled.platform.press("8", "6", "4", "2")
    await dialled.over()
    assert "call started" in caplog.text
    for secret in (CALLER, CALLED, "TOPSECRET", "8642", "WlpaWlpa"):
        assert secret not in caplog.text
    assert not re.search(r"digit=|\bkey=", caplog.text)


@virtual
async def test_hostile_ids_are_made_harmless(caplog):
    """An id comes from outside: it cannot start a line of its own or colour the terminal."""
    caplog.set_level("INFO")
    dialled = Dialled(start={"callSid": 'x\n2026 ERROR fire\x1b[31m "'})
    await dialled.begun()
    await dialled.hung_up_on()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("\n" not in line and "\x1b" not in line for line in lines)


# --- The bridge itself is going


async def deaf(call):
    """Look neither at the events nor at the clock."""
    await asyncio.sleep(3600)


@pytest.mark.parametrize("handler", [silent, deaf])
@virtual
async def test_a_cancelled_call_is_cut_and_accounted_for(handler, caplog):
    """Whoever cancels `run_call` leaves no call registered, no handler running, and no capture without its end."""
    caplog.set_level("INFO")
    dialled = Dialled(handler)
    call = await dialled.begun()
    dialled.platform.speak(speech(0.1))
    dialled.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialled.task
    await asyncio.sleep(0.01)
    assert len(dialled.registry) == 0
    assert dialled.handler_ended_at is not None
    assert dialled.tap.transcript[-1] == "end"
    assert dialled.tap.session.ledger.balanced
    assert call.termination is dialled.tap.session.termination is Termination.DRAINED
    (line,) = end_lines(caplog)
    assert "termination=drained" in line


@virtual
async def test_a_call_that_is_cancelled_in_its_handler_s_grace_has_its_line(caplog):
    """A bridge that exits while a handler takes its time still says how the call went."""
    caplog.set_level("INFO")

    async def dawdle(call):
        await silent(call)
        await asyncio.sleep(4)

    dialled = Dialled(dawdle)
    await dialled.begun()
    dialled.platform.stop()
    await asyncio.sleep(1)
    dialled.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialled.task
    await asyncio.sleep(5)
    assert dialled.tap.transcript[-1] == "end"
    assert len(end_lines(caplog)) == 1


@virtual
async def test_a_mistake_of_ours_ends_its_own_call(caplog):
    """One in the function that attends is one in the actor: the loop tells it, the call is accounted for all the same, and nothing of it is left."""
    caplog.set_level("INFO")
    seen, told = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(type(context["exception"])))

    def take(event):
        seen.append(event)
        if len(seen) == 3:
            raise KeyError
        return True

    async def answer(call):
        await call.play(speech(1.0), encoding="ulaw")
        await call.attend(take)

    dialled = Dialled(answer)
    call = await dialled.begun()
    for _ in range(4):
        dialled.platform.speak(speech(0.1))
    with pytest.raises(RuntimeError, match="the actor has failed"):
        await dialled.task
    assert told == [KeyError]
    await asyncio.sleep(0.01)
    assert len(seen) == 3
    assert len(dialled.registry) == 0
    assert dialled.handler_ended_at is not None
    assert dialled.tap.transcript[-1] == "end"
    assert dialled.tap.session.ledger.balanced
    assert call.termination is Termination.DRAINED
    assert len(end_lines(caplog)) == 1
