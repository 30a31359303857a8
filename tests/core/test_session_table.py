"""The state table of the protocol page, section 2, row by row: what arrives in which state, and what becomes of it."""

import pytest

from core.support import (
    CALL_SID,
    OTHER_SID,
    SID,
    Driver,
    connected,
    dtmf,
    mark,
    media,
    place,
    speech,
    start,
    stop,
    streaming,
)
from smartflo_bridge.core import incoming
from smartflo_bridge.core.effects import Deliver, Notice
from smartflo_bridge.core.incoming import UnknownEvent
from smartflo_bridge.core.session import Input, State
from smartflo_bridge.core.signals import Malformed, PeerLost

WAYS_INTO = {
    State.ACCEPTED: [],
    State.CONNECTED: [connected()],
    State.STREAMING: [connected(), start()],
    State.STOPPED: [connected(), start(), stop()],
}
BEFORE_START = [State.ACCEPTED, State.CONNECTED]
ALL_STATES = list(State)

AUDIO, KEY, ECHO = media(speech(800)), dtmf("4"), mark("m1")


def in_state(state: State) -> Driver:
    """Return a driver whose session is in this state."""
    call = Driver()
    call.give(*WAYS_INTO[state])
    assert call.session.state is state
    return call


ROWS: list[tuple[Input, State, State, list[str]]] = [
    (connected(), State.ACCEPTED, State.CONNECTED, []),
    (connected(), State.CONNECTED, State.CONNECTED, []),
    (connected(), State.STREAMING, State.STREAMING, []),
    (connected(), State.STOPPED, State.STOPPED, []),
    (start(), State.ACCEPTED, State.STREAMING, ["deliver start"]),
    (start(), State.CONNECTED, State.STREAMING, ["deliver start"]),
    (start(), State.STREAMING, State.STREAMING, []),
    (start(), State.STOPPED, State.STOPPED, []),
    (start(OTHER_SID), State.STREAMING, State.STREAMING, ["notice second_start"]),
    (start(OTHER_SID), State.STOPPED, State.STOPPED, []),
    (start(None), State.ACCEPTED, State.STOPPED, ["close protocol_error 1008"]),
    (start(None), State.CONNECTED, State.STOPPED, ["close protocol_error 1008"]),
    (start("", ""), State.CONNECTED, State.STOPPED, ["close protocol_error 1008"]),
    (incoming.StartEvent(), State.CONNECTED, State.STOPPED, ["close protocol_error 1008"]),
    (start(None), State.STREAMING, State.STREAMING, ["notice second_start"]),
    (start(None), State.STOPPED, State.STOPPED, []),
    *((event, state, state, []) for event in (AUDIO, KEY, ECHO) for state in (*BEFORE_START, State.STOPPED)),
    (AUDIO, State.STREAMING, State.STREAMING, ["deliver media"]),
    (KEY, State.STREAMING, State.STREAMING, ["deliver dtmf 4"]),
    (ECHO, State.STREAMING, State.STREAMING, []),
    (media(sid=None), State.STREAMING, State.STREAMING, ["deliver media"]),
    (dtmf("#", None), State.STREAMING, State.STREAMING, ["deliver dtmf #"]),
    (media(b""), State.STREAMING, State.STREAMING, []),
    (media(sid=OTHER_SID), State.STREAMING, State.STREAMING, []),
    (dtmf("4", OTHER_SID), State.STREAMING, State.STREAMING, ["notice foreign_stream"]),
    (mark("m1", OTHER_SID), State.STREAMING, State.STREAMING, ["notice foreign_stream"]),
    (stop(), State.ACCEPTED, State.STOPPED, ["close completed 1000"]),
    (stop(), State.CONNECTED, State.STOPPED, ["close completed 1000"]),
    (stop(), State.STREAMING, State.STOPPED, ["deliver stop", "close completed 1000"]),
    (stop(OTHER_SID), State.STREAMING, State.STOPPED, ["deliver stop", "close completed 1000"]),
    (incoming.StopEvent(), State.STREAMING, State.STOPPED, ["deliver stop", "close completed 1000"]),
    (stop(), State.STOPPED, State.STOPPED, []),
    *((Malformed("bad"), state, state, ["notice malformed"]) for state in (*BEFORE_START, State.STREAMING)),
    (Malformed("bad"), State.STOPPED, State.STOPPED, []),
    *((UnknownEvent("transfer"), state, state, ["notice unknown_event"]) for state in (*BEFORE_START, State.STREAMING)),
    (UnknownEvent("transfer"), State.STOPPED, State.STOPPED, []),
]


