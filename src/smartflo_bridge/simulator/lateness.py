"""How late the simulator itself is: a probe of its event loop, so that nobody blames a server for the generator.

Asks to be called every few milliseconds and notes how late it was. One probe serves all calls of a loop.
"""

import asyncio
from collections import Counter, deque
from types import TracebackType
from typing import Self

PROBE_SECONDS = 0.01
"""Between two looks: a stall that matters to audio is longer."""

STALL_SECONDS = 0.002
"""Less is the timer's own inaccuracy."""

_KEPT_STALLS = 2000


class LatenessProbe:
    """Measures from `async with` on. All times are the loop's."""

    def __init__(self) -> None:
        self.late_ms: Counter[int] = Counter()
        """How often the loop was late by so many ms."""
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_KEPT_STALLS)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Begin to measure."""
        self._loop = asyncio.get_running_loop()
        self._ask()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop measuring."""
        if self._timer:
            self._timer.cancel()

    def stalled(self, start: float, end: float) -> float:
        """Return for how long, between two times, the loop did not run."""
        return sum(max(0.0, min(until, end) - max(since, start)) for since, until in self._stalls)

    def _ask(self) -> None:
        self._due = self._loop.time() + PROBE_SECONDS
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        late = now - self._due
        self.late_ms[round(1000 * late)] += 1
        if late >= STALL_SECONDS:
            self._stalls.append((self._due, now))
        self._ask()
