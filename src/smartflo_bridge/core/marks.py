"""Marks on their way: sent, and not yet resolved.

The platform echoes a mark both when its audio has been played and when a clear has discarded it, and may never echo it
at all. Each mark resolves exactly once: as played, discarded or timed out (protocol.md, section 4).
"""

import math

import msgspec

from smartflo_bridge.core.playout import QueuedMark

MAX_REMEMBERED = 256
"""Names of marks resolved without an echo, remembered until it comes; reliability, section 8: `max_pending_marks`."""


class SentMark(msgspec.Struct, frozen=True):
    """A mark on the wire, and when to stop waiting for its echo."""

    mark: QueuedMark
    deadline: float


class Marks:
    """The marks of one call from being sent to being resolved.

    Attributes:
        sent: by name, in the order of sending.
    """

    def __init__(self) -> None:
        self.sent: dict[str, SentMark] = {}
        self._settled: list[str] = []

    @property
    def deadline(self) -> float:
        """When the oldest mark times out. The playout's horizon only grows, so the oldest is the first due."""
        for sent in self.sent.values():
            return sent.deadline
        return math.inf

    def __len__(self) -> int:
        return len(self.sent)

    def __contains__(self, name: str) -> bool:
        """True while an echo of this name may still come."""
        return name in self.sent or name in self._settled

    def add(self, mark: QueuedMark, deadline: float) -> None:
        """Note that a mark has been sent."""
        self.sent[mark.name] = SentMark(mark, deadline)

    def echo(self, name: str) -> QueuedMark | None:
        """Return the mark that an echo resolves as played; None for an unknown or repeated name."""
        sent = self.sent.pop(name, None)
        return sent.mark if sent else None

    def forget(self, name: str) -> bool:
        """Return True if an echo is that of a mark which was discarded or timed out: it means nothing any more."""
        if name not in self._settled:
            return False
        self._settled.remove(name)
        return True

    def flush(self) -> list[QueuedMark]:
        """Return all marks that a clear discards; their echoes will mean nothing."""
        discarded = [sent.mark for sent in self.sent.values()]
        self._settled.extend(self.sent)
        del self._settled[:-MAX_REMEMBERED]
        self.sent.clear()
        return discarded

    def expire(self, now: float) -> list[QueuedMark]:
        """Return the marks whose echo is overdue; a later one will mean nothing."""
        late = [sent.mark for sent in self.sent.values() if sent.deadline <= now]
        for mark in late:
            del self.sent[mark.name]
            self._settled.append(mark.name)
            del self._settled[:-MAX_REMEMBERED]
        return late
