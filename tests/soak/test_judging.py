"""The soak's judgement of a call: each way to be wrong is found, and what is right for its kind is not."""

import pytest
from soaking.judging import ENDINGS, Heard, faults_of
from soaking.mix import Kind


def heard(kind: Kind = Kind.STOP, **changes: object) -> Heard:
    """Return what the caller of a flawless call of a minute saw: 2900 frames of speech, all back, and some silence."""
    right: dict[str, object] = {
        "frames_sent": 3000,
        "frames_heard": 2990,
        "stamped_sent": 2900,
        "stamped_heard": 2900,
        "close_code": ENDINGS[kind].close_code,
        "end_seconds": 0.1,
    }
    return Heard(stream_sid="MZ1", daemon="bridged", kind=kind.name, **{**right, **changes})


def end(kind: Kind = Kind.STOP, **changes: str) -> dict[str, str]:
    """Return the daemon's line about it."""
    return {"termination": ENDINGS[kind].termination, "frames_in": "3000", "frames_out": "2990"} | changes


@pytest.mark.parametrize("kind", Kind)
def test_what_is_right(kind):
    """A call of each kind that went as it must has no fault."""
    assert faults_of(heard(kind), end(kind)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"lost": 1, "stamped_heard": 2899}, "1 frames lost, more than 0"),
        ({"repeated": 1}, "1 frames repeated or out of order"),
        ({"foreign_bytes": 160}, "160 foreign bytes"),
        ({"stamped_heard": 2899}, "the last 1 frames did not come back, more than 0"),
        ({"close_code": 1011}, "close code 1011, not 1000"),
        ({"close_code": None}, "close code None, not 1000"),
        ({"end_seconds": 5.1}, "its end took 5.1 s, more than 5"),
        ({"failure": "refused: HTTP/1.1 503 Service Unavailable"}, "refused: HTTP/1.1 503 Service Unavailable"),
        ({"frames_sent": 3005}, "3005 frames sent, 3000 in the daemon's account"),
        ({"frames_heard": 2985}, "2985 frames heard, 2990 in the daemon's account"),
    ],
)
def test_what_its_caller_sees(changes, fault):
    """A lost, repeated, foreign or late frame, a wrong close code and a slow end are each named."""
    assert faults_of(heard(**changes), end()) == [fault]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"termination": "peer_lost"}, "termination peer_lost, not completed"),
        ({"balanced": "no"}, "the daemon's account does not balance"),
        ({"frames_in": "2995"}, "3000 frames sent, 2995 in the daemon's account"),
        ({"frames_out": "2995"}, "2990 frames heard, 2995 in the daemon's account"),
        ({"dropped_in": "after_end:5,slow_handler:5"}, "dropped on the way in: after_end:5,slow_handler:5"),
    ],
)
def test_what_the_daemon_says(changes, fault):
    """A wrong end reason, an account that does not balance or differs from the caller's, and a drop without a good reason."""
    assert faults_of(heard(), end(**changes)) == [fault]


def test_no_line_about_the_end():
    """A call that the daemon never ends is a fault, however well its caller got away."""
    assert faults_of(heard(), None) == ["the daemon has not said how it ended"]


def test_a_reset_call_may_lose_what_was_under_way():
    """Its last frames may be missing in both accounts, up to a limit, and nothing may be missing before them."""
    tail = {"stamped_heard": 2830, "frames_heard": 2830}
    assert faults_of(heard(Kind.RST, **tail), end(Kind.RST, frames_in="2995")) == []
    assert faults_of(heard(Kind.RST, **tail, lost=1), end(Kind.RST)) == ["1 frames lost, more than 0"]
    assert faults_of(heard(Kind.RST, stamped_heard=2600), end(Kind.RST)) == [
        "the last 300 frames did not come back, more than 250"
    ]


def test_no_account_may_have_more_than_there_was():
    """Not even where some may be missing."""
    assert faults_of(heard(Kind.RST), end(Kind.RST, frames_in="3005", frames_out="2985")) == [
        "3000 frames sent, 3005 in the daemon's account",
        "2990 frames heard, 2985 in the daemon's account",
    ]


def test_a_lost_agent_takes_some_speech_with_it():
    """But no more than was on its connection, and the account of the call itself is exact."""
    few = {"lost": 60, "stamped_heard": 2840, "foreign_bytes": 8000}
    assert faults_of(heard(Kind.AGENT_BACK, **few), end(Kind.AGENT_BACK)) == []
    many = {"lost": 101, "stamped_heard": 2799}
    assert faults_of(heard(Kind.AGENT_BACK, **many), end(Kind.AGENT_BACK)) == ["101 frames lost, more than 100"]
