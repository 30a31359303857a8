"""What a muted call hides from taps, by whole sessions with numbers for time."""

import pytest

from core.support import SID
from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.core.commands import Interrupt, MuteRecording, PlaceMark, Play
from smartflo_bridge.core.effects import Deliver, Send
from smartflo_bridge.core.incoming import (
    DTMF,
    DTMFEvent,
    Mark,
    MarkEvent,
    Media,
    MediaEvent,
    StartEvent,
    StopEvent,
    UnknownEvent,
    parse_incoming_event,
)
from smartflo_bridge.core.muting import MUTED_DIGIT
from smartflo_bridge.core.outgoing import MediaEvent as Speech
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Malformed, Opened, Tick

VOICE = bytes([0x10, 0x90]) * 400
MUTE, UNMUTE = MuteRecording(is_muted=True), MuteRecording(is_muted=False)


class Watched:
    """A call and what taps are shown of it: the caller's audio, ours, and messages as they stand in a capture."""

    def __init__(self):
        self.session = Session(SessionSettings())
        self.now = 0.0
        self.caller = self.ours = self.sent = self.delivered = b""
        self.give(Opened())
        self.hear(StartEvent(stream_sid=SID))

    def hear(self, event, text=b"as it was"):
        """Take an event of the platform; return the message that taps are shown."""
        shown = self.session.muting.message(text, event)
        self._handle(event)
        return shown

    def speak(self, count=1, ulaw=VOICE, late=0.0):
        """Let the caller speak, chunk by chunk of 100 ms, each of which comes when it has been spoken, or late."""
        for _ in range(count):
            self.pass_time(0.1)
            stamp = round((self.now - late) * 1000)
            event = MediaEvent(stream_sid=SID, media=Media(ulaw, None, stamp))
            shown = self.hear(event)
            self.caller += ulaw if shown == b"as it was" else parse_incoming_event(shown).ulaw

    def pass_time(self, seconds):
        """Let time pass, with the ticks that the session wants."""
        until = self.now + seconds
        while (due := self.session.deadline) is not None and due <= until:
            self.now = max(due, self.now)
            self.give(Tick())
        self.now = until

    def give(self, given):
        """Give the session something else; return what taps are shown."""
        shown = self.session.muting.given(given)
        self._handle(given)
        return shown

    def _handle(self, given):
        for effect in self.session.handle(given, self.now):
            if isinstance(effect, Send) and isinstance(effect.event, Speech):
                self.ours += effect.shown.media.payload
                self.sent += effect.event.media.payload
            elif isinstance(effect, Deliver) and isinstance(effect.event, MediaEvent):
                self.delivered += effect.event.ulaw


def spans(ulaw):
    """Return the stretches of a voice in ms, loud or not, in turn."""
    found = []
    for at in range(0, len(ulaw), 8):
        is_loud = ulaw[at : at + 8] != SILENCE * 8
        if found and found[-1][0] is is_loud:
            found[-1][1] += 1
        else:
            found.append([is_loud, 1])
    return [tuple(span) for span in found]


def test_the_caller_is_silent_to_taps_while_muted_and_to_nobody_else():
    """The chunk that was being spoken when it began is hidden; the handler is given all of it."""
    call = Watched()
    call.speak(5)
    call.pass_time(0.05)
    call.give(MUTE)
    call.now -= 0.05
    call.speak(5)
    call.give(UNMUTE)
    call.speak(5)
    assert spans(call.caller) == [(True, 500), (False, 500), (True, 500)]
    assert call.delivered == VOICE * 15
    assert call.session.ledger.delivered_bytes == len(VOICE) * 15


def test_audio_that_was_spoken_while_muted_and_comes_later_is_hidden():
    """Up to the very sample of the unmuting: a chunk that it lies in is cut there."""
    call = Watched()
    call.speak(5)
    call.give(MUTE)
    call.speak(5)
    call.pass_time(0.34)
    call.give(UNMUTE)
    call.now -= 0.34
    for _ in range(6):
        call.now += 0.1
        event = MediaEvent(stream_sid=SID, media=Media(VOICE))
        shown = call.hear(event)
        call.caller += VOICE if shown == b"as it was" else parse_incoming_event(shown).ulaw
    assert spans(call.caller) == [(True, 500), (False, 840), (True, 260)]


def test_a_stall_does_not_give_away_what_was_said_while_muted():
    """Two seconds held up on the way come all at once, after the unmuting."""
    call = Watched()
    call.speak(5)
    call.give(MUTE)
    call.pass_time(2.0)
    call.give(UNMUTE)
    for number in range(20):
        event = MediaEvent(stream_sid=SID, media=Media(VOICE, None, 600 + 100 * number))
        call.caller += parse_incoming_event(call.hear(event)).ulaw
    call.speak(3)
    assert spans(call.caller) == [(True, 500), (False, 2000), (True, 300)]


