"""A tap: an observer of one call that can change nothing. Captures and recordings are taps.

What a muted call hides (`core.muting`) no tap is shown: it gets silence, and keys without their digit.

The actor calls it on the main loop, before it acts on what it shows. So a tap does not block: what it writes, it hands
to a thread of its own. It raises nothing: it deals with its own trouble, and the call goes on.
"""

from typing import Protocol

from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.signals import Signal


class Tap(Protocol):
    """Times are ns since the connection was accepted: the very clock that the session is given, so a replay is exact."""

    def message_in(self, at_ns: int, text: bytes) -> None:
        """A message of the platform, undecoded."""
        ...

    def given(self, at_ns: int, given: Command | Signal) -> None:
        """What else the session was given."""
        ...

    def message_out(self, at_ns: int, text: bytes) -> None:
        """A message to the platform."""
        ...

    def ended(self, at_ns: int, session: Session) -> None:
        """The call is over; nothing more is shown."""
        ...
