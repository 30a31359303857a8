"""Pings of one connection, both ways: whether the peer is still there, and how often it may ask whether we are.

Whether the platform answers pings is unknown, so silence after one binds only a peer that has answered before. Anything it
says will do, not the pong alone, which may be behind all the audio that a narrow line has still to carry.
"""

import asyncio
import secrets
from collections.abc import Callable

from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.core.limits import Allowance

PINGS_PER_SECOND, PING_BURST = 10, 100
"""A peer pings every few seconds. Of a hundred that flood, each would cost the loop 50 ms at a time."""


def _nothing(*_: object) -> None:
    """In the place of a connection that is gone."""


class Pings:
    """The account of one connection.

    Args:
        ping_seconds: between pings of ours; after twice as much silence a peer that has answered one is gone.
        ask: sends a ping with these bytes. The library's own keepalive would be a task for each connection, and would keep
            every ping that is never answered.
        cut: ends the connection.
    """

    __slots__ = (
        "_allowance",
        "_ask",
        "_cut",
        "_heard_at",
        "_loop",
        "_patience",
        "_ping_seconds",
        "_pinged_at",
        "_timer",
        "_word",
    )

    def __init__(self, ping_seconds: float, ask: Callable[[bytes], object], cut: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ping_seconds = ping_seconds
        self._ask = ask
        self._cut = cut
        self._word = secrets.token_bytes(4)  # nobody else says it: a pong that nobody asked for is no answer
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._pinged_at = 0.0
        self._allowance = Allowance(PINGS_PER_SECOND, PING_BURST, own_pace=0)
        self._patience: Patience | None = None  # once the peer has answered a ping

    def begin(self) -> None:
        """Ping from now on."""
        self._timer = self._loop.call_later(self._ping_seconds, self._ping)

    def _ping(self) -> None:
        self._ask(self._word)
        self.begin()

    def hear(self) -> None:
        """Note that anything at all has come."""
        self._heard_at = self._loop.time()

    def take_pong(self, data: bytes) -> None:
        """Note that the peer has answered a ping of ours: from now on it is known to be able to."""
        if data == self._word and self._patience is None:
            self._bear(2 * self._ping_seconds)

    def may_ping(self) -> bool:
        """Count a ping of the peer's; return False if there are more than anybody needs."""
        now = self._loop.time()
        silence_seconds, self._pinged_at = now - self._pinged_at, now
        return self._allowance.take(1, silence_seconds)

    def close(self) -> None:
        """Wait for nothing more, and hold on to nothing: the connection is gone, and so are we with its last reference."""
        if self._timer is not None:
            self._timer.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self._ask = self._cut = _nothing

    def _bear(self, seconds: float) -> None:
        self._patience = Patience(seconds, self._judge)

    def _judge(self) -> None:
        left = self._heard_at + 2 * self._ping_seconds - self._loop.time()
        if left > 0:
            self._bear(left)
        else:
            self._cut()
