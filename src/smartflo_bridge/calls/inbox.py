"""The inbox: everything that can happen to a call goes through this one queue, in the order in which it happened.

Messages come from the connection, commands from a handler that may run on another thread, ticks from the clock. One
wake-up serves everything that arrived together. A connection that brings messages faster than they are taken is told to
stop reading; what else comes is bounded by whoever asks. Not an `asyncio.Queue`: its hop costs 7 % of a frame, and it is not for
threads.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.signals import Signal

Item = bytes | Command | Signal

FULL_ITEMS = 64
"""Where a connection stops reading: six seconds at the platform's cadence."""


FULL_BYTES = 128 * 1024
"""The same for large messages: two of the largest, or as many of the platform's as above."""


class Inbox:
    """A queue with many writers and one reader, the actor; all on the loop that made it. Threads go through a `Mailbox`.

    Attributes:
        items: what has come, the oldest first; the reader takes from here.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.items: deque[Item] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._on_room: Callable[[], None] | None = None
        self._bytes = 0  # of the connection's messages since the reader last found nothing left

    def accept(self, message: bytes, on_room: Callable[[], None]) -> bool:
        """Add a message of the connection; return False if it is to stop reading until `on_room` is called."""
        self._bytes += len(message)
        self.items.append(message)
        if self._reader is not None:
            self._wake()
        if self._bytes < FULL_BYTES and len(self.items) < FULL_ITEMS:
            return True
        self._on_room = on_room
        return False

    def put(self, item: Item) -> None:
        """Add an item."""
        self.items.append(item)
        if self._reader is not None:
            self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():  # it may have been cancelled
            reader.set_result(None)

    def arrival(self) -> asyncio.Future[None] | None:
        """Return what to await until there is an item to take; None if there is one now."""
        if not self.items:
            self._bytes = 0
            if self._on_room is not None:
                on_room, self._on_room = self._on_room, None
                on_room()
        if self.items:
            return None
        self._reader = self._loop.create_future()
        return self._reader

    def take(self) -> Item | None:
        """Return the oldest item, or None if there is none."""
        return self.items.popleft() if self.items else None
