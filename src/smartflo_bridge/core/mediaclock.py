"""The media clock: where on a call's time axis the caller's audio belongs, and what time that is by our own clock.

The axis counts samples, which are bytes, since the stream's start. The caller's audio lies on it end to end, by the
platform's own sample clock, so nothing drifts, however long the call. Our clock is tied to it by the chunks that came with
the least delay lately: a chunk that was held up on the way moves nothing, and two crystals that differ are followed.

Audio that the platform never sent leaves a gap. Its `timestamp` tells a gap from a delay; without usable timestamps only
a whole second without audio is taken for one. `turns` and recordings call it.
"""

import math

from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import Counter

WINDOW_SECONDS = 10.0
"""The least delay of the last 10 to 20 s counts. Crystals differ by some 50 ppm, so by 1 ms within that time."""

_JITTER_BYTES = 3 * FRAME_BYTES
"""60 ms: a chunk that is later than the least delayed ones by no more is not worth a look at its timestamp."""

_UNSTAMPED_GAP_BYTES = SAMPLE_RATE_HZ
"""A second: TCP repeats a lost packet sooner, so without timestamps this is the platform's silence, not a delay."""

_STAMP_SLACK_BYTES = 5 * FRAME_BYTES
"""100 ms: audio cannot be missing for longer than it is late, but the timestamps may be those of the chunks' starts."""


class MediaClock:
    """The time axis of one call.

    Args:
        now: when the stream started: position 0, until there is audio that says better.
    """

    def __init__(self, now: float) -> None:
        self.end = 0
        self._offset = now  # our time at position 0
        self._latest = math.inf  # the least offset in the window that runs
        self._window_end = math.inf
        self._last_timestamp: Counter = 0
        self._last_size = 0

    def position_at(self, now: float) -> int:
        """Return what position a time has: how much audio of the caller there is at most by then."""
        return round((now - self._offset) * SAMPLE_RATE_HZ)

    def seconds_at(self, position: float) -> float:
        """Return what time a position has: when the audio there was spoken, or rather, could have reached us."""
        return self._offset + position / SAMPLE_RATE_HZ

    def place(self, size: int, now: float, timestamp: Counter = None) -> int:
        """Take note of a chunk that came at `now`; return where it begins. Before it there may be a gap."""
        start = self.end
        late = (now - self._offset) * SAMPLE_RATE_HZ - (start + size)
        if late > _JITTER_BYTES:
            start += self._missing(size, round(late), timestamp)
        self.end = start + size
        offset = now - self.end / SAMPLE_RATE_HZ
        if offset < self._latest or now >= self._window_end or not self._last_size:
            self._adjust(offset, now)
        self._last_timestamp, self._last_size = timestamp, size
        return start

    def _missing(self, size: int, late: int, timestamp: Counter) -> int:
        """Return how much audio before a late chunk was never sent."""
        before, after = _milliseconds(self._last_timestamp), _milliseconds(timestamp)
        is_first = not self._last_size
        if before is None or after is None or (after <= before and not is_first):
            return late if is_first or late > _UNSTAMPED_GAP_BYTES else 0
        missing = (after - before) * BYTES_PER_MS - max(size, self._last_size)
        return missing if FRAME_BYTES <= missing <= late + _STAMP_SLACK_BYTES else 0

    def _adjust(self, offset: float, now: float) -> None:
        if not self._last_size:  # the start of the stream was only a guess
            self._offset = self._latest = offset
            self._window_end = now + WINDOW_SECONDS
        elif now >= self._window_end:
            self._offset = self._latest
            self._latest = offset
            self._window_end = now + WINDOW_SECONDS
        elif offset < self._latest:
            self._latest = offset
        self._offset = min(self._offset, self._latest)


def _milliseconds(timestamp: Counter) -> int | None:
    try:
        return None if timestamp is None else int(timestamp)
    except ValueError:
        return None
