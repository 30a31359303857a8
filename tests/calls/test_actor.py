"""The actor: what reaches it, in which order it does what, when it wakes, and what it leaves to the session."""

import asyncio

import pytest

from calls.support import Dialled, silent, speech, until
from memory_peer import CALL_SID, SID, MemoryPeer
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.errors import HandlerError
from smartflo_bridge.core.incoming import DTMFEvent, MarkEvent, MediaEvent, StartEvent, StopEvent
from smartflo_bridge.core.signals import PeerLost, Refused, Tick
from virtual_clock import virtual


def kinds(events):
    """Return the classes of events, by name, without their common ending."""
    return [type(event).__name__.removesuffix("Event") for event in events]


@virtual
async def test_a_handler_gets_the_events_of_its_call_in_order():
    """Start first, then what the caller does, then stop; then the iteration is over."""
    events = []

    async def keep(call):
        async for event in call:
            events.append(event)

    dialled = Dialled(keep)
    dialled.platform.speak(speech(0.1, 1))
    dialled.platform.press("4", "#")
    dialled.platform.speak(speech(0.02, 2))
    dialled.platform.stop("bye")
    session = await dialled.over()
    assert kinds(events) == ["Start", "Media", "DTMF", "DTMF", "Media", "Stop"]
    assert isinstance(events[0], StartEvent)
    assert events[0].call_sid == CALL_SID
    assert isinstance(events[1], MediaEvent)
    assert (events[1].ulaw, events[4].ulaw) == (speech(0.1, 1), speech(0.02, 2))
    assert isinstance(events[2], DTMFEvent)
    assert (events[2].digit, events[3].digit) == ("4", "#")
    assert isinstance(events[5], StopEvent)
    assert events[5].reason == "bye"
    assert session.termination is Termination.COMPLETED
    assert session.ledger.delivered_bytes == 960


@virtual
async def test_effects_are_done_in_the_session_s_order():
    """Audio, its mark and the clear leave in the order in which they were asked for."""

    async def speak_and_stop(call):
        await call.play(speech(0.1, 1), encoding="ulaw")
        call.mark("one")
        call.interrupt()
        await call.play(speech(0.1, 2), encoding="ulaw")
        call.mark("two")
        await silent(call)

    dialled = Dialled(speak_and_stop)
    await dialled.begun()
    await asyncio.sleep(1)
    assert dialled.peer.transcript == [
        "media 1: 160",
        "media 2: 640",
        "mark one",
        "clear",
        "media 3: 160",
        "media 4: 640",
        "mark two",
    ]
    assert dialled.peer.writes == 1, "what leaves at once takes one write"
    await dialled.hung_up_on()


@virtual
async def test_what_arrives_together_is_taken_in_one_go():
    """Ten messages that are there at once need no second wake-up, and none overtakes another."""
    dialled = Dialled()
    for number in range(10):
        dialled.platform.speak(speech(0.02, number))
    dialled.platform.press("1")
    await asyncio.sleep(0.0005)
    assert dialled.tap.transcript == ["do Opened", "in connected", "in start", *["in media"] * 10, "in dtmf"]
    await dialled.hung_up_on()


@virtual
async def test_audio_leaves_on_time_while_messages_keep_coming():
    """A busy call releases what is due: a whole second of speech is heard without a gap under 20 ms messages."""

    async def speak(call):
        await call.play(speech(1.0), encoding="ulaw")
        await silent(call)

    dialled = Dialled(speak)
    await dialled.platform.talk(speech(1.2, "caller"), cadence_bytes=160)
    assert dialled.platform.line.gaps == []
    assert dialled.platform.heard(0, 1.0) == speech(1.0)
    assert dialled.platform.line.counts.largest_lead_ms <= 200
    session = await dialled.hung_up_on()
    assert session.ledger.worst_lateness_seconds <= 0.002


