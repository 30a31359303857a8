"""How late the main loop is: a task that wants to run ten times a second notes by how much it is kept waiting."""

import asyncio
from collections import deque

TICK_SECONDS = 0.1

RECENT_TICKS = 10
"""A second: so long after a stall the loop counts as late. Work that piled up meanwhile is still to be done."""

REMEMBERED_TICKS = 600
"""A minute, for whoever looks: one p99 is over 600 ticks."""


class LoopLag:
    """The lag of a loop; `watch` runs on it."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque([0.0], maxlen=REMEMBERED_TICKS)
        self._due: float | None = None

    def note(self, now: float) -> None:
        """Note that a tick happens now; the next is due a tick later. `now` is in seconds, of any clock, always the same."""
        if self._due is not None:
            self._lags.append(max(0.0, now - self._due))
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

    async def watch(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.note(loop.time())
            await asyncio.sleep(TICK_SECONDS)
