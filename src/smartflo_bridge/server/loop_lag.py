"""How late the main loop is: a task that wants to run ten times a second notes by how much it is kept waiting.

What is worth a line is told, and told again every ten seconds at most. Which line of code holds the loop up is what `stalls`
finds, after a second.
"""

import asyncio
import logging
from collections import deque

from smartflo_bridge.log import line

TICK_SECONDS = 0.1

RECENT_TICKS = 10
"""A second: so long after a stall the loop counts as late. Work that piled up meanwhile is still to be done."""

REMEMBERED_TICKS = 600
"""A minute, for whoever looks: one p99 is over 600 ticks."""


LATE_SECONDS = 0.25
"""Reliability, section 8: `shed_loop_lag_ms`, and `watchdog lag warn`."""

TELL_SECONDS = 10.0
"""Between two lines about it."""

_log = logging.getLogger(__name__)


class LoopLag:
    """The lag of a loop; `watch` runs on it.

    Args:
        late_seconds: a lag above that is a warning in the log.
    """

    def __init__(self, late_seconds: float = LATE_SECONDS) -> None:
        self._late_seconds = late_seconds
        self._lags: deque[float] = deque([0.0], maxlen=REMEMBERED_TICKS)
        self._due: float | None = None
        self._late_ticks = 0
        self._told_at = -TELL_SECONDS

    def note(self, now: float) -> None:
        """Note that a tick happens now; the next is due a tick later. `now` is in seconds, of any clock, always the same."""
        if self._due is not None:
            self._lags.append(max(0.0, now - self._due))
            if self._lags[-1] > self._late_seconds:
                self._tell(self._lags[-1], now)
        self._due = now + TICK_SECONDS

    def seconds(self, now: float) -> float:
        """Return how late the loop was at worst in the last second, a tick that is overdue now included."""
        overdue = 0.0 if self._due is None else now - self._due
        lags = len(self._lags)
        return max(overdue, *(self._lags[index] for index in range(max(0, lags - RECENT_TICKS), lags)))

    def p99_seconds(self) -> float:
        """Return the lag that 99 % of the ticks of the last minute did not exceed."""
        return self.percentile_seconds(99)

    def percentile_seconds(self, percent: int) -> float:
        """Return the lag that so many percent, from 1 to 100, of the ticks of the last minute did not exceed."""
        lags = sorted(self._lags)
        return lags[max(0, (len(lags) * percent - 1) // 100)]

    def _tell(self, lag: float, now: float) -> None:
        self._late_ticks += 1
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            _log.warning(line("the main loop is late", ms=round(lag * 1000), so_far=self._late_ticks))

    async def watch(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.note(loop.time())
            await asyncio.sleep(TICK_SECONDS)
