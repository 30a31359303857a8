"""The mailbox: calls to be made on a loop, posted by another thread.

The two between the main loop and the handlers' loop are the only crossings of threads. A wake-up of a loop costs a system call and the other thread's turn at the interpreter; so it is one for all that is posted
before the loop has looked, whichever calls it is for.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable


class Mailbox:
    """Many writers, on any thread; one loop that makes the calls, in the order in which they were posted.

    Args:
        loop: that makes the calls.
        pause_seconds: between two wake-ups. What is posted soon after one waits so long, on the poster's loop, which must
            not be one that blocks; what is posted to a loop that has been left alone wakes it at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pause_seconds: float = 0.0) -> None:
        self.loop = loop
        self._pause_seconds = pause_seconds
        self._rests_until = 0.0
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._wake_is_coming = False

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called on the loop, soon. Once the loop is closed nobody is left to be told."""
        self._calls.append((function, args))
        # The flag is cleared before the calls are looked at, so one that is posted in between is never missed.
        if not self._wake_is_coming:
            self._wake_is_coming = True
            if time.monotonic() < self._rests_until:
                self._wake_later()
            else:
                self.wake()

    def _wake_later(self) -> None:
        try:
            asyncio.get_running_loop().call_later(self._pause_seconds, self.wake)
        except RuntimeError:  # no loop runs here
            self.wake()

    def wake(self) -> None:
        """Have what is posted be called now."""
        self._wake_is_coming = True
        self._rests_until = time.monotonic() + self._pause_seconds
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
                self.wake()
