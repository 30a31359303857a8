"""The live calls: how many there may be, which there are, and the way to tell all of them that the bridge drains.

Written by the main loop only; look-ups copy, so a handler's thread may make them.
"""

from collections.abc import Callable

from smartflo_bridge.calls.call import Call


class Registry:
    """All calls of one bridge, by streamSid.

    Args:
        max_calls: how many connections are admitted at once.
    """

    def __init__(self, max_calls: int) -> None:
        self.max_calls = max_calls
        self.connections = 0
        self.calls_served = 0
        self._calls: dict[str, Call] = {}
        self._drains: set[Callable[[], None]] = set()

    @property
    def is_full(self) -> bool:
        """True if no further connection may be admitted."""
        return self.connections >= self.max_calls

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, stream_sid: str) -> Call | None:
        """Return the live call of a stream, or None."""
        return self._calls.get(stream_sid)

    def all(self) -> list[Call]:
        """Return all live calls."""
        return list(self._calls.values())

    def add(self, call: Call) -> bool:
        """Enter a call; return False if its stream is being served already."""
        if call.stream_sid in self._calls:
            return False
        self._calls[call.stream_sid] = call
        self.calls_served += 1
        return True

    def remove(self, call: Call) -> None:
        """Forget a call that is over."""
        if self._calls.get(call.stream_sid) is call:
            del self._calls[call.stream_sid]

    def watch_drain(self, drain: Callable[[], None]) -> Callable[[], None]:
        """Have `drain` called when the time of live calls is over; return what takes that back."""
        self._drains.add(drain)
        return lambda: self._drains.discard(drain)

    def drain(self) -> int:
        """Cut all calls, whatever state they are in; return how many."""
        drains = list(self._drains)
        for drain in drains:
            drain()
        return len(drains)
