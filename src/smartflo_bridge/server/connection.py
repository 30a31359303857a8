"""One connection of a caller: guarded against a peer that does not read, and adapted to what the actor sees.

The library's exceptions end here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import Event

from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.admission import Admission, Place
from smartflo_bridge.server.doorway import Doorway

HARD_WRITE_BYTES = 256 * 1024
"""What the library may have to write, pongs included, before the connection is cut; reliability, F3."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer our close; reliability, section 8: `close_timeout`."""

PROTOCOL_CLOSE_CODES = (1002, 1003, 1007, 1009)
"""RFC 6455, 7.4.1: with these the library ends a connection over which came what must not come."""

MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has at most 125 bytes, two of them for the code."""


class GuardedConnection(ServerConnection):
    """A connection that a peer cannot hold open by not reading.

    The library's keepalive does not notice a dead peer while we send (reliability, F1), and its pongs are written
    without flow control (F3).

    Attributes:
        address: of its other end; None over a Unix socket.
        is_refused: whether it is only let in to be told that it has no valid token.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the library's
        registry: Registry,
        admission: Admission,
        open_doorway: Callable[[], Doorway],
        write_deadline_seconds: float,
        **kwargs: Any,  # noqa: ANN401 - the library's
    ) -> None:
        super().__init__(*args, **kwargs)
        self._doorway = open_doorway()
        self._registry = registry
        self._admission = admission
        self._place: Place | None = None
        self.address: str | None = None
        self._write_deadline_seconds = write_deadline_seconds
        self._cut: asyncio.TimerHandle | None = None
        self._is_admitted = False
        self._is_lost = False
        self.is_refused = False

    def admit(self) -> None:
        """Count this connection among those served, until it is gone; it may be gone before it is answered."""
        if self._is_lost:
            return
        self._is_admitted = True
        self._registry.connections += 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place for the handshake; where there is none, the connection is cut before it has said anything."""
        with suppress(OSError, ValueError):  # gone already
            address = transport.get_extra_info("peername")
            self.address = address[0] if isinstance(address, tuple) else None
        self._place = self._admission.enter(self.address, self.loop.time())
        super().connection_made(transport)
        if self._place is None:
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Give the handshake's place back with the first event, which is the request."""
        if self.request is None and self._place is not None:
            self._place.leave()
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Let in what is for the library, and cut a peer for which too much is waiting to be written."""
        if self.request is None:
            data = self._doorway.pass_through(data, self.transport)
            if not data:
                return
        super().data_received(data)
        if self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Give a peer that does not read its time, then cut it."""
        super().pause_writing()
        self._cut = self.loop.call_later(self._write_deadline_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Let a peer live that reads again."""
        self._stop_clock()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free."""
        self._stop_clock()
        self._is_lost = True
        if self._place is not None:
            self._place.leave()
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
