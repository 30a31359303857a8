"""How many may come in at once: handshakes that are not done yet, and new calls a second. Who may is `access`' business.

The library has no limit of its own (reliability, 3d). A connection takes a place in its handshake before it has said
anything, and gives it back with its request; what a call takes is counted in the registry.
"""

import logging
from collections import Counter
from enum import StrEnum

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.log import line
from smartflo_bridge.server.loop_lag import LoopLag
from smartflo_bridge.server.proxies import TrustedProxies

MAX_PENDING = 256
"""Reliability, section 8: `max_pending_handshakes`."""

MAX_PENDING_PER_ADDRESS = 64
"""Reliability, section 8: `per_ip`."""

BURST_SECONDS = 2.0
"""So much of the rate may come at once: calls arrive as they like, and only their mean is limited."""

TELL_SECONDS = 10.0
"""Between two lines in the log about refusals of one kind: under a flood the log is not to be the next thing that fills."""

_log = logging.getLogger(__name__)


class Refusal(StrEnum):
    """Why a connection is not taken, though it might be a call."""

    PENDING = "pending"
    PENDING_OF_ADDRESS = "pending_of_address"
    FULL = "full"
    RATE = "rate"
    LATE = "late"


class Place:
    """What one connection takes while its handshake is not done.

    Args:
        pending: how many such places each address has taken; a place with `address` None counts for nobody.
    """

    def __init__(self, pending: Counter[str | None], address: str | None) -> None:
        self._pending = pending
        self._address = address
        self._is_taken = True
        pending[address] += 1

    def leave(self) -> None:
        """Give it back; a second time does nothing."""
        if self._is_taken:
            self._is_taken = False
            self._pending[self._address] -= 1
            if not self._pending[self._address]:
                del self._pending[self._address]


class Admission:
    """Counts, and refuses what is too much. All times are the loop's.

    Args:
        registry: of the live calls.
        lag: the loop's.
        proxies: whose connections are other people's, so that they are not limited by their address.
        max_new_calls_per_second: on average; twice as many may come at once.
        shed_seconds: new calls are refused while the loop is later than that.

    Attributes:
        refused: how many connections were, by reason.
    """

    def __init__(
        self,
        registry: Registry,
        lag: LoopLag,
        proxies: TrustedProxies,
        *,
        max_new_calls_per_second: float,
        shed_seconds: float,
    ) -> None:
        self._registry = registry
        self._lag = lag
        self._proxies = proxies
        self._rate = max_new_calls_per_second
        self._shed_seconds = shed_seconds
        self._pending: Counter[str | None] = Counter()
        self._credit = self._most_credit = max(1.0, BURST_SECONDS * max_new_calls_per_second)
        self._credited_at = 0.0
        self._told_at: dict[Refusal, float] = {}
        self.refused: Counter[Refusal] = Counter()

    @property
    def pending(self) -> int:
        """How many connections are in their handshake."""
        return self._pending.total()

    def enter(self, address: str | None, now: float) -> Place | None:
        """Return a place for a connection from this address, None if there is none.

        `address` is None for a connection that has none: one over a Unix socket.
        """
        if self.pending >= MAX_PENDING:
            self._refuse(Refusal.PENDING, now)
            return None
        if address is not None and self._proxies.trusts(address):
            address = None
        if address is not None and self._pending[address] >= MAX_PENDING_PER_ADDRESS:
            self._refuse(Refusal.PENDING_OF_ADDRESS, now)
            return None
        return Place(self._pending, address)

    def admits_call(self, now: float) -> bool:
        """True if a new call may be taken now; it is counted as one."""
        if self._registry.is_full:
            self._refuse(Refusal.FULL, now)
            return False
        if self._lag.seconds(now) > self._shed_seconds:
            self._refuse(Refusal.LATE, now)
            return False
        self._credit = min(self._most_credit, self._credit + (now - self._credited_at) * self._rate)
        self._credited_at = now
        if self._credit < 1:
            self._refuse(Refusal.RATE, now)
            return False
        self._credit -= 1
        return True

    def client_of(self, address: str | None, forwarded: list[str]) -> str:
        """Return whose connection it is, for a log: see `TrustedProxies.client_of`; over a Unix socket it is local."""
        return "local" if address is None else self._proxies.client_of(address, forwarded)

    def _refuse(self, why: Refusal, now: float) -> None:
        self.refused[why] += 1
        if now - self._told_at.get(why, -TELL_SECONDS) >= TELL_SECONDS:
            self._told_at[why] = now
            _log.info(line("connections refused", why=why, so_far=self.refused[why]))
