"""The inbox: everything that can happen to a call goes through this one queue, in the order in which it happened.

Messages come from the connection, commands from a handler that may run on another thread, ticks from the clock. The reader
is resumed once for everything that arrived together: in the very turn of the loop in which a connection has read it (`flush`).
A connection that brings messages faster than they are taken is told to stop reading; what else comes is bounded by whoever asks.
Not an `asyncio.Queue`: its hop costs 7 % of a frame, and it is not for threads.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator

from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.signals import Signal

Item = bytes | Command | Signal

FULL_ITEMS = 64
"""Where a connection stops reading: six seconds at the platform's cadence."""


FULL_BYTES = 128 * 1024
"""The same for large messages: two of the largest, or as many of the platform's as above."""


class _Suspended:
    """See below."""

    def __await__(self) -> Generator[None]:
        yield


SUSPENDED = _Suspended()
"""What a reader that is no task awaits, until it is resumed. A task would be woken by a future: that takes the future, a turn of the loop, with a
system call of its own while nothing else is ready, and the way through every `await` on the way, a tenth of all that a frame costs us."""


class Inbox:
    """A queue with many writers and one reader, the actor; all on the loop that made it. Threads go through a `Mailbox`.

    Attributes:
        items: what has come, the oldest first; the reader takes from here.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.items: deque[Item] = deque()
        self._resume: Callable[[], object] | None = None  # the reader, while it waits
        self._flush_is_coming = False
        self._on_room: Callable[[], None] | None = None
        self._bytes = 0  # of the connection's messages since the reader last found nothing left

    def accept(self, message: bytes, on_room: Callable[[], None]) -> bool:
        """Add a message of the connection, which is to `flush` when it has added all; return False if it is to stop reading until `on_room` is called."""
        self._bytes += len(message)
        self.items.append(message)
        if self._bytes < FULL_BYTES and len(self.items) < FULL_ITEMS:
            return True
        self._on_room = on_room
        return False

    def put(self, item: Item) -> None:
        """Add an item, for a reader that is resumed soon: whoever adds it has something else to finish first."""
        self.items.append(item)
        if self._resume is not None:
            self._flush_soon()

    def flush(self) -> None:
        """Resume the reader now, if it waits and there is something for it."""
        resume = self._resume
        if resume is not None and self.items:
            self._resume = None
            resume()

    def _flush_soon(self) -> None:
        if not self._flush_is_coming:
            self._flush_is_coming = True
            self._loop.call_soon(self._flush_late)

    def _flush_late(self) -> None:
        self._flush_is_coming = False
        self.flush()

    def wait(self, resume: Callable[[], object]) -> None:
        """Have a function called once, when there is something to take: in the next turn of the loop, if there is now."""
        if not self.items:
            self._bytes = 0
            if self._on_room is not None:
                on_room, self._on_room = self._on_room, None
                on_room()
        self._resume = resume
        if self.items:
            self._flush_soon()

    def leave(self) -> None:
        """Have nobody called any more."""
        self._resume = None

    def take(self) -> Item | None:
        """Return the oldest item, or None if there is none."""
        return self.items.popleft() if self.items else None
