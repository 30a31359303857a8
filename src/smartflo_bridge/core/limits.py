"""The clocks of a call that have nothing to do with audio: how long it may be silent, not begin, or last.

All by our own clock. Limits that depend on the peer's messages have failed elsewhere.
"""

from smartflo_bridge.core.effects import Close, Send, Termination
from smartflo_bridge.core.outgoing import ConnectedEvent
from smartflo_bridge.core.settings import SessionSettings

AUTO_CONNECTED_SECONDS = 0.5
"""How long a silent peer is given before we say `connected` first; protocol.md, section 2."""

STOP_WAIT_SECONDS = 2.0
"""How long the platform has to answer our `end` with its `stop`; protocol.md, section 5."""


class Limits:
    """What the clock alone brings about. Times are the session's: seconds since the connection was accepted."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._last_heard = 0.0
        self._connected_due: float | None = None
        self._stop_due: float | None = None
        self.due = 0.0  # a lower bound of `deadline`, which costs nothing: before then no limit can be broken

    @property
    def awaits_stop(self) -> bool:
        """True once we have said `end`."""
        return self._stop_due is not None

    def hear(self, now: float) -> None:
        """Note that the peer has said anything at all."""
        self._last_heard = now
        self._connected_due = None

    def await_connected(self, now: float) -> None:
        """Say `connected` ourselves if the peer stays silent."""
        self._connected_due = now + AUTO_CONNECTED_SECONDS
        self.due = 0.0

    def await_stop(self, now: float) -> None:
        """Give the platform its time to answer `end`."""
        self._stop_due = now + STOP_WAIT_SECONDS
        self.due = 0.0

    def deadline(self, *, is_streaming: bool) -> float:
        """Return when the next of these clocks runs out."""
        due = min(self._last_heard + self._settings.idle_seconds, self._settings.max_call_seconds)
        if not is_streaming:
            due = min(due, self._settings.start_deadline_seconds)
        if self._connected_due is not None and self._connected_due < due:
            due = self._connected_due
        return due if self._stop_due is None else min(due, self._stop_due)

    def fallen_due(self, now: float, *, is_streaming: bool) -> Close | Send | None:
        """Return what the clocks ask for by now, and find out when they will ask again."""
        asked: Close | Send | None = self.broken(now, is_streaming=is_streaming)
        if asked is None and self.connected_is_due(now):
            asked = Send(ConnectedEvent())
        self.due = self.deadline(is_streaming=is_streaming)
        return asked

    def connected_is_due(self, now: float) -> bool:
        """Return True, once, when it is time to say `connected` first."""
        if self._connected_due is None or now < self._connected_due:
            return False
        self._connected_due = None
        return True

    def broken(self, now: float, *, is_streaming: bool) -> Close | None:
        """Return how the call ends because of its clocks; None while all is well."""
        settings = self._settings
        if self._stop_due is not None and now >= self._stop_due:
            return Close(Termination.HUNG_UP, 1000, "")
        if now >= settings.max_call_seconds:
            return Close(Termination.LIMIT, 1000, "maximum length of a call")
        if not is_streaming and now >= settings.start_deadline_seconds:
            return Close(Termination.LIMIT, 1008, "no start")
        if now >= self._last_heard + settings.idle_seconds:
            return Close(Termination.LIMIT, 1001, "nothing heard")
        return None
