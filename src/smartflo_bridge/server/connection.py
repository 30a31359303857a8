"""One connection of a caller: guarded against a peer that does not read, and adapted to what the actor sees.

The library's exceptions end here.
"""

import asyncio
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.answers import METHOD_NOT_ALLOWED

HARD_WRITE_BYTES = 256 * 1024
"""What the library may have to write, pongs included, before the connection is cut; reliability, F3."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer our close; reliability, section 8: `close_timeout`."""

PROTOCOL_CLOSE_CODES = (1002, 1003, 1007, 1009)
"""RFC 6455, 7.4.1: with these the library ends a connection over which came what must not come."""

MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has at most 125 bytes, two of them for the code."""

# The library closes on a request with a body without an answer.
_OTHER_METHODS = (b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"HEAD ")


class GuardedConnection(ServerConnection):
    """A connection that a peer cannot hold open by not reading.

    The library's keepalive does not notice a dead peer while we send (reliability, F1), and its pongs are written
    without flow control (F3).
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the library's
        registry: Registry,
        write_deadline_seconds: float,
        ping_seconds: float,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._registry = registry
        self._write_deadline_seconds = write_deadline_seconds
        self._ping_seconds = ping_seconds
        self._cut: Patience | None = None
        self._silence: Patience | None = None  # once the peer has answered a ping
        self._heard_at = 0.0
        self._is_admitted = False
        self._is_lost = False
        self.is_refused = False

    def admit(self) -> None:
        """Count this connection among those served, until it is gone; it may be gone before it is answered."""
        if self._is_lost:
            return
        self._is_admitted = True
        self._registry.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer what the library would not, and cut a peer for which too much is waiting to be written."""
        if self.request is None and data.startswith(_OTHER_METHODS):
            self.transport.write(METHOD_NOT_ALLOWED.serialize())
            self.transport.close()
            return
        super().data_received(data)
        self._heard_at = self.loop.time()
        if self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Give a peer that does not read its time, then cut it."""
        super().pause_writing()
        self._cut = Patience(self._write_deadline_seconds, self.transport.abort)

    def acknowledge_pings(self, data: bytes) -> None:
        """Take a pong: from now on this peer is known to answer, and to be gone when it says nothing at all.

        Not a pong alone counts, for that may be behind all the audio that a narrow line has still to carry.
        """
        super().acknowledge_pings(data)
        if self._silence is None:
            self._bear_silence(2 * self._ping_seconds)

    def _bear_silence(self, seconds: float) -> None:
        self._silence = Patience(seconds, self._judge_silence)

    def _judge_silence(self) -> None:
        left = self._heard_at + 2 * self._ping_seconds - self.loop.time()
        if left > 0:
            self._bear_silence(left)
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        """Let a peer live that reads again."""
        self._stop_clock()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free."""
        self._stop_clock()
        if self._silence is not None:
            self._silence.cancel()
        self._is_lost = True
        if self._is_admitted:
            self._is_admitted = False
            self._registry.connections -= 1
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class WebSocketPeer:
    """A connection as its actor sees it: see `calls.peer`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def recv(self) -> bytes | PeerLost:
        """Return the next message; text and binary alike, as bytes."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                return PeerLost(closed.rcvd.code, closed.rcvd.reason)
            if closed.sent is not None:
                return PeerLost(None, closed.sent.reason, broke_protocol=closed.sent.code in PROTOCOL_CLOSE_CODES)
            return PeerLost()

    def send(self, text: bytes) -> None:
        """Write a message; a connection that is closing is passed over, one that fails is cut."""
        try:
            broadcast([self._connection], text, text=True, raise_exceptions=True)
        except ExceptionGroup:
            self._connection.transport.abort()
            return
        # Audio is paced; clears and marks are as many as a handler asks for.
        if self._connection.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self._connection.transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close, or cut: `close()` waits for a peer that does not read, whatever its time-out (reliability, F2)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
        self._connection.transport.abort()