def named(row: object) -> str | None:
    """Name an input and a state in the id of a test."""
    return type(row).__name__ if hasattr(row, "__struct_fields__") else row.value if isinstance(row, State) else None


@pytest.mark.parametrize(("given", "before", "after", "said"), ROWS, ids=named)
def test_each_row(given: Input, before: State, after: State, said: list[str]):
    """In this state, this input leads to that state, with these effects and no others."""
    call = in_state(before)
    assert call.give(given) == said
    assert call.session.state is after
    assert call.session.is_over is (after is State.STOPPED)


# --- What a start tells


def test_a_start_makes_the_stream_known():
    """From now on our events carry its id, and the call has one too."""
    call = in_state(State.ACCEPTED)
    assert (call.session.stream_sid, call.session.call_sid) == (None, None)
    call.give(start())
    assert (call.session.stream_sid, call.session.call_sid) == (SID, CALL_SID)
    call.play(speech(160))
    assert [effect.event.stream_sid for effect in call.effects if hasattr(effect, "event")][1:] == [SID]


@pytest.mark.parametrize(
    ("outside", "inside", "sid", "said"),
    [
        (SID, SID, SID, []),
        (None, SID, SID, []),
        ("", SID, SID, []),
        (SID, None, SID, []),
        (SID, OTHER_SID, SID, ["notice stream_sid_mismatch"]),
    ],
)
def test_both_places_of_the_stream_sid(outside: str | None, inside: str | None, sid: str, said: list[str]):
    """Either place is read; where they differ the outer one counts, and the operator is told."""
    call = Driver()
    assert call.give(start(outside, inside)) == [*said, "deliver start"]
    assert call.session.stream_sid == sid
    assert call.give(dtmf("1", sid)) == ["deliver dtmf 1"]


def test_another_format_is_told_and_taken_for_ours():
    """A start that announces other audio does not lose the call."""
    call = Driver()
    said = call.give(start(mediaFormat={"encoding": "audio/x-l16", "sampleRate": "16000"}))
    assert said == ["notice media_format", "deliver start"]
    assert streaming().give(AUDIO) == ["deliver media"]


def test_a_second_start_changes_nothing():
    """One connection is one stream: the first keeps it, whatever the second one says."""
    call = in_state(State.STREAMING)
    call.give(start(OTHER_SID, callSid="other"))
    assert (call.session.stream_sid, call.session.call_sid) == (SID, CALL_SID)
    assert call.give(media(sid=OTHER_SID), media()) == ["deliver media"]


def test_the_events_come_as_they_were_sent():
    """The handler sees the wire's own events, the start first."""
    events = [start(), AUDIO, KEY, stop()]
    call = Driver()
    call.give(connected(), *events)
    assert [effect.event for effect in call.effects if isinstance(effect, Deliver)] == events


# --- What is counted


@pytest.mark.parametrize(
    ("state", "given", "drops"),
    [
        (State.ACCEPTED, AUDIO, {"before_start": 800}),
        (State.CONNECTED, AUDIO, {"before_start": 800}),
        (State.STREAMING, media(speech(320), OTHER_SID), {"foreign_stream": 320}),
        (State.STOPPED, AUDIO, {"after_end": 800}),
    ],
)
def test_dropped_audio_is_counted(state: State, given: Input, drops: dict[str, int]):
    """Each byte that is not delivered is in the ledger, by its reason."""
    call = in_state(state)
    call.give(given)
    assert call.session.ledger.inbound_drops == drops
    assert (call.session.ledger.received_bytes, call.session.ledger.delivered_bytes) == (sum(drops.values()), 0)
    assert call.session.ledger.balanced


