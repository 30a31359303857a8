"""The platform's playout clock of one call: takes what the bridge sends, echoes its marks, knows what the caller hears.

Pure: `now` is an argument, in seconds since the call began, and never goes back. It plays strictly where the protocol is
strict, and counts a fault for each rule that a message breaks; what shows only over several messages is the referee's.
It knows no connection: `caller` feeds it and sends the echoes that it returns.
"""

from collections import Counter, deque

import msgspec

from smartflo_bridge.core.audio import BYTES_PER_MS, SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import Counter as ChunkNumber
from smartflo_bridge.simulator.arrivals import EVENTS, Arrival, binary_arrival, parse_arrival
from smartflo_bridge.simulator.earpiece import Earpiece, Gap
from smartflo_bridge.simulator.progress import (
    Cleared,
    EndAsked,
    FaultSeen,
    FirstAudio,
    LineProgress,
    MarkEchoed,
    MarkPlaced,
)
from smartflo_bridge.simulator.rules import Fault

CROSSING_SECONDS = 0.25
"""What arrives so soon after our `stop` may have crossed it on the wire: the longest round trip of a call in one country."""

BUFFER_LIMIT_BYTES = 3600 * SAMPLE_RATE_HZ
"""An hour of audio ahead. The platform's own limit is unpublished; this one keeps a broken bridge out of our memory."""

MARKS_LIMIT = 100_000
"""Marks that wait for their echo, for the same reason."""

_SAMPLE_TOLERANCE = 1e-3
"""Of a sample: a deadline that went through floating point and a timer is met, not missed by one sample."""


class LineCounts(msgspec.Struct):
    """What the bridge sent in one call, counted."""

    messages: int = 0
    connected: int = 0
    media: int = 0
    payload_bytes: int = 0
    dropped_bytes: int = 0
    marks: int = 0
    marks_echoed: int = 0
    clears: int = 0
    media_after_stop: int = 0
    """All of it, also what may have crossed the `stop`."""
    largest_lead_bytes: int = 0

    @property
    def largest_lead_ms(self) -> int:
        """The most that was ever buffered ahead of what the caller was hearing."""
        return self.largest_lead_bytes // BYTES_PER_MS


