"""Turn latency: from the caller falling silent to the first sound of ours, measured at the wire, for every call.

A turn begins where the caller's speech ended, which `speech` finds in hindsight, at the time that the audio had when it
could have reached us (`mediaclock`): neither the length of the platform's chunks nor a delayed one counts. It ends when
the first sound of ours that is louder than silence begins to play, which is when it is sent, unless silence was sent
before it. A pause of the caller does not matter: what counts is the last end of speech before our sound.

It is a turn only if we were silent when the caller fell silent. So there is none when we begin to speak while the caller
still does, nor when the caller says something while we speak on. Barge-in is the exception: an interrupt soon after the
caller's words belongs to them, and what we say next answers them, so that turn counts from those words, not from the
interrupt. A key answers for itself: what we say after one is no answer to words before it.

Everything is decided in hindsight, some 0.4 s after the fact. `session` shows what comes and goes.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import Counter
from smartflo_bridge.core.ledger import Turn
from smartflo_bridge.core.mediaclock import MediaClock
from smartflo_bridge.core.speech import MIN_SPEECH_WINDOWS, WINDOW_BYTES, SpeechDetector, SpeechEdge

QUIET = bytes([*range(0x70, 0x80), *range(0xF0, 0x100)])
"""The lowest of mu-law's eight segments, below -48 dBFS: what we send of it is silence, and the noise of a synthesiser."""

PAUSE_SECONDS = 0.5
"""A shorter silence of ours is a pause between two words: speech after it is not begun anew. Twice a pause at a comma."""

INTERRUPT_SECONDS = 2.0
"""How long after the caller's words an interrupt may still be their doing: recognisers take up to some 1.5 s."""

_PORTION_BYTES = 5 * FRAME_BYTES
"""The detector listens to 100 ms at once, the platform's own cadence: at a shorter one each look would cost as much."""

_MAX_GAPS = 16
"""Gaps remembered; an end of speech lies before the last one or two."""


class _Answer(msgspec.Struct, frozen=True):
    """We began to speak. Words of the caller that ended before `not_before` are not what it answers."""

    seconds: float
    not_before: float


class Clock(Protocol):
    """Where the caller's audio lies on its axis, and what time that is: see `mediaclock`."""

    @property
    def end(self) -> int:
        """How far the audio has come."""
        ...

    def place(self, size: int, now: float, timestamp: Counter = None) -> int:
        """Take note of a chunk; return where it begins."""
        ...

    def position_at(self, now: float) -> int:
        """Return what position a time has."""
        ...

    def seconds_at(self, position: float) -> float:
        """Return what time a position has."""
        ...


class Turns:
    """The turns of one call.

    Args:
        note: is given each turn when it is known.
        clock_at: makes the clock of the caller's audio when the stream starts: a caller who is replayed may be hurried.

    Attributes:
        silences: how often the caller has fallen silent; while a turn is noted, it ends the last of them.
    """

    def __init__(self, note: Callable[[Turn], None], clock_at: Callable[[float], Clock] = MediaClock) -> None:
        self.silences = 0
        self._note = note
        self._clock_at = clock_at
        self._clock = clock_at(0.0)
        self._detector = SpeechDetector()
        self._gaps: list[tuple[int, int]] = []  # audio before it; position less audio behind it
        self._received = 0
        self._shift = 0  # the gaps so far, together
        self._unheard: list[bytes] = []  # what the detector has not been shown yet
        self._unheard_bytes = 0
        self._fell_silent: float | None = None  # the caller, and nothing of ours has answered yet
        self._answer: _Answer | None = None  # which nobody knows yet to be one
        self._spoke_until = float("-inf")
        self._pressed_at = float("-inf")

    def begin(self, now: float) -> None:
        """The stream has started."""
        self._clock = self._clock_at(now)

    def hear(self, ulaw: bytes, now: float, timestamp: Counter) -> None:
        """Take the caller's audio."""
        start = self._clock.place(len(ulaw), now, timestamp)
        if start != self._received + self._shift:
            self._shift = start - self._received
            self._gaps.append((self._received, self._shift))
            del self._gaps[:-_MAX_GAPS]
        self._received += len(ulaw)
        self._unheard.append(ulaw)
        self._unheard_bytes += len(ulaw)
        if self._unheard_bytes >= _PORTION_BYTES:
            self._listen()

    def _listen(self) -> None:
        """Show the detector what has come."""
        ulaw = b"".join(self._unheard)
        self._unheard.clear()
        self._unheard_bytes = 0
        for edge in self._detector.feed(ulaw):
            self._take(edge)
        if self._answer is not None and not self._detector.is_speech:
            known = self._detector.position_bytes - MIN_SPEECH_WINDOWS * WINDOW_BYTES
            if self._seconds_at(known) >= self._answer.seconds:
                self._settle()

    @property
    def position(self) -> int:
        """Where on its own axis the caller's audio is that comes next, unless some is missing."""
        return self._clock.end

    def position_at(self, now: float) -> int:
        """Return where on that axis they are speaking now, whether or not it has come yet."""
        return self._clock.position_at(now)

    def press(self, now: float) -> None:
        """The caller has pressed a key."""
        self._pressed_at = now

    def speak(self, ulaw: bytes, plays_at: float) -> None:
        """Take audio that we send, and when it begins to play."""
        end = plays_at + len(ulaw) / SAMPLE_RATE_HZ
        if end - self._spoke_until >= PAUSE_SECONDS:
            begins = plays_at + (len(ulaw) - len(ulaw.lstrip(QUIET))) / SAMPLE_RATE_HZ
            if begins == end:
                return
            if begins - self._spoke_until >= PAUSE_SECONDS:
                self._listen()
                self._settle()
                self._answer = _Answer(begins, max(self._spoke_until, self._pressed_at))
            self._spoke_until = end
        elif ulaw.lstrip(QUIET):  # anything that is louder
            self._spoke_until = end

    def interrupt(self, now: float) -> None:
        """What we were saying is cut off: for words that ended just before, it is as if we had been silent."""
        self._spoke_until = min(self._spoke_until, now - INTERRUPT_SECONDS)

    def end(self) -> None:
        """The call is over: what is known by now decides."""
        self._listen()
        if not self._detector.is_speech:
            self._settle()

    def _seconds_at(self, byte_count: int) -> float:
        """Return what time the caller's audio has behind its first so many bytes."""
        shift = next((shift for before, shift in reversed(self._gaps) if before < byte_count), 0)
        return self._clock.seconds_at(byte_count + shift)

    def _take(self, edge: SpeechEdge) -> None:
        at = self._seconds_at(edge.position_bytes)
        if edge.is_speech and self._answer is not None and self._answer.seconds <= at:
            self._settle()
        self._fell_silent = None if edge.is_speech else at
        self.silences += not edge.is_speech

    def _settle(self) -> None:
        """Decide whether what we began to say was an answer: what the caller did until then is known."""
        answer, self._answer = self._answer, None
        if answer is None or self._fell_silent is None or self._fell_silent > answer.seconds:
            return
        if self._fell_silent >= answer.not_before:
            self._note(Turn(self._fell_silent, answer.seconds))
        self._fell_silent = None
