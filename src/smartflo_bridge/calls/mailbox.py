"""The mailbox: calls to be made on a loop, posted by another thread.

The two between the main loop and the handlers' loop are the only crossings of threads. A wake-up of a loop costs a system call and the other thread's turn at the interpreter; so it is one for all that is posted
before the loop has looked, whichever calls it is for.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable


class Mailbox:
    """Many writers, on any thread; one loop that makes the calls, in the order in which they were posted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._wake_is_coming = False

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called on the loop, soon. Once the loop is closed nobody is left to be told."""
        self._calls.append((function, args))
        # The flag is cleared before the calls are looked at, so one that is posted in between is never missed.
        if not self._wake_is_coming:
            self._wake()

    def _wake(self) -> None:
        self._wake_is_coming = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: a handler left alone outlived the bridge
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Make the calls that are here; others of the loop are to have their turn before those that come meanwhile."""
        self._wake_is_coming = False
        try:
            for _ in range(len(self._calls)):
                function, args = self._calls.popleft()
                function(*args)
        finally:
            if self._calls and not self._wake_is_coming:
                self._wake()
