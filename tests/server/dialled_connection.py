"""A connection of the call port without a port: bytes in, messages and bytes out.

Unrealistic: the transport takes everything at once and its buffer is always empty; what is written after its end is lost,
as on a real one.
"""

import asyncio
from typing import Any

from websockets.server import ServerProtocol

from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.admission import Admission
from smartflo_bridge.server.connection import MAX_MESSAGE_BYTES, GuardedConnection
from smartflo_bridge.server.doorway import Doorway
from smartflo_bridge.server.loop_lag import LoopLag
from smartflo_bridge.server.proxies import TrustedProxies

REQUEST = (
    b"GET /vendor-stream HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class MemoryTransport(asyncio.Transport):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.is_reading = True
        self.has_ended = False

    def write(self, data: Any) -> None:
        if not self.has_ended:
            self.written += data
            self.writes += 1

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.has_ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.has_ended


class _Server:
    """What a connection asks of its server."""

    def __init__(self) -> None:
        self.handler_tasks: set[asyncio.Task[None]] = set()

    async def handler(self, connection: GuardedConnection) -> None:
        """Do nothing: the test shakes hands."""

    def is_serving(self) -> bool:
        return True


class DialledConnection:
    """One connection, and what came of what was fed to it."""

    def __init__(self, *, fast_frames: bool) -> None:
        self.transport = MemoryTransport()
        self.inbox = Inbox()
        registry = Registry(1)
        self.connection = GuardedConnection(
            ServerProtocol(max_size=MAX_MESSAGE_BYTES),
            _Server(),
            registry=registry,
            admission=Admission(registry, LoopLag(), TrustedProxies([]), max_new_calls_per_second=1, shed_seconds=1.0),
            open_doorway=lambda: Doorway(None),
            write_deadline_seconds=1.0,
            ping_seconds=20.0,
            fast_frames=fast_frames,
            ping_interval=None,
        )
        self.connection.connection_made(self.transport)

    async def shake_hands(self, *pieces: bytes) -> None:
        """Let the request come, in pieces, and answer it."""
        for piece in pieces or (REQUEST,):
            self.connection.data_received(piece)
        await self.connection.handshake(server_header=None)
        self.transport.written.clear()

    async def open(self, *pieces: bytes) -> None:
        """Shake hands, the request in pieces, and listen."""
        await self.shake_hands(*pieces)
        self.connection.listen(self.inbox)

    def feed(self, data: bytes) -> None:
        """Let bytes arrive, if the connection reads."""
        if not self.transport.has_ended:
            self.connection.data_received(data)

    def lose(self) -> None:
        """Let the connection be gone."""
        self.connection.eof_received()
        self.connection.connection_lost(None)

    def taken(self) -> list[object]:
        """Take all that has come, reading on whenever there is room again."""
        items: list[object] = []
        while True:
            item = self.inbox.take()
            if item is not None:
                items.append(item)
                continue
            self.inbox.wait(lambda: None)
            if not self.inbox.items:
                return items

    def outcome(self) -> tuple[list[object], bytes, PeerLost | None]:
        """Lose the connection; return the messages, the bytes that were answered, and why it ended."""
        messages = self.taken()
        self.lose()
        *more, farewell = self.taken()
        assert isinstance(farewell, PeerLost)
        return messages + more, bytes(self.transport.written), farewell
