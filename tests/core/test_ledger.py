"""The ledger: what is counted, and that the accounts close."""

from collections import Counter

import pytest

from core.support import SID, dtmf, interrupt, mark, media, message, place, speech, start, stop, streaming
from smartflo_bridge.core.incoming import parse_incoming_event
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.core.signals import HandlerDone, Malformed, Undelivered


def test_an_empty_ledger_is_balanced():
    """Nothing received, nothing owed."""
    assert Ledger().balanced


@pytest.mark.parametrize(
    "member", ["received_bytes", "delivered_bytes", "accepted_bytes", "sent_bytes", "padding_bytes"]
)
def test_a_byte_unaccounted_for_is_seen(member: str):
    """Each account is part of an equation."""
    ledger = Ledger()
    setattr(ledger, member, 1)
    assert not ledger.balanced


@pytest.mark.parametrize("member", ["inbound_drops", "outbound_drops"])
def test_a_drop_unaccounted_for_is_seen(member: str):
    """Drops of all reasons are added up."""
    ledger = Ledger()
    getattr(ledger, member).update(a=1, b=2)
    assert not ledger.balanced
    ledger.received_bytes = ledger.accepted_bytes = 3
    ledger.inbound_drops = ledger.outbound_drops = Counter(a=1, b=2)
    assert ledger.balanced


def test_the_accounts_of_a_call():
    """Audio both ways, with drops on either side, to the byte."""
    call = streaming()
    call.give(media(speech(800)), media(speech(321)), media(speech(5), "x"))
    call.play(speech(4_001))
    call.give(place(1))
    call.run(until=0.02)
    call.give(interrupt(2))
    call.play(speech(250), epoch=1)
    call.play(speech(70), epoch=0)
    call.run(until=1)
    call.give(HandlerDone(), media(speech(7)))
    call.give(stop(), media(speech(9)))
    ledger = call.session.ledger
    assert (ledger.received_bytes, ledger.delivered_bytes) == (1_142, 1_121)
    assert ledger.inbound_drops == {"foreign_stream": 5, "after_end": 16}
    assert (ledger.accepted_bytes, ledger.sent_bytes, ledger.padding_bytes) == (4_321, 1_760 + 320, 159 + 70)
    assert ledger.outbound_drops == {"interrupted": 4_160 - 1_760 + 70}
    assert ledger.balanced


def test_what_a_handler_was_too_slow_for_comes_back():
    """Audio that was delivered and then dropped from the queue moves from one account to the other."""
    call = streaming()
    call.give(media(speech(800)), media(speech(800)))
    assert call.give(Undelivered(800, "slow_handler")) == []
    ledger = call.session.ledger
    assert (ledger.received_bytes, ledger.delivered_bytes, ledger.inbound_drops) == (1_600, 800, {"slow_handler": 800})
    assert call.give(stop(), Undelivered(320, "unread")) == ["deliver stop", "close completed 1000"]
    assert (ledger.delivered_bytes, ledger.inbound_drops) == (480, {"slow_handler": 800, "unread": 320})
    assert ledger.balanced


def test_marks_are_counted_by_what_became_of_them():
    """Placed is played, discarded and timed out together."""
    call = streaming()
    call.give(place(1, "a"), place(2, "b"), place(3, "c"), mark("a"))
    call.run(until=3)
    call.give(place(4, "d"), stop())
    assert call.session.ledger.marks_placed == 4
    assert call.session.ledger.marks == {"played": 1, "timed_out": 2, "discarded": 1}


def test_every_message_is_counted():
    """Malformed, foreign and unknown ones too; ticks and commands are none."""
    call = streaming()
    call.give(media(), dtmf(), start(), Malformed("bad"), mark("x"), dtmf("1", "other"))
    call.play(speech(10))
    call.run(until=1)
    call.give(stop())
    assert call.session.ledger.messages_in == 8


@pytest.mark.parametrize(
    ("numbers", "anomalies"),
    [
        ([1, 2, 3], {}),
        (["1", "2", 3], {}),
        ([1, None, 2], {}),
        ([5, 6], {}),
        ([1, 3, 4, 9], {"sequence_gap": 2}),
        ([1, 1], {"sequence_gap": 1}),
        ([3, 2, 3], {"sequence_gap": 1}),
        (["one", 2, "", 3], {"bad_sequence_number": 2}),
        ([2**53, 1], {"sequence_gap": 1}),
    ],
)
def test_gaps_in_the_sequence_are_a_metric(numbers: list[int | str | None], anomalies: dict[str, int]):
    """A gap, a repetition or a number that is none is counted, and is never an error."""
    call = streaming()
    for number in numbers:
        text = message("dtmf", streamSid=SID, sequenceNumber=number, dtmf={"digit": "1"})
        assert call.give(parse_incoming_event(text)) == ["deliver dtmf 1"]
    assert call.session.ledger.anomalies == anomalies
