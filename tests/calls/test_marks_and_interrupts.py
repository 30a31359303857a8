"""Marks and interrupts from the handler's side: what it learns of what the caller has heard, and when."""

import asyncio

import pytest

from calls.support import Dialled, silent, speech, until
from smartflo_bridge.core.effects import InterruptOutcome, MarkOutcome, MarkResult
from smartflo_bridge.core.errors import CallEnded, HandlerError
from virtual_clock import virtual


@virtual
async def test_a_mark_tells_that_its_audio_was_played():
    """It resolves when the platform has played up to it, with all of the audio heard."""
    outcomes = []

    async def speak(call):
        await call.play(speech(1.5), encoding="ulaw")
        outcomes.append((await call.mark("said"), dialled.peer.seconds))

    dialled = Dialled(speak)
    await dialled.over()
    ((outcome, at),) = outcomes
    assert outcome == MarkOutcome("said", MarkResult.PLAYED, 1500)
    assert outcome.was_played
    assert at == pytest.approx(1.5, abs=0.005)
    assert "mark said" in dialled.peer.transcript


@virtual
async def test_a_mark_with_nothing_before_it_is_played_at_once():
    """There is nothing to wait for."""

    async def ask(call):
        assert await call.mark("now") == MarkOutcome("now", MarkResult.PLAYED, 0)
        assert dialled.peer.seconds < 0.01

    dialled = Dialled(ask)
    await dialled.over()


@virtual
async def test_each_mark_counts_from_the_one_before():
    """Three marks in one queue say how much of each part was heard."""
    outcomes = []

    async def speak(call):
        marks = []
        for seconds in (0.5, 1.0, 0.2):
            await call.play(speech(seconds), encoding="ulaw")
            marks.append(call.mark())
        outcomes.extend(await asyncio.gather(*marks))

    dialled = Dialled(speak)
    await dialled.over()
    assert [outcome.heard_ms for outcome in outcomes] == [500, 1000, 200]
    assert len({outcome.name for outcome in outcomes}) == 3


@virtual
async def test_an_interrupt_discards_marks_and_says_what_was_heard():
    """Half of a second was heard: the mark says so, the interrupt says so, and nothing more is sent."""
    outcomes = []

    async def speak(call):
        await call.play(speech(2.0), encoding="ulaw")
        marked = call.mark("end")
        await asyncio.sleep(0.5)
        interrupted = call.interrupt()
        outcomes.extend([await marked, await interrupted])
        await silent(call)

    dialled = Dialled(speak)
    await until(lambda: outcomes)
    mark, interrupt = outcomes
    assert mark == MarkOutcome("end", MarkResult.DISCARDED, 500)
    assert isinstance(interrupt, InterruptOutcome)
    assert interrupt.heard_ms == 500
    assert interrupt.dropped_ms == pytest.approx(1300, abs=100), "what was sent ahead is not counted as never sent"
    await asyncio.sleep(5)
    assert dialled.peer.transcript[-1] == "clear"
    await dialled.hung_up_on()


@virtual
async def test_an_echo_after_the_clear_means_nothing():
    """The platform echoes discarded marks too: that neither resolves anything again nor reaches the handler."""
    events = []

    async def speak(call):
        await call.play(speech(0.15), encoding="ulaw")
        marked = call.mark("gone")
        await asyncio.sleep(0.01)
        call.interrupt()
        assert (await marked).result is MarkResult.DISCARDED
        async for event in call:
            events.append(type(event).__name__)

    dialled = Dialled(speak)
    await asyncio.sleep(1)
    assert dialled.platform.echoed == ["gone"]
    await dialled.hung_up_on()
    assert "MarkEvent" not in events


@virtual
async def test_a_mark_whose_echo_never_comes_times_out():
    """It resolves when its audio must have been heard, and the slack is over."""
    outcomes = []

    async def speak(call):
        await call.play(speech(1.0), encoding="ulaw")
        outcomes.append((await call.mark(), dialled.peer.seconds))

    dialled = Dialled(speak, echoes_marks=False, settings={"mark_slack_seconds": 3.0})
    await until(lambda: outcomes)
    ((outcome, at),) = outcomes
    assert (outcome.result, outcome.heard_ms) == (MarkResult.TIMED_OUT, 1000)
    assert at == pytest.approx(4.0, abs=0.01)
    await dialled.over()


@virtual
async def test_marks_resolve_when_the_call_ends():
    """Whoever awaits a mark learns that it was discarded, and how much was heard."""
    outcomes = []

    async def speak(call):
        await call.play(speech(5.0), encoding="ulaw")
        outcomes.append(await call.mark())

    dialled = Dialled(speak)
    await asyncio.sleep(2)
    await dialled.hung_up_on()
    assert [(outcome.result, outcome.heard_ms) for outcome in outcomes] == [(MarkResult.DISCARDED, 2000)]


