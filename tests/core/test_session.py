"""A call as a transcript: interrupting, waiting for room, hanging up both ways, and the other ways in which it ends."""

import pytest

from core.support import (
    HANG_UP,
    Driver,
    connected,
    dtmf,
    interrupt,
    mark,
    media,
    place,
    play,
    room,
    speech,
    start,
    stop,
    streaming,
)
from smartflo_bridge.core.effects import Reply
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Drained, HandlerDone, Malformed, Opened, PeerLost, Refused, Tick

DONE, FAILED = HandlerDone(), HandlerDone(failed=True)


def test_a_whole_call():
    """Greeted, played to, interrupted by a key, answered, hung up on by the caller."""
    call = Driver()
    assert call.give(connected(), start()) == ["deliver start"]
    assert call.play(speech(24_000)) == ["media 1: 160", "media 2: 800"]
    assert call.give(place(1, "greeting")) == []
    call.run(until=1)
    assert call.give(media(), dtmf("1")) == ["deliver media", "deliver dtmf 1"]
    assert call.give(interrupt(2))[::2] == ["clear", "reply 2: heard 1000 ms, dropped 1880 ms"]
    assert call.play(speech(960), epoch=1) == ["media 13: 160", "media 14: 800"]
    assert call.give(place(3, "answer")) == ["mark answer"]
    call.run(until=1.12)
    assert call.give(mark("answer")) == ["reply 3: answer played 120 ms", "deliver mark answer"]
    assert call.give(stop()) == ["deliver stop", "close completed 1000"]
    assert call.session.ledger.balanced


# --- Interrupting


def test_nothing_of_before_leaves_after_a_clear():
    """What was queued is dropped, and what was asked for before the asker knew of the interrupt is dropped too."""
    call = streaming()
    call.play(speech(8_000))
    assert call.give(interrupt(1)) == ["clear", "reply 1: heard 0 ms, dropped 880 ms"]
    assert call.play(speech(800), epoch=0) == []
    assert call.run(until=5) == []
    assert call.play(speech(160, 9), epoch=1) == ["media 3: 160"]
    assert call.audio == speech(960) + speech(160, 9)
    assert call.session.ledger.outbound_drops == {"interrupted": 7_040 + 800}


@pytest.mark.parametrize("epoch", [-1, 0, 2, 3, 9])
def test_only_the_present_epoch_is_played(epoch: int):
    """Audio of any other epoch is dropped and counted, before and after."""
    call = streaming()
    call.give(interrupt(1))
    assert call.play(speech(800), epoch) == []
    assert call.session.ledger.outbound_drops == {"interrupted": 800}


def test_after_an_interrupt_speech_begins_at_once():
    """The platform's buffer is empty, so the timeline restarts: one frame and the lead."""
    call = streaming()
    call.play(speech(8_000))
    call.run(until=0.33)
    call.give(interrupt(1))
    assert call.play(speech(8_000), epoch=1) == ["media 7: 160", "media 8: 800"]
    assert call.run(until=0.36) == ["0.350 media 9: 800"]


def test_heard_at_an_interrupt():
    """During speech, what the caller heard of it; in the silence after it, all of it; without any, nothing."""
    for at, heard in [(0.0, 0), (0.05, 50), (0.4, 400), (0.5, 500), (2.0, 500)]:
        call = streaming()
        call.play(speech(4_000))
        call.run(until=at)
        assert call.give(interrupt(1))[-1].startswith(f"reply 1: heard {heard} ms,"), at
    assert streaming().give(interrupt(1)) == ["clear", "reply 1: heard 0 ms, dropped 0 ms"]


def test_interrupts_in_a_row():
    """Each one clears, and begins an epoch."""
    call = streaming()
    call.play(speech(4_000))
    call.run(until=0.1)
    assert call.give(interrupt(1)) == ["clear", "reply 1: heard 100 ms, dropped 280 ms"]
    assert call.give(interrupt(2)) == ["clear", "reply 2: heard 0 ms, dropped 0 ms"]
    assert call.play(speech(160), epoch=2) == ["media 4: 160"]


