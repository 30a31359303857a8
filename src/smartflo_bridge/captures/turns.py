"""The turns of a call, from its messages: the caller falls silent, and our first speech goes out.

For two replays of one caller to be laid side by side: each end of the caller's speech is a turn, answered or not, so the
turns of both have the same numbers. Times are the capture's, in seconds. Pure; `comparison` calls it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import msgspec

from smartflo_bridge.captures.format import Record
from smartflo_bridge.captures.said import said_in
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import MediaEvent, parse_incoming_event
from smartflo_bridge.core.speech import SpeechDetector, SpeechEdge


class Turn(msgspec.Struct, frozen=True):
    """The caller fell silent; `answered_at` is None if nothing was said before they spoke again."""

    fell_silent_at: float
    answered_at: float | None

    @property
    def seconds(self) -> float | None:
        """How long the caller waited."""
        return None if self.answered_at is None else self.answered_at - self.fell_silent_at


def turns(records: Iterable[Record], speed: float = 1.0) -> list[Turn]:
    """Return the turns in their order.

    Args:
        records: of a capture, or of a call that was replayed.
        speed: at which the caller's audio was sent: 2 is twice as fast as it is spoken.
    """
    caller, ours = _Caller(speed), _Ours()
    for record in records:
        text = record.wire
        if text is None:
            continue
        if record.dir == "in":
            caller.hear(text, record.t / 1e9)
        elif record.dir == "out":
            ours.say(text, record.t / 1e9)
    found: list[Turn] = []
    for fell_silent_at, spoke_again_at in caller.silences():
        index = bisect_left(ours.began_at, fell_silent_at)
        began_at = ours.began_at[index] if index < len(ours.began_at) else float("inf")
        found.append(Turn(fell_silent_at, began_at if began_at < spoke_again_at else None))
    return found


class _Caller:
    """The caller's speech. Audio is sent when it has been spoken, so a chunk's end has the time of its message."""

    def __init__(self, speed: float) -> None:
        self._bytes_per_second = SAMPLE_RATE_HZ * speed
        self._detector = SpeechDetector()
        self._ends: list[int] = []
        self._times: list[float] = []
        self._edges: list[SpeechEdge] = []

    def hear(self, text: bytes, at: float) -> None:
        """Take a message of the platform."""
        try:
            event = parse_incoming_event(text)
        except ProtocolError:
            return
        if isinstance(event, MediaEvent):
            self._ends.append((self._ends[-1] if self._ends else 0) + len(event.ulaw))
            self._times.append(at)
            self._edges += self._detector.feed(event.ulaw)

    def silences(self) -> list[tuple[float, float]]:
        """Return when the caller fell silent, and when they spoke again: at infinity if not at all."""
        times = [(edge.is_speech, self._time_at(edge.position_bytes)) for edge in self._edges]
        ends = [at for is_speech, at in times if not is_speech]
        begins = [at for is_speech, at in times if is_speech]
        return [(at, next((begin for begin in begins if begin > at), float("inf"))) for at in ends]

    def _time_at(self, position: int) -> float:
        index = bisect_left(self._ends, position)
        return self._times[index] - (self._ends[index] - position) / self._bytes_per_second


class _Ours:
    """Our speech, as it is heard: the platform plays what it gets in order, and at once.

    Attributes:
        began_at: when the message was sent with which we began to speak, each time.
    """

    def __init__(self) -> None:
        self.began_at: list[float] = []
        self._clear(0)

    def say(self, text: bytes, at: float) -> None:
        """Take a message of ours."""
        said = said_in(text)
        now = round(at * SAMPLE_RATE_HZ)
        if said.event == "clear":
            self._clear(now)
        elif said.ulaw:
            self._feed(SILENCE * (now - self._horizon))
            self._ends.append(self._horizon + len(said.ulaw))
            self._times.append(at)
            self._feed(said.ulaw)

    def _clear(self, now: int) -> None:
        """Forget what was to be heard: whatever comes next begins anew."""
        self._detector = SpeechDetector()
        self._origin = self._horizon = now
        self._ends: list[int] = []
        self._times: list[float] = []

    def _feed(self, ulaw: bytes) -> None:
        self._horizon += len(ulaw)
        for edge in self._detector.feed(ulaw):
            if edge.is_speech:  # by the detector's grid it may lie in the silence before: then the next message is it
                self.began_at.append(self._times[bisect_right(self._ends, self._origin + edge.position_bytes)])