class Line:
    """The platform's end of one stream.

    Feed every message to `handle` as it arrives, call `advance` when `deadline` has come, and send an echo for each
    `MarkEchoed` that either returns, in that order.
    """

    def __init__(self, stream_sid: str, *, jitter_buffer_seconds: float = 0.0, keeps_audio: bool = True) -> None:
        self.counts = LineCounts()
        self.faults: Counter[Fault] = Counter()
        self.first_audio_seconds: float | None = None
        self._stream_sid = stream_sid
        self._earpiece = Earpiece(_samples(jitter_buffer_seconds), keeps_track=keeps_audio)
        self._marks: deque[tuple[int, str]] = deque()  # (audio received before it, name)
        self._last_chunk = 0
        self._stopped_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When the next mark falls due, or None."""
        if not self._marks or self._stopped_at is not None:
            return None
        return self._earpiece.reached_at(self._marks[0][0]) / SAMPLE_RATE_HZ

    @property
    def gaps(self) -> list[Gap]:
        """Where the caller heard the audio break off inside an utterance."""
        return self._earpiece.gaps

    @property
    def pauses(self) -> list[Gap]:
        """Silences of up to a second that follow a mark: gaps only if the bridge marks inside its utterances."""
        return self._earpiece.pauses

    @property
    def buffered_bytes(self) -> int:
        """Audio that waits to be played."""
        return self._earpiece.buffered_bytes

    @property
    def heard_bytes(self) -> int:
        """Audio of the bridge that was played."""
        return self._earpiece.heard_bytes

    @property
    def pending_marks(self) -> list[str]:
        """The marks that were not echoed yet."""
        return [name for _, name in self._marks]

    def heard(self, start_seconds: float, end_seconds: float) -> bytes:
        """Return what the caller heard between two times, as mu-law: silence where nothing was played."""
        return self._earpiece.heard(_samples(start_seconds), _samples(end_seconds))

    def handle(self, message: bytes | str, now: float) -> list[LineProgress]:
        """Take one text message of the bridge."""
        return self.take(parse_arrival(message), now)

    def handle_binary(self, now: float) -> list[LineProgress]:
        """Take one binary message of the bridge: the protocol has none, so it is ignored and counted."""
        return self.take(binary_arrival(b""), now)

    def take(self, arrival: Arrival, now: float) -> list[LineProgress]:
        """Take one message of the bridge, decoded."""
        progress = self.advance(now)
        self.counts.messages += 1
        return [*progress, *self._take(arrival, now)]

    def take_early(self, arrival: Arrival, now: float) -> list[LineProgress]:
        """Take one message that came before our `start`: only `connected` means anything then."""
        self.counts.messages += 1
        if arrival.event == "connected":
            self.counts.connected += 1
            return []
        return [self._fault(Fault.SENT_BEFORE_START, now)]

    def advance(self, now: float) -> list[LineProgress]:
        """Play up to `now` and return the marks reached by then."""
        if self._stopped_at is not None:
            return []
        self._earpiece.advance(_samples(now))
        reached = self._earpiece.heard_bytes + self._earpiece.dropped_bytes
        echoes: list[LineProgress] = []
        while self._marks and self._marks[0][0] <= reached:
            echoes.append(self._echo(now))
        return echoes

    def stop(self, now: float) -> list[LineProgress]:
        """End the stream: what is still buffered is never heard, marks that wait are never echoed."""
        progress = self.advance(now)
        self._stopped_at = now
        return progress

    def _take(self, arrival: Arrival, now: float) -> list[LineProgress]:
        if arrival.event == "connected":
            self.counts.connected += 1
            return []
        if arrival.event not in EVENTS:
            return [self._fault(fault, now) for fault in arrival.faults]
        if arrival.stream_sid != self._stream_sid:
            return [self._fault(Fault.UNKNOWN_STREAM_SID, now)]
        if self._stopped_at is not None:
            self.counts.media_after_stop += arrival.event == "media"
            return [self._fault(Fault.SENT_AFTER_STOP, now)] if now - self._stopped_at > CROSSING_SECONDS else []
        if Fault.MALFORMED_MESSAGE in arrival.faults:
            return [self._fault(Fault.MALFORMED_MESSAGE, now)]
        match arrival.event:
            case "media":
                return self._take_media(arrival, now)
            case "mark":
                return self._take_mark(arrival.mark or "", now)
            case "clear":
                return self._take_clear(now)
            case _:
                return [EndAsked(now)]

    def _take_media(self, arrival: Arrival, now: float) -> list[LineProgress]:
        self.counts.media += 1
        self.counts.payload_bytes += len(arrival.ulaw)
        faults = [*self._wrong_with_chunk(arrival.chunk), *arrival.faults]
        ulaw = arrival.ulaw
        if len(ulaw) + self.buffered_bytes > BUFFER_LIMIT_BYTES:
            faults.append(Fault.BUFFER_OVERFLOW)
            self.counts.dropped_bytes += len(ulaw)
            ulaw = b""
        progress: list[LineProgress] = [self._fault(fault, now) for fault in faults]
        if ulaw:
            self._earpiece.enqueue(ulaw, _samples(now))
            self.counts.largest_lead_bytes = max(self.counts.largest_lead_bytes, self.buffered_bytes)
            if self.first_audio_seconds is None:
                self.first_audio_seconds = now
                progress.append(FirstAudio(now))
        return progress

    def _take_mark(self, name: str, now: float) -> list[LineProgress]:
        if len(self._marks) == MARKS_LIMIT:
            return [self._fault(Fault.BUFFER_OVERFLOW, now)]
        self.counts.marks += 1
        self._earpiece.end_utterance()
        self._marks.append((self._earpiece.received_bytes, name))
        return [MarkPlaced(now, name), *self.advance(now)]

    def _take_clear(self, now: float) -> list[LineProgress]:
        dropped = self._earpiece.clear(_samples(now))
        self.counts.clears += 1
        self.counts.dropped_bytes += dropped
        return [Cleared(now, dropped / SAMPLE_RATE_HZ), *self.advance(now)]

    def _wrong_with_chunk(self, chunk: ChunkNumber) -> list[Fault]:
        """Check that media events are numbered 1, 2, 3; after a wrong number go on from there."""
        expected = self._last_chunk + 1
        number = chunk if isinstance(chunk, int) else int(chunk) if chunk and chunk.isdecimal() else None
        self._last_chunk = expected if number is None else number
        return [] if number == expected else [Fault.CHUNK_OUT_OF_ORDER]

    def _echo(self, now: float) -> MarkEchoed:
        self.counts.marks_echoed += 1
        return MarkEchoed(now, self._marks.popleft()[1])

    def _fault(self, fault: Fault, now: float) -> FaultSeen:
        self.faults[fault] += 1
        return FaultSeen(now, fault)


def _samples(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE_HZ + _SAMPLE_TOLERANCE)