# --- Waiting for room


def test_room_is_told_when_there_is_some():
    """With one second queued of the allowed two, there is room; with more, when a second's worth has left."""
    call = streaming(queue_seconds=2)
    call.play(speech(8_960))
    assert call.give(room(1)) == ["reply 1: room"]
    call.play(speech(8_001))
    assert call.give(room(2)) == []
    assert [text for text in call.run(until=3) if "reply" in text] == ["1.020 reply 2: room"]


def test_all_who_wait_for_room_are_told_at_once():
    """In the order in which they asked."""
    call = streaming(queue_seconds=1)
    call.play(speech(8_000))
    assert call.give(room(1), room(2)) == []
    assert [text[6:] for text in call.run(until=3) if "reply" in text] == ["reply 1: room", "reply 2: room"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (interrupt(9), ["clear", "reply 1: room", "reply 9: heard 0 ms, dropped 1880 ms"]),
        (stop(), ["deliver stop", "reply 1: room", "close completed 1000"]),
        (PeerLost(), ["reply 1: room", "close peer_lost 1006"]),
    ],
)
def test_an_emptied_queue_has_room(given: Input, said: list[str]):
    """An interrupt, and the end of the call, leave nobody waiting."""
    call = streaming(queue_seconds=1)
    call.play(speech(16_000))
    assert call.give(room(1)) == []
    assert call.give(given) == said


def test_who_does_not_wait_for_room_loses_audio():
    """Twice the queue is taken, then the whole piece is dropped and counted."""
    call = streaming(queue_seconds=1)
    call.play(speech(8_000))
    call.play(speech(8_960))
    assert call.play(speech(1)) == []
    assert call.session.ledger.outbound_drops == {"queue_full": 1}
    call.run(until=0.02)
    call.play(speech(800))
    assert call.session.ledger.outbound_drops == {"queue_full": 1}


# --- Hanging up


def test_hanging_up_in_silence_closes_at_once():
    """There is nothing to be heard first."""
    call = streaming()
    assert call.give(HANG_UP) == ["close hung_up 1000"]


@pytest.mark.parametrize("ask", [HANG_UP, DONE], ids=["hang up", "handler done"])
def test_hanging_up_lets_queued_audio_be_heard(ask: Input):
    """A mark of ours behind it tells when; its echo is not the handler's."""
    call = streaming()
    call.play(speech(800))
    assert call.give(ask) == ["mark goodbye"]
    call.run(until=0.1)
    assert call.give(mark("goodbye")) == ["close hung_up 1000"]
    assert call.session.ledger.marks == {}


def test_a_farewell_never_echoed_ends_the_call_all_the_same():
    """Two seconds after the caller has heard the last of it."""
    call = streaming()
    call.play(speech(8_000))
    assert call.give(HANG_UP) == []
    assert call.run(until=9)[-2:] == ["0.800 mark goodbye", "3.000 close hung_up 1000"]
    assert call.audio == speech(8_000)


def test_hanging_up_by_the_end_event():
    """We say `end` when the audio has been heard; the platform's stop ends the call."""
    call = streaming(hang_up="end")
    call.play(speech(800))
    assert call.give(HANG_UP) == ["mark goodbye"]
    call.run(until=0.1)
    assert call.give(mark("goodbye")) == ["end MZ0a1 1758000000.4242"]
    call.run(until=1)
    assert call.give(stop()) == ["deliver stop", "close hung_up 1000"]


def test_an_end_without_an_answer():
    """After two seconds without a stop we close."""
    call = streaming(hang_up="end")
    call.run(until=1)
    assert call.give(HANG_UP) == ["end MZ0a1 1758000000.4242"]
    assert call.run(until=9) == ["3.000 close hung_up 1000"]


