"""Turns from a call's messages alone, whoever sent them: the rules are `core.turns`' own, and tested there."""

import json

import pytest

from captures.support import QUIET, VOICE, media_message
from core.support import SID, message, start_message
from smartflo_bridge.captures.format import message_record
from smartflo_bridge.captures.turns import turns_of
from smartflo_bridge.core.ledger import Turn
from smartflo_bridge.core.outgoing import ClearEvent, Media, MediaEvent, encode_outgoing_event


class Talk:
    """A call as its messages: `caller` and `ours` take audio in pieces of 100 ms at the present, `wait` lets time pass."""

    def __init__(self, speed=1.0):
        self.records = [message_record(0, "in", start_message())]
        self.now = 0.0
        self.speed = speed

    def caller(self, pieces, ours=None):
        """Let the caller speak, or be silent at 0; our audio may go out meanwhile, piece by piece."""
        for piece in pieces:
            if ours is not None:
                self.ours(ours)
            self.now += 0.1 / self.speed
            self._add("in", media_message(VOICE if piece else QUIET))

    def ours(self, ulaw=VOICE):
        """Send audio."""
        self._add("out", encode_outgoing_event(MediaEvent(SID, Media(ulaw, 1))))

    def clear(self):
        """Interrupt ourselves."""
        self._add("out", encode_outgoing_event(ClearEvent(SID)))

    def _add(self, direction, text):
        self.records.append(message_record(round(self.now * 1e9), direction, text))


def seconds(talk):
    """Return how long the caller waited each time, in tenths of a second; None where nobody answered."""
    return [turn and round(turn.seconds, 1) for turn in turns_of(talk.records, talk.speed)]


def test_an_answer_is_measured_from_the_end_of_speech():
    """Known only some time after; the position in the audio counts, not when it was found out."""
    talk = Talk()
    talk.caller([0, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    talk.ours()
    (turn,) = turns_of(talk.records)
    assert turn == Turn(pytest.approx(0.4, abs=0.021), pytest.approx(1.0))


def test_each_end_of_speech_is_a_turn():
    """Answered or not: so the turns of two replays have the same numbers."""
    talk = Talk()
    talk.caller([1] * 5 + [0] * 5)
    talk.ours()
    talk.caller([0] * 15 + [1] * 5 + [0] * 8 + [1] * 5 + [0] * 9)
    talk.ours()
    assert seconds(talk) == [0.5, None, 0.9]


@pytest.mark.parametrize("after", [0.0001, 0.0073, 0.0199])
def test_an_answer_is_found_wherever_it_begins(after):
    """Between two of the caller's chunks as well."""
    talk = Talk()
    for _ in range(2):
        talk.caller([1] * 5 + [0] * 5)
        talk.now += after
        talk.ours(VOICE[:160])
        talk.ours()
        talk.caller([0] * 8)
    assert seconds(talk) == [0.5, 0.5]


def test_speech_that_goes_on_is_no_answer():
    """Who speaks already when the caller falls silent does not answer them."""
    talk = Talk()
    talk.caller([0] * 3 + [1] * 5 + [0] * 10, ours=VOICE)
    assert seconds(talk) == [None]


def test_silence_that_we_send_is_no_speech():
    """Neither does it answer, nor does it keep later speech from being an answer."""
    talk = Talk()
    talk.caller([1] * 5 + [0] * 6, ours=QUIET)
    talk.ours()
    talk.caller([0] * 5, ours=QUIET)
    assert seconds(talk) == [0.6]


def test_after_a_clear_we_begin_anew():
    """The caller talks over us, we stop and answer at once: that is an answer, though we were just speaking."""
    talk = Talk()
    talk.caller([0] * 3, ours=VOICE * 5)
    talk.caller([1] * 5)
    talk.clear()
    talk.caller([0] * 2)
    talk.ours(VOICE * 3)
    talk.caller([0] * 5)
    assert seconds(talk) == [0.2]


def test_audio_that_came_ahead_is_not_over_yet():
    """A burst of two seconds is heard for two seconds, so what follows it continues it."""
    talk = Talk()
    talk.ours(VOICE * 20)
    talk.caller([1] * 5 + [0] * 5)
    talk.ours()
    talk.caller([0] * 5)
    assert seconds(talk) == [None]


@pytest.mark.parametrize("speed", [4.0, float("inf")])
def test_a_hurried_caller_falls_silent_sooner(speed):
    """The audio counts as it is sent: an answer 0.1 s after it is an answer after 0.1 s."""
    talk = Talk(speed)
    talk.caller([1] * 5)
    spoken_at = talk.now
    talk.caller([0] * 8)
    talk.now = spoken_at + 0.3
    talk.ours(VOICE)
    assert seconds(talk) == [0.3]


def test_rubbish_is_passed_over():
    """Messages that are none, on either side, and foreign ones without audio."""
    talk = Talk()
    for direction in ("in", "out"):
        for text in (
            b"rubbish",
            b"\xff",
            message("dtmf"),
            json.dumps({"event": "media", "media": {"payload": "!"}}).encode(),
        ):
            talk.records.append(message_record(0, direction, text))
    assert turns_of(talk.records) == ()


def test_what_is_not_of_the_stream_is_not_heard():
    """Audio of another stream, before the start, and behind the stop."""
    talk = Talk()
    talk.caller([1] * 5 + [0] * 5)
    loud = media_message(VOICE, sid="MZother")
    talk.records[1:1] = [message_record(0, "in", loud)] * 20
    talk.records.append(message_record(round(talk.now * 1e9), "in", message("stop")))
    talk.ours()
    talk.caller([1] * 5 + [0] * 5)
    talk.records[:0] = [message_record(0, "in", media_message(VOICE))] * 20
    assert seconds(talk) == [None]
