"""A call then and now: what is measured of each, and what a budget says about the two."""

import msgspec
import pytest

from captures.support import QUIET, VOICE, Captured, media_message
from captures.test_turns import Talk
from smartflo_bridge.captures.comparison import Comparison, side_of
from smartflo_bridge.core.commands import Interrupt, PlaceMark, Play
from smartflo_bridge.core.ledger import Turn


def side(*turns, first=0.5, code=1000):
    """Return one side with turns that begin at 1, 2, 3 s and are answered after so long."""
    made = tuple(None if seconds is None else Turn(at, at + seconds) for at, seconds in enumerate(turns, 1))
    return msgspec.structs.replace(side_of([], code), turns=made, first_audio_seconds=first)


def test_a_side_is_measured():
    """Messages by kind, audio, the first of it from the start on, lead and close code."""
    call = Captured()
    call.run(0.2)
    call.start()
    call.run(0.3)
    call.give(Play(VOICE * 10, 0))
    call.give(PlaceMark(1))
    call.run(0.6)
    call.say(media_message(QUIET))
    call.give(Interrupt(2))
    call.run(1)
    found = side_of(call.records, 1000)
    assert found.counts == {"media": 8, "clear": 1}
    assert found.audio_seconds == pytest.approx(0.72)
    assert found.first_audio_seconds == pytest.approx(0.3)
    assert found.largest_lead_ms == pytest.approx(200, abs=1)
    assert (found.gaps, found.gap_seconds, found.close_code) == ((), 0.0, 1000)
    assert found.seconds == pytest.approx(1.1)


def test_a_gap_is_measured():
    """Audio that breaks off inside an utterance."""
    talk = Talk()
    talk.ours()
    talk.now += 0.3
    talk.ours()
    found = side_of(talk.records, None)
    assert found.gap_seconds == pytest.approx(0.2)


def test_nothing_is_measured_of_nothing():
    """A call in which nothing was said."""
    found = side_of([], None)
    assert (found.counts, found.first_audio_seconds, found.turns, found.seconds) == ({}, None, (), 0.0)


@pytest.mark.parametrize(
    ("after", "sentences"),
    [
        (side(0.4, 0.5, None), []),
        (side(0.6, 0.3, 0.1), []),
        (side(0.61, 0.5, None), ["turn 1 is answered 210 ms later"]),
        (side(0.4, None, None), ["turn 2 is not answered any more"]),
        (side(0.4), ["turn 2 is not answered any more"]),
        (side(0.4, 0.5, first=0.8), ["the first audio comes 300 ms later"]),
        (side(0.4, 0.5, first=None), ["no audio comes any more"]),
        (side(0.4, 0.5, code=1011), ["the call ends with close code 1011"]),
        (side(0.4, 0.5, code=None), []),
        (side(0.4, 0.5, None, 0.9), []),
    ],
)
def test_a_budget_is_kept_or_not(after, sentences):
    """Each turn and the first audio may be later by the budget, and no answer may be missing; more of them may come."""
    assert Comparison(side(0.4, 0.5, None), after).beyond(0.205) == sentences


def test_a_call_that_was_bad_may_stay_bad():
    """What was not there cannot be lost, and a close code that was bad may be bad."""
    assert Comparison(side(None, first=None, code=1011), side(None, first=None, code=1011)).beyond(0.0) == []
    assert Comparison(side(None, first=None), side(0.2)).beyond(0.0) == []