@pytest.mark.parametrize("code", [1000, 1005, 1006, None])
def test_an_end_answered_by_closing(code: int | None):
    """A platform that closes instead has hung up for us, whatever its code."""
    call = streaming(hang_up="end")
    call.give(HANG_UP)
    assert call.give(PeerLost(code)) == [f"close hung_up {code or 1006}"]


@pytest.mark.parametrize("way", ["close", "end"])
def test_the_caller_is_quicker(way: str):
    """A caller who leaves during the goodbye has been hung up on, whichever way the platform says so."""
    for leaves in (stop(), PeerLost(1000)):
        call = streaming(hang_up=way)
        call.play(speech(8_000))
        call.give(HANG_UP)
        assert call.give(leaves)[-1] == "close hung_up 1000"


def test_after_hanging_up_nothing_more_is_taken():
    """Audio is dropped and counted, marks are discarded, a second hang-up changes nothing; audio queued before goes on."""
    call = streaming()
    call.play(speech(8_000))
    call.give(HANG_UP)
    assert call.give(play(speech(800)), place(1, "late"), place(2), HANG_UP, DONE) == [
        "reply 1: late discarded 0 ms",
        "reply 2:  discarded 0 ms",
    ]
    assert call.run(until=9)[-1] == "3.000 close hung_up 1000"
    assert call.audio == speech(8_000)
    assert call.session.ledger.outbound_drops == {"hanging_up": 800}
    assert call.session.ledger.balanced


def test_the_caller_is_heard_while_we_say_goodbye():
    """A handler that hung up still gets events, until it is done."""
    call = streaming()
    call.play(speech(8_000))
    call.give(HANG_UP)
    assert call.give(media(speech(320)), dtmf("1")) == ["deliver media", "deliver dtmf 1"]
    call.give(DONE)
    assert call.give(media(speech(320)), dtmf("1")) == []
    assert call.session.ledger.inbound_drops == {"handler_done": 320}


@pytest.mark.parametrize(("way", "last"), [("close", "close hung_up 1000"), ("end", "end MZ0a1 1758000000.4242")])
def test_interrupting_the_goodbye_hangs_up_now(way: str, last: str):
    """There is nothing left to be heard."""
    call = streaming(hang_up=way)
    call.play(speech(8_000))
    call.give(HANG_UP)
    call.run(until=0.3)
    assert call.give(interrupt(1)) == ["clear", "reply 1: heard 300 ms, dropped 580 ms", last]


def test_a_goodbye_waits_for_the_marks_before_it():
    """An open mark of the handler's is not cut off: the farewell is behind it."""
    call = streaming()
    assert call.give(place(1, "open"), HANG_UP) == ["mark open", "mark goodbye"]
    assert call.give(mark("open"), mark("goodbye")) == [
        "reply 1: open played 0 ms",
        "deliver mark open",
        "close hung_up 1000",
    ]


# --- Other ends


def test_a_handler_that_fails_ends_the_call():
    """At once, with code 1011; what is queued is given up."""
    call = streaming()
    call.play(speech(8_000))
    call.give(place(1, "end"))
    assert call.give(FAILED) == ["reply 1: end discarded 0 ms", "close handler_failed 1011"]
    assert call.session.ledger.balanced


def test_a_lost_agent_ends_the_call_when_all_has_been_heard():
    """What was said about it is played out; then the call is closed as any other, and named for what it was."""
    call = streaming()
    call.play(speech(1_600))
    assert call.give(HandlerDone(agent_lost=True)) == ["mark goodbye"]
    assert call.run(until=0.2) == []
    assert call.give(mark("goodbye"))[-1] == "close agent_lost 1000"


def test_a_caller_who_leaves_during_the_apology_has_lost_the_agent_too():
    """The reason why the call ended is the same."""
    call = streaming()
    call.play(speech(16_000))
    call.give(HandlerDone(agent_lost=True))
    assert call.give(stop())[-1] == "close agent_lost 1000"