@virtual
async def test_names_in_use_get_a_number():
    """Two marks of one name are told apart on the wire, and each outcome has its wire name."""

    async def speak(call):
        await call.play(speech(0.1), encoding="ulaw")
        first, second = await asyncio.gather(call.mark("x"), call.mark("x"))
        assert first.name == "x"
        assert second.name.startswith("x.")
        assert (await call.mark("x")).name == "x", "a name that is free again is used again"

    dialled = Dialled(speak)
    await dialled.over()


@pytest.mark.parametrize("name", ["", "x" * 65, "grüße", "a\nb", "\x7f"])
@virtual
async def test_a_name_is_short_printable_ascii(name):
    """Any other is the handler's mistake, and is said to be."""

    async def ask(call):
        with pytest.raises(HandlerError, match="1 to 64 printable ASCII characters"):
            call.mark(name)
        await call.mark("a" * 64)

    dialled = Dialled(ask)
    await dialled.over()


@virtual
async def test_whoever_stops_waiting_for_a_mark_disturbs_nobody():
    """A future that is cancelled takes its answer silently; the mark itself stands."""

    async def speak(call):
        await call.play(speech(0.5), encoding="ulaw")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.mark("slow"), 0.1)
        await call.mark("next")

    dialled = Dialled(speak)
    session = await dialled.over()
    assert session.ledger.marks == {"played": 2}


@virtual
async def test_verbs_take_effect_in_the_order_of_asking():
    """Nobody has to await a verb for the next one to come behind it."""

    async def speak(call):
        call.mark("a")
        playing = asyncio.ensure_future(call.play(speech(0.04, 1), encoding="ulaw"))
        await playing
        call.mark("b")
        call.interrupt()
        call.mark("c")
        await call.play(speech(0.04, 2), encoding="ulaw")
        await call.mark("d")

    dialled = Dialled(speak)
    await dialled.over()
    assert dialled.peer.transcript == [
        "mark a",
        "media 1: 160",
        "media 2: 160",
        "mark b",
        "clear",
        "mark c",
        "media 3: 160",
        "media 4: 160",
        "mark d",
    ]


# --- Hanging up


@virtual
async def test_hang_up_returns_when_the_call_is_over():
    """What is queued is heard first; then the connection is closed and the handler goes on."""
    ended = []

    async def leave(call):
        await call.play(speech(1.0), encoding="ulaw")
        await call.hang_up()
        ended.append((dialled.peer.seconds, call.termination))

    dialled = Dialled(leave)
    await dialled.over()
    assert ended == [(pytest.approx(1.0, abs=0.01), "hung_up")]
    assert dialled.peer.audio == speech(1.0)


@virtual
async def test_after_hang_up_nothing_more_is_said():
    """What another task still plays is dropped and counted, its marks are discarded, and the goodbye is heard."""
    outcomes = []

    async def leave(call):
        await call.play(speech(1.0), encoding="ulaw")
        leaving = asyncio.ensure_future(call.hang_up())
        await asyncio.sleep(0.1)
        assert await call.play(speech(1.0, 2), encoding="ulaw")
        outcomes.append((await call.mark()).result)
        await leaving

    dialled = Dialled(leave)
    session = await dialled.over()
    assert outcomes == [MarkResult.DISCARDED]
    assert dialled.peer.audio == speech(1.0)
    assert session.ledger.outbound_drops == {"hanging_up": 8000}


@virtual
async def test_an_interrupt_shortens_the_goodbye():
    """A caller who talks over the last words need not hear them out."""

    async def leave(call):
        await call.play(speech(5.0), encoding="ulaw")
        leaving = asyncio.ensure_future(call.hang_up())
        await asyncio.sleep(1)
        call.interrupt()
        await leaving

    dialled = Dialled(leave)
    await dialled.over()
    assert dialled.peer.closed_at_seconds == pytest.approx(1.0, abs=0.02)


@virtual
async def test_hanging_up_twice_is_hanging_up():
    """The second one waits for the same end, and after it there is nothing to do."""

    async def leave(call):
        await asyncio.gather(call.hang_up(), call.hang_up())
        await call.hang_up()
        with pytest.raises(CallEnded):
            call.mark()

    dialled = Dialled(leave)
    await dialled.over()
    assert dialled.peer.closed == (1000, "")


@virtual
async def test_hang_up_returns_when_the_caller_is_faster():
    """A call that ends in another way ends the wait too."""

    async def leave(call):
        await call.play(speech(10.0), encoding="ulaw")
        await call.hang_up()

    dialled = Dialled(leave)
    await asyncio.sleep(1)
    dialled.peer.lose()
    await dialled.over()
    assert dialled.peer.seconds == pytest.approx(1, abs=0.01)