@virtual
async def test_what_a_stall_held_up_reaches_a_handler_that_keeps_up():
    """Six seconds of audio in one read, thrice what may wait for a slow handler: one that is not slow gets all of it."""
    dialled = Dialled()
    dialled.platform.start()
    await asyncio.sleep(1)
    for number in range(60):
        dialled.platform.speak(speech(0.1, number))
    session = await dialled.hung_up_on()
    assert session.ledger.inbound_drops == {}
    assert session.ledger.delivered_bytes == 60 * 800


@virtual
async def test_a_listening_call_makes_a_timer_a_minute():
    """A deadline that only moves away costs nothing: 3000 messages within a minute re-arm nothing."""
    dialled = Dialled()
    loop = asyncio.get_running_loop()
    await dialled.platform.talk(speech(60.0), cadence_bytes=160)
    made = sum(count for name, count in loop.timers.items() if "_Actor" in name)
    assert made <= 4
    assert len(dialled.tap.of(Tick)) <= 2
    await dialled.hung_up_on()


@virtual
async def test_a_speaking_call_ticks_once_a_packet():
    """Ten seconds of speech are a hundred packets, and as many ticks: none comes for nothing."""

    async def speak(call):
        await call.play(speech(10.0), encoding="ulaw")
        await silent(call)

    dialled = Dialled(speak)
    await asyncio.sleep(11)
    packets = len(dialled.peer.sent)
    assert 100 <= packets <= 103
    assert len(dialled.tap.of(Tick)) <= packets + 2
    assert asyncio.get_running_loop().timers["_Actor._tick"] <= packets + 3
    await dialled.hung_up_on()


@virtual
async def test_a_nearer_deadline_replaces_the_timer():
    """A packet that is due in 100 ms is not left to the idle limit's timer of a minute."""

    async def speak_later(call):
        await asyncio.sleep(5)
        await call.play(speech(1.0), encoding="ulaw")
        await silent(call)

    dialled = Dialled(speak_later)
    await asyncio.sleep(6.1)
    assert dialled.platform.line.gaps == []
    assert dialled.platform.heard(5, 6) == speech(1.0)
    await dialled.hung_up_on()


@virtual
async def test_we_greet_a_platform_that_stays_silent():
    """After half a second of silence a bare `connected` is sent, once."""
    dialled = Dialled(starts=False)
    await asyncio.sleep(3)
    assert [sent.text for sent in dialled.peer.sent] == [b'{"event":"connected"}']
    assert dialled.peer.sent[0].at_seconds == pytest.approx(0.5, abs=0.002)
    dialled.platform.start()
    await dialled.begun()
    await dialled.hung_up_on()


@virtual
async def test_a_stream_that_is_served_already_is_refused(caplog):
    """The second connection of one stream is closed with 1008; the first goes on, and stays registered."""
    caplog.set_level("INFO")
    registry = Registry(10)
    first = Dialled(registry=registry)
    call = await first.begun()
    second = Dialled(registry=registry)
    second.platform.speak(speech(0.1))
    session = await second.over()
    assert second.peer.closed == (1008, "this stream is being served already")
    assert session.termination is Termination.PROTOCOL_ERROR
    assert session.ledger.inbound_drops.total() == 800
    assert second.call is None
    assert second.tap.of(Refused) != []
    assert registry.get(SID) is call
    assert registry.calls_served == 1
    first.platform.speak(speech(0.1))
    assert (await first.hung_up_on()).termination is Termination.COMPLETED
    assert caplog.text.count("call started") == 1


@virtual
@pytest.mark.parametrize("refuses", [True, False])
async def test_another_call_than_that_of_the_token(caplog, refuses):
    """It is closed with 1008, and its handler never begins; or it is only said, for who wants to see what his platform says."""
    caplog.set_level("INFO")
    dialled = Dialled(bound_to="another", refuses_other_calls=refuses)
    dialled.platform.speak(speech(0.1))
    said = f"not the call of its token stream_sid={SID} call_sid=1758000000.4242"
    if refuses:
        session = await dialled.over()
        assert dialled.peer.closed == (1008, "not the call of its token")
        assert session.termination is Termination.PROTOCOL_ERROR
        assert dialled.call is None
        assert dialled.tap.of(Refused) != []
        assert dialled.registry.calls_served == 0
    else:
        await dialled.begun()
        assert (await dialled.hung_up_on()).termination is Termination.COMPLETED
    assert caplog.text.count(said) == 1


