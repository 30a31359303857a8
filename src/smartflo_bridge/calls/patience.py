"""Patience: a timer that does not hold against a peer the time for which this process stood still.

A machine that is suspended, or a process that is stopped, wakes up with all its timers overdue and everything that the
peers said meanwhile still unread. Whoever cut calls then would cut all of them.
"""

import asyncio
from collections.abc import Callable

STALL_SECONDS = 0.25
"""A timer that is so late says that the loop stood still; reliability, section 8: `shed_loop_lag_ms`."""

GRACE_SECONDS = 0.25
"""For what is in the sockets to be read: a turn of the loop or two, even for hundreds of calls."""


def _nothing() -> None:
    """In the place of what is not to be called any more."""


class Patience:
    """Calls a function once, after so many seconds; if it is late itself, a little later still."""

    def __init__(self, seconds: float, out: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._out = out
        self._due = self._loop.time() + seconds
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._ring)

    def cancel(self) -> None:
        """Do not call it, and hold on to nothing: what it calls is often its owner's, and would be garbage only together."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._out = _nothing

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() - self._due > STALL_SECONDS:
            self._timer = self._loop.call_later(GRACE_SECONDS, self._out)
        else:
            self._out()
