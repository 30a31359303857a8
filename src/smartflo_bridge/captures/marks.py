"""The marks of a captured call, each from where the handler placed it to what became of it.

The platform echoes a mark both when its audio has been heard and when a `clear` has dropped it, so the order of the
messages decides, as it does in `core.marks`: an echo before any `clear` means played, and one that is overdue by the
slack means timed out. Fed by `playback`.
"""

import msgspec

from smartflo_bridge.core.effects import MarkResult


class MarkStory(msgspec.Struct):
    """One mark. Times in ns; None where it never came so far. `messages` are indices into what was said."""

    name: str
    placed_ns: int | None = None
    sent_ns: int | None = None
    heard_ns: int | None = None
    """When the platform's clock reaches it."""
    resolved_ns: int | None = None
    result: MarkResult | None = None
    messages: list[int] = msgspec.field(default_factory=list)


class MarkLog:
    """All marks of one call, in the order in which they were placed or sent."""

    def __init__(self, slack_ns: int) -> None:
        self.all: list[MarkStory] = []
        self._slack_ns = slack_ns
        self._waiting: list[MarkStory] = []  # placed, not sent yet
        self._open: dict[str, MarkStory] = {}  # sent, no echo yet
        self._settled: dict[str, MarkStory] = {}  # resolved without an echo: a later one belongs to it

    def place(self, at_ns: int, name: str | None) -> None:
        """Take note that the handler placed a mark; without a name the session makes one up."""
        mark = MarkStory(name or "", placed_ns=at_ns)
        self._waiting.append(mark)
        self.all.append(mark)

    def send(self, at_ns: int, name: str, heard_ns: int, message: int) -> None:
        """Take note that a mark was sent, the first of those that wait; the session's own at a hang-up never waited."""
        if self._waiting and name.startswith(self._waiting[0].name):
            mark = self._waiting.pop(0)
            mark.name = name
        else:
            mark = MarkStory(name)
            self.all.append(mark)
        mark.sent_ns, mark.heard_ns = at_ns, heard_ns
        mark.messages.append(message)
        self._open[name] = mark

    def echo(self, at_ns: int, name: str, message: int) -> bool:
        """Take an echo; return False if no mark awaits one under this name."""
        self._expire(at_ns)
        mark = self._settled.pop(name, None)
        if mark is None:
            mark = self._open.pop(name, None)
            if mark is None:
                return False
            mark.resolved_ns, mark.result = at_ns, MarkResult.PLAYED
        mark.messages.append(message)
        return True

    def clear(self, at_ns: int) -> None:
        """Resolve all that is open, sent or not, as discarded."""
        self._expire(at_ns)
        for mark in (*self._open.values(), *self._waiting):
            mark.resolved_ns, mark.result = at_ns, MarkResult.DISCARDED
        self._settled |= self._open
        self._open.clear()
        self._waiting.clear()

    def end(self, at_ns: int) -> None:
        """Resolve the rest: the call is over."""
        self.clear(at_ns)

    def is_open(self, name: str) -> bool:
        """Return True while a mark of this name has been sent and not resolved."""
        return name in self._open

    def _expire(self, now_ns: int) -> None:
        for name, mark in list(self._open.items()):
            due_ns = (mark.heard_ns or 0) + self._slack_ns
            if due_ns <= now_ns:
                mark.resolved_ns, mark.result = due_ns, MarkResult.TIMED_OUT
                self._settled[name] = self._open.pop(name)
