"""The two sides of a call as audio on one time axis: which byte of mu-law was spoken, or heard, at which moment.

The axis counts samples since the connection was accepted: 8000 a second, one byte each, so nothing drifts. The caller's
side is laid out here, by the arrival of its messages; ours by `playback`, which knows what the platform plays when.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, SAMPLE_RATE_HZ, SILENCE

NS_PER_SAMPLE = 1_000_000_000 // SAMPLE_RATE_HZ

SETTLE_SAMPLES = 1 * SAMPLE_RATE_HZ
"""How long after its arrival a message may be shown to have been late, by others that come sooner after it."""


class Span(msgspec.Struct, frozen=True):
    """A stretch of time, in seconds since the connection was accepted."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


class Piece(msgspec.Struct, frozen=True):
    """Mu-law at its place: the sample at which its first byte is."""

    at: int
    ulaw: bytes

    @property
    def end(self) -> int:
        """The first sample behind it."""
        return self.at + len(self.ulaw)


class Track(msgspec.Struct, frozen=True):
    """One side of the call from its first sample to its last; `present` says where there is audio at all, loud or silent."""

    ulaw: bytes
    present: list[Span]


def samples_at(at_ns: int) -> int:
    """Return the sample of a capture's time."""
    return round(at_ns / NS_PER_SAMPLE)


def pieces_of_arrivals(arrivals: Sequence[tuple[int, bytes]]) -> list[Piece]:
    """Lay out the caller's audio by when it arrived, each message given as its sample of arrival and its mu-law.

    A message that comes when it should ends at its arrival. Behind a stall come several at once: each is as old as
    the quickest of them shows, so they are laid where the stall was. Where the audio skips time, there is a hole.
    """
    ends: list[int] = []
    for _, ulaw in arrivals:
        ends.append((ends[-1] if ends else 0) + len(ulaw))
    quickest = _quickest_ahead([(at, at - end) for (at, _), end in zip(arrivals, ends, strict=True)])
    pieces: list[Piece] = []
    offset: int | None = None
    for (_, ulaw), end, least in zip(arrivals, ends, quickest, strict=True):
        if offset is None or abs(least - offset) > FRAME_BYTES:  # less is jitter
            offset = least
        pieces.append(Piece(offset + end - len(ulaw), ulaw))
    return pieces


def track_of(pieces: Sequence[Piece], length: int) -> Track:
    """Lay pieces into silence of `length` samples; where two overlap, the later one stays."""
    ulaw = bytearray(SILENCE * length)
    present: list[Span] = []
    for piece in pieces:
        start, end = max(piece.at, 0), min(piece.end, length)
        if start >= end:
            continue
        ulaw[start:end] = piece.ulaw[start - piece.at : end - piece.at]
        span = Span(start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ)
        if present and 0 <= span.start - present[-1].end <= 1 / SAMPLE_RATE_HZ:
            span = Span(present.pop().start, span.end)
        present.append(span)
    return Track(bytes(ulaw), present)


def _quickest_ahead(transits: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each (arrival, transit) the least transit among it and those that arrive within `SETTLE_SAMPLES`."""
    least: list[int] = [0] * len(transits)
    ahead: deque[tuple[int, int]] = deque()  # by arrival, their transits falling: the last is the least
    for index in range(len(transits) - 1, -1, -1):
        arrival, transit = transits[index]
        while ahead and ahead[0][1] >= transit:
            ahead.popleft()
        ahead.appendleft((arrival, transit))
        while ahead[-1][0] > arrival + SETTLE_SAMPLES:
            ahead.pop()
        least[index] = ahead[-1][1]
    return least