def test_where_the_platform_sent_nothing_little_is_hidden_after():
    """It was silent while muted, and says so by its timestamps: one chunk is hidden before that is known."""
    call = Watched()
    call.speak(5)
    call.give(MUTE)
    call.pass_time(2.0)
    call.give(UNMUTE)
    call.speak(5)
    assert spans(call.caller) == [(True, 500), (False, 100), (True, 400)]


def test_what_we_queue_while_muted_is_silence_to_taps_whenever_it_is_sent():
    """Queued, unmuted, sent: a bot that reads a number back need not wait. What is queued after it is heard again.

    The message in which both lie is hidden as a whole: a frame of what comes after.
    """
    call = Watched()
    call.give(Play(VOICE * 2, 0))
    call.pass_time(0.5)
    call.give(MUTE)
    assert call.give(Play(VOICE * 10, 0)) == Play(SILENCE * 8000, 0)
    call.give(UNMUTE)
    assert call.give(Play(VOICE * 3, 0)) == Play(VOICE * 3, 0)
    call.pass_time(2.0)
    assert call.sent == VOICE * 15
    assert spans(call.ours) == [(True, 200), (False, 1020), (True, 280)]


def test_what_was_queued_before_is_hidden_from_the_muting_on():
    """A long prompt that is muted in its middle: what has been sent was shown, the rest is not."""
    call = Watched()
    call.give(Play(VOICE * 10, 0))
    call.pass_time(0.4)
    shown = len(call.ours)
    call.give(MUTE)
    call.pass_time(0.3)
    call.give(UNMUTE)
    hidden = len(call.sent) - shown
    call.pass_time(1.0)
    assert spans(call.ours) == [(True, shown // 8), (False, hidden // 8), (True, 1000 - (shown + hidden) // 8)]


def test_a_clear_ends_what_was_queued_while_muted():
    """The hidden audio is dropped, and what comes next is not mistaken for it."""
    call = Watched()
    call.give(MUTE)
    call.give(Play(VOICE * 10, 0))
    call.give(UNMUTE)
    call.pass_time(0.2)
    hidden = len(call.ours)
    call.give(Interrupt(1))
    call.give(Play(VOICE * 5, 1))
    call.pass_time(1.0)
    assert spans(call.ours) == [(False, hidden // 8), (True, 500)]


def test_padding_does_not_shift_what_is_hidden():
    """Audio of odd lengths, each closed by a mark that fills its frame up."""
    call = Watched()
    call.give(Play(VOICE[:100], 0))
    call.give(PlaceMark(1))
    call.give(MUTE)
    call.give(Play(VOICE[:700], 0))
    call.give(PlaceMark(2))
    call.give(UNMUTE)
    call.give(Play(VOICE, 0))
    call.pass_time(1.0)
    assert call.ours == VOICE[:100] + SILENCE * (60 + 800) + VOICE


@pytest.mark.parametrize("digit", ["4", 4, "#"])
def test_a_key_loses_its_digit(digit):
    """It stays a key, with its number in the sequence, so that a replay is given as many."""
    call = Watched()
    event = DTMFEvent(sequence_number="7", stream_sid=SID, dtmf=DTMF(digit))
    assert call.hear(event) == b"as it was"
    call.give(MUTE)
    shown = parse_incoming_event(call.hear(event))
    assert shown == DTMFEvent(sequence_number="7", stream_sid=SID, dtmf=DTMF(MUTED_DIGIT))
    call.give(UNMUTE)
    assert call.hear(event) == b"as it was"


def test_what_nobody_understands_is_hidden_as_a_whole():
    """It may hold anything: it stays malformed, or unknown, and nothing more. Marks and the stop hold nothing."""
    call = Watched()
    call.give(MUTE)
    assert call.hear(Malformed("malformed message"), b'{"event":"media","media":{"payload":"4111!"}}') == b""
    assert parse_incoming_event(call.hear(UnknownEvent("4111"), b'{"event":"4111"}')) == UnknownEvent("unknown")
    for event in (MarkEvent(stream_sid=SID, mark=Mark("m1")), StopEvent(stream_sid=SID)):
        assert call.hear(event) == b"as it was"


def test_a_muted_call_stays_muted_after_its_end():
    """What still comes in behind the stop is shown to taps too, and hidden like the rest."""
    call = Watched()
    call.give(MUTE)
    call.hear(StopEvent(stream_sid=SID))
    assert call.session.is_over
    event = MediaEvent(stream_sid=SID, media=Media(VOICE))
    assert parse_incoming_event(call.hear(event)).ulaw == SILENCE * 800
    assert call.give(Play(VOICE, 0)) == Play(SILENCE * 800, 0)


def test_what_was_never_muted_is_not_hidden_by_an_unmuting():
    """Nor is anything looked at twice: taps get the very bytes that came."""
    call = Watched()
    call.speak(3)
    call.give(UNMUTE)
    call.speak(3)
    assert spans(call.caller) == [(True, 600)]