@pytest.mark.parametrize(
    ("state", "given", "kind"),
    [
        (State.ACCEPTED, KEY, "before_start"),
        (State.CONNECTED, ECHO, "before_start"),
        (State.STREAMING, dtmf("1", OTHER_SID), "foreign_stream"),
        (State.STREAMING, ECHO, "unknown_mark"),
        (State.STREAMING, start(OTHER_SID), "second_start"),
        (State.STREAMING, UnknownEvent("x"), "unknown_event"),
        (State.ACCEPTED, UnknownEvent("x"), "unknown_event"),
        (State.STREAMING, Malformed("bad"), "malformed"),
    ],
)
def test_anomalies_are_counted_each_time_and_told_once(state: State, given: Input, kind: str):
    """Ten of a kind are ten in the ledger, and at most one line for the operator."""
    call = in_state(state)
    said = call.give(*[given] * 10)
    assert call.session.ledger.anomalies == {kind: 10}
    assert said in ([], [f"notice {kind}"])


def test_notices_quote_nothing():
    """Neither an unknown event's name nor a foreign id gets into a log."""
    call = streaming()
    call.give(UnknownEvent("s3cret"), dtmf("7", "s3cret"), start("s3cret"), mark("s3cret"))
    texts = [effect.text for effect in call.effects if isinstance(effect, Notice)]
    assert len(texts) == 3
    assert not any("s3cret" in text for text in texts)


# --- Malformed messages


def test_malformed_messages_end_a_call_past_their_budget():
    """Twenty are forgiven; one more closes with 1008."""
    call = streaming()
    assert call.give(*[Malformed("bad")] * 20) == ["notice malformed"]
    assert call.give(Malformed("bad")) == ["close protocol_error 1008"]


@pytest.mark.parametrize("budget", [0, 1, 5])
@pytest.mark.parametrize("state", [State.ACCEPTED, State.CONNECTED, State.STREAMING])
def test_other_budgets(state: State, budget: int):
    """The budget is a setting, and holds in every state."""
    call = Driver(bad_message_budget=budget)
    call.give(*WAYS_INTO[state])
    call.give(*[Malformed("bad")] * budget)
    assert not call.session.is_over
    assert call.give(Malformed("bad"))[-1] == "close protocol_error 1008"


def test_unknown_events_have_no_budget():
    """They never end a call, unless they come as a flood."""
    call = streaming()
    for number in range(1_000):
        call.oversleep(until=number / 100)
        call.give(UnknownEvent("transfer"))
    assert not call.session.is_over


# --- Ends


@pytest.mark.parametrize("state", [State.ACCEPTED, State.CONNECTED, State.STREAMING])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1000, "close completed 1000"),
        (1001, "close completed 1001"),
        (1005, "close completed 1005"),
        (1006, "close peer_lost 1006"),
        (None, "close peer_lost 1006"),
        (1002, "close peer_lost 1002"),
        (1011, "close peer_lost 1011"),
        (4000, "close peer_lost 4000"),
    ],
)
def test_a_lost_peer_ends_the_call_in_any_state(state: State, code: int | None, said: str):
    """Whatever the code, the call is over; 1000, 1001 and 1005 are how the platform ends one without a stop."""
    call = in_state(state)
    assert call.give(PeerLost(code)) == [said]
    assert call.give(PeerLost(code), stop(), PeerLost()) == []


@pytest.mark.parametrize("code", [1002, 1007, 1009, 1000, None])
@pytest.mark.parametrize("state", [State.ACCEPTED, State.CONNECTED, State.STREAMING])
def test_a_connection_cut_for_what_came_over_it(state: State, code: int | None):
    """A message too large, or a broken one, is the peer's fault, whatever the code says."""
    call = in_state(state)
    assert call.give(PeerLost(code, broke_protocol=True)) == [f"close protocol_error {code or 1006}"]


def test_a_stop_gives_up_what_is_queued():
    """After it nothing more is sent; marks are discarded; the connection is closed with 1000."""
    call = streaming()
    call.play(speech(8_000))
    call.give(place(1, "end"))
    said = call.give(stop())
    assert [said[0], said[1][:21], said[2]] == ["deliver stop", "reply 1: end discarde", "close completed 1000"]
    assert call.session.deadline is None
    assert call.session.ledger.outbound_drops == {"call_ended": 7_040}
    assert call.session.ledger.balanced
