"""The caller's earpiece: plays audio in real time as it arrives, and remembers what was heard when. Pure.

The audio half of the line: it knows bytes and times, no messages, no marks' names. Times are whole samples since the
call began (8000 a second), so that nothing drifts and nothing is rounded twice; one mu-law byte is one sample. Only the
line calls it.
"""

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE

GAP_LIMIT_SAMPLES = 1 * SAMPLE_RATE_HZ
"""A longer silence separates two utterances: people hear one of a second as a pause between sentences, not as a fault."""


class Gap(msgspec.Struct, frozen=True):
    """A silence that nobody asked for: the buffer ran dry, and more audio came."""

    at_seconds: float
    seconds: float


class Earpiece:
    """Plays what is enqueued, without a jitter buffer unless told so.

    `received_bytes = heard_bytes + dropped_bytes + buffered_bytes`, always.

    With a jitter buffer, playout of an utterance starts so much after its first byte. After a gap inside an utterance it
    goes on at once: by then it is as late as the gap was long, and so tolerates as much more.
    """

    def __init__(self, jitter_buffer_samples: int = 0, *, keeps_track: bool = True) -> None:
        self.gaps: list[Gap] = []
        """Inside an utterance."""
        self.pauses: list[Gap] = []
        """The same, but right after a mark: the end of an utterance, or a gap if marks stand inside utterances."""
        self.received_bytes = 0
        self.dropped_bytes = 0
        self.heard_bytes = 0
        self._jitter_buffer_samples = jitter_buffer_samples
        self._keeps_track = keeps_track
        self._buffer = bytearray()
        self._track = bytearray()  # what was heard, from the call's first sample up to the last one played
        self._head_at = 0  # when the first byte of the buffer is played
        self._dry_at: int | None = None  # when the buffer ran dry, unless an utterance has ended since by a clear
        self._ended_at: int | None = None  # `received_bytes` when the bridge last said that an utterance ended

    @property
    def buffered_bytes(self) -> int:
        """Audio that has arrived and was not played yet."""
        return len(self._buffer)

    def enqueue(self, ulaw: bytes, now: int) -> None:
        """Append audio that arrives at `now`."""
        self.advance(now)
        if not self._buffer:
            self._head_at = self._start(now)
        self._buffer += ulaw
        self.received_bytes += len(ulaw)

    def advance(self, now: int) -> None:
        """Play up to `now`."""
        count = min(len(self._buffer), now - self._head_at)
        if count <= 0:
            return
        if self._keeps_track:
            self._track += SILENCE * (self._head_at - len(self._track))
            self._track += self._buffer[:count]
        del self._buffer[:count]
        self._head_at += count
        self.heard_bytes += count
        if not self._buffer:
            self._dry_at = self._head_at

    def end_utterance(self) -> None:
        """Note that the audio so far is one utterance."""
        self._ended_at = self.received_bytes

    def clear(self, now: int) -> int:
        """Drop what was not played yet; return how many bytes that was."""
        self.advance(now)
        dropped = len(self._buffer)
        self._buffer.clear()
        self.dropped_bytes += dropped
        self._dry_at = None
        return dropped

    def reached_at(self, received_bytes: int) -> int:
        """Return when the audio that came up to that count will have been played; only meaningful while it is buffered."""
        return self._head_at + received_bytes - (self.heard_bytes + self.dropped_bytes)

    def heard(self, start: int, end: int) -> bytes:
        """Return what was heard between two times: silence where nothing was, or where no track is kept."""
        return bytes(self._track[start:end]).ljust(end - start, SILENCE)

    def _start(self, now: int) -> int:
        """Return when audio that arrives into an empty buffer is played; note the silence before it."""
        delayed = now + self._jitter_buffer_samples
        if self._dry_at is None or now - self._dry_at > GAP_LIMIT_SAMPLES:
            return delayed
        if now == self._dry_at:
            return now
        silence = Gap(self._dry_at / SAMPLE_RATE_HZ, (now - self._dry_at) / SAMPLE_RATE_HZ)
        if self._ended_at == self.received_bytes:
            self.pauses.append(silence)
            return delayed
        self.gaps.append(silence)
        return now