@virtual
async def test_the_call_of_the_token(caplog):
    """It is served, and nothing is said of it."""
    dialled = Dialled(bound_to="1758000000.4242")
    await dialled.begun()
    assert (await dialled.hung_up_on()).termination is Termination.COMPLETED
    assert "token" not in caplog.text


@virtual
async def test_a_stream_can_be_served_again_when_its_call_is_over():
    """A platform that calls again with the same id is answered."""
    registry = Registry(10)
    first = Dialled(registry=registry)
    await first.begun()
    await first.hung_up_on()
    second = Dialled(registry=registry)
    await second.begun()
    assert (await second.hung_up_on()).termination is Termination.COMPLETED
    assert (len(registry), registry.calls_served) == (0, 2)


@virtual
async def test_messages_after_the_end_are_only_counted():
    """While the close is under way the platform may still talk; nothing of it reaches anybody, all of it is accounted."""
    seen = []

    async def keep(call):
        async for event in call:
            seen.append(event)

    dialled = Dialled(keep, peer=MemoryPeer(close_seconds=1.0))
    dialled.platform.speak(speech(0.1))
    dialled.platform.stop()
    await until(lambda: dialled.peer.closed is not None)
    dialled.platform.speak(speech(0.2))
    dialled.platform.press("1")
    session = await dialled.over()
    assert kinds(seen) == ["Start", "Media", "Stop"]
    assert session.ledger.received_bytes == 2400
    assert session.ledger.inbound_drops == {"after_end": 1600}


@virtual
async def test_a_handler_that_asks_for_much_does_not_stop_the_loop():
    """A thousand requests are taken in portions: what others have to do in the meantime is done in between."""
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def ask(call):
        for _ in range(1000):
            call.interrupt()
        before = turns
        await call.interrupt()
        assert turns - before > 5

    turning = asyncio.get_running_loop().create_task(turn())
    dialled = Dialled(ask)
    try:
        await dialled.over()
    finally:
        turning.cancel()


@virtual
async def test_a_handler_that_asks_without_end_is_stopped():
    """A loop without an await fills no memory: what may be unanswered at once is bounded, and the handler is told so."""

    async def ask(call):
        with pytest.raises(HandlerError):
            [call.interrupt() for _ in range(100_000)]

    dialled = Dialled(ask)
    assert (await dialled.over()).termination is Termination.HUNG_UP


@virtual
async def test_a_mark_that_is_echoed_reaches_the_handler_as_event_too():
    """The handler sees the wire's own events, marks among them."""
    events = []

    async def speak(call):
        await call.play(speech(0.1), encoding="ulaw")
        call.mark("here")
        async for event in call:
            events.append(event)

    dialled = Dialled(speak)
    await until(lambda: dialled.platform.echoed)
    await dialled.hung_up_on()
    assert [event.name for event in events if isinstance(event, MarkEvent)] == ["here"]


@virtual
async def test_the_platform_s_close_ends_the_call_even_in_the_middle_of_a_batch():
    """What came before the loss is delivered, what the bridge wanted to say after it is not sent."""
    events = []

    async def keep(call):
        async for event in call:
            events.append(event)

    dialled = Dialled(keep)
    dialled.platform.press("1")
    dialled.peer.lose(1001)
    session = await dialled.over()
    assert kinds(events) == ["Start", "DTMF"]
    assert session.termination is Termination.COMPLETED
    assert dialled.tap.of(PeerLost) == [PeerLost(1001, "")]
