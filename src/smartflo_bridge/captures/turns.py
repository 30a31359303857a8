"""The turns of a call, from its messages: measured by `core.turns`, as the session measures them, whoever the far end was.

`WireTurns` feeds that from what went over the wire alone. So the picture of a call has the turns of its end-of-call line, a
capture that was cut has them too, and a live server that is no bridge of ours is measured like one. For two replays of one
caller to be laid side by side, each time that the caller fell silent has a number, answered or not.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from smartflo_bridge.captures.format import Record
from smartflo_bridge.captures.said import said_in
from smartflo_bridge.core import incoming
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, duration_seconds
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import IncomingEvent, parse_incoming_event
from smartflo_bridge.core.ledger import Turn
from smartflo_bridge.core.mediaclock import MediaClock
from smartflo_bridge.core.turns import Turns


class WireTurns:
    """Follows one call. Times are in seconds, on any axis.

    Args:
        speed: at which the caller's audio was sent: 2 is twice as fast as it is spoken.

    Attributes:
        found: the turns in their order.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.found: list[Turn] = []
        self._numbers: list[int] = []
        clock_at = MediaClock if speed == 1.0 else lambda _: _HurriedClock(speed)
        self._turns = Turns(self._note, clock_at)
        self._sids: Sequence[str | None] | None = None  # under which the stream's messages come, once it has started
        self._is_over = False
        self._horizon = 0.0

    @property
    def by_silence(self) -> tuple[Turn | None, ...]:
        """For each time that the caller fell silent, the turn; None if they were not answered."""
        turns = dict(zip(self._numbers, self.found, strict=True))
        return tuple(turns.get(number) for number in range(1, self._turns.silences + 1))

    def hear(self, event: IncomingEvent, at: float) -> None:
        """Take an event of the platform."""
        if isinstance(event, incoming.StartEvent) and self._sids is None:
            self._sids = event.sids
            self._turns.begin(at)
        if self._sids is None or self._is_over or isinstance(event, incoming.ConnectedEvent | incoming.UnknownEvent):
            return
        if event.stream_sid not in self._sids:
            return
        match event:
            case incoming.MediaEvent(media=media) if media.payload:
                self._turns.hear(media.payload, at, media.timestamp)
            case incoming.DTMFEvent():
                self._turns.press(at)
            case incoming.StopEvent():
                self.end()
            case _:
                pass

    def say(self, ulaw: bytes, at: float) -> None:
        """Take audio of ours: the platform plays what it gets in order, and at once."""
        plays_at = max(self._horizon, at)
        self._turns.speak(ulaw, plays_at)
        self._horizon = plays_at + duration_seconds(len(ulaw))

    def clear(self, at: float) -> None:
        """Take a `clear` of ours."""
        self._turns.interrupt(at)
        self._horizon = min(self._horizon, at)

    def end(self) -> None:
        """The call is over."""
        if not self._is_over:
            self._is_over = True
            self._turns.end()

    def _note(self, turn: Turn) -> None:
        self.found.append(turn)
        self._numbers.append(self._turns.silences)


def turns_of(records: Iterable[Record], speed: float = 1.0) -> tuple[Turn | None, ...]:
    """Return what came of each silence of the caller in a capture, or in a call that was replayed at a speed."""
    turns = WireTurns(speed)
    for record in records:
        text, at = record.wire, record.t / 1e9
        if text is None:
            continue
        if record.dir == "in":
            try:
                turns.hear(parse_incoming_event(text), at)
            except ProtocolError:
                continue
        else:
            said = said_in(text)
            if said.event == "clear":
                turns.clear(at)
            elif said.ulaw:
                turns.say(said.ulaw, at)
    turns.end()
    return turns.by_silence


class _HurriedClock:
    """The clock of a caller whose audio is sent faster than it is spoken: a chunk's end has the time of its message."""

    def __init__(self, speed: float) -> None:
        self._bytes_per_second = SAMPLE_RATE_HZ * speed
        self._ends = [0]
        self._times = [0.0]

    @property
    def end(self) -> int:
        """How far the audio has come."""
        return self._ends[-1]

    def position_at(self, now: float) -> int:  # noqa: ARG002 - nobody is waited for
        """Return what position a time has: all there is."""
        return self.end

    def place(self, size: int, now: float, timestamp: incoming.Counter = None) -> int:  # noqa: ARG002 - of another speed
        """Take note of a chunk; return where it begins."""
        start = self._ends[-1]
        self._ends.append(start + size)
        self._times.append(now)
        return start

    def seconds_at(self, position: float) -> float:
        """Return what time a position has."""
        index = bisect_left(self._ends, position, hi=len(self._ends) - 1)
        return self._times[index] - (self._ends[index] - position) / self._bytes_per_second