def test_an_interrupt_tells_all_that_is_not_heard():
    """Over a pause as well, where what was heard of the utterance begins anew: sent or not, queued is heard or unheard."""
    call = streaming()
    call.play(speech(1_600))
    call.run(until=2)
    call.play(speech(16_000))
    call.run(until=2.5)
    (outcome,) = [effect.outcome for effect in call.session.handle(interrupt(7), 2.5) if isinstance(effect, Reply)]
    assert outcome.heard_ms == 500
    assert outcome.unheard_ms == 2000 - 500
    assert outcome.unheard_ms > outcome.dropped_ms


def test_a_handler_that_fails_after_hanging_up():
    """Failed is failed."""
    call = streaming()
    call.play(speech(8_000))
    call.give(HANG_UP)
    assert call.give(FAILED) == ["close handler_failed 1011"]


def test_a_drained_call():
    """The bridge shuts down: 1001, which the peer's library takes for a normal end."""
    call = streaming()
    call.play(speech(8_000))
    call.give(room(1), place(2, "end"))
    assert call.give(Drained())[-1] == "close drained 1001"
    assert Driver().give(Drained()) == ["close drained 1001"]


def test_a_refused_stream():
    """The reason is said to the platform."""
    call = streaming()
    assert call.give(Refused("too many calls")) == ["close protocol_error 1008"]
    assert call.effects[-1].reason == "too many calls"  # type: ignore[union-attr]


def test_every_end_answers_all_tickets():
    """However a call ends, nobody is left waiting, and `Close` comes behind all answers."""
    for end in (stop(), PeerLost(1006), FAILED, Drained(), Refused("no"), *[Malformed("bad")]):
        call = streaming(bad_message_budget=0, queue_seconds=1)
        call.play(speech(160))
        call.give(place(1, "sent"))
        call.play(speech(8_960))
        said = call.give(place(2, "queued"), room(3), end)
        assert [text[:8] for text in said if "reply" in text] == ["reply 1:", "reply 2:", "reply 3:"]
        assert said[-1].startswith("close")


ENDS: list[list[Input]] = [[stop()], [PeerLost()], [FAILED], [Drained()], [HANG_UP], [start(None)]]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end[0]).__name__)
def test_after_the_end_askers_are_answered_and_audio_is_counted(end: list[Input]):
    """A handler that is still talking is told, at once, that nobody listens; nothing else is said ever again."""
    call = Driver() if end == [start(None)] else streaming()
    call.give(*end)
    assert call.session.deadline is None
    assert call.give(play(speech(801)), place(1, "a"), room(2), interrupt(3), HANG_UP) == [
        "reply 1: a discarded 0 ms",
        "reply 2: room",
        "reply 3: heard 0 ms, dropped 0 ms",
    ]
    silent: list[Input] = [media(), dtmf(), mark("a"), start(), stop(), connected(), Malformed("x"), Tick(), Opened()]
    assert call.give(*silent, DONE, FAILED, Drained(), Refused("no"), PeerLost(), *end) == []
    assert call.session.ledger.outbound_drops == {"call_ended": 801}
    assert call.session.ledger.inbound_drops == {"after_end": 800}
    assert call.session.ledger.balanced


def test_the_same_inputs_give_the_same_effects():
    """A session is a fold: told the same, at the same times, another one does the same."""
    told: list[tuple[Input, float]] = [
        (Opened(), 0.0),
        (start(), 0.1),
        (play(speech(5_001)), 0.2),
        (place(1), 0.2),
        (Tick(), 0.25),
        (interrupt(2), 0.3),
        (play(speech(800), 1), 0.4),
        (HANG_UP, 0.5),
        (Tick(), 5.0),
    ]
    runs = []
    for _ in range(2):
        session = Session(SessionSettings())
        runs.append([session.handle(given, now) for given, now in told])
    assert runs[0] == runs[1]
