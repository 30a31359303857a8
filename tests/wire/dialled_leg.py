"""A leg's connection without a port: bytes of a service in, messages and bytes out. See `server.dialled_connection`."""

import asyncio
import itertools
from unittest.mock import patch

from websockets.client import ClientProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from server.dialled_connection import MemoryTransport
from smartflo_bridge.agents import connection as module
from smartflo_bridge.agents.connection import LegConnection
from smartflo_bridge.agents.far_end import Closed

MAX_MESSAGE_BYTES = 64 * 1024
"""Less than a service may send, so that messages around the limit are quickly made."""


def response_to(request: bytes) -> bytes:
    """Return a service's answer to a leg's request."""
    key = next(line for line in request.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key: ")).split(": ")[1]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )


class DialledLeg:
    """One connection, and what came of what was fed to it."""

    def __init__(self, *, fast_frames: bool) -> None:
        self.transport = MemoryTransport()
        with patch.object(module, "MAX_MESSAGE_BYTES", MAX_MESSAGE_BYTES):
            self.connection = LegConnection(
                ClientProtocol(parse_uri("ws://service/"), max_size=MAX_MESSAGE_BYTES),
                fast_frames=fast_frames,
                ping_interval=None,
                close_timeout=1.0,
            )
        self.connection.connection_made(self.transport)

    async def open(self, behind: bytes = b"", cuts: tuple[int, ...] = ()) -> None:
        """Shake hands; the response may be cut, and have more behind it."""
        shaking = asyncio.get_running_loop().create_task(self.connection.handshake())
        await asyncio.sleep(0)
        data = response_to(bytes(self.transport.written)) + behind
        self.transport.written.clear()
        edges = sorted({0, len(data), *(at % len(data) for at in cuts)})
        for start, stop in itertools.pairwise(edges):
            self.connection.data_received(data[start:stop])
        await shaking
        self.connection.begin()

    def feed(self, data: bytes) -> None:
        """Let bytes arrive."""
        if not self.transport.has_ended:
            self.connection.data_received(data)

    def taken(self) -> list[object]:
        """Take all that has come, as the leg does, and why there is no more. No time passes."""
        with patch.object(module, "FULL_PAUSE_SECONDS", 0):
            return self._taken()

    def _taken(self) -> list[object]:
        items: list[object] = []
        while not items or not isinstance(items[-1], Closed):
            asked = self.connection.next_message()
            try:
                while asked.send(None) is None:  # it lets others have their turn
                    pass
            except StopIteration as done:
                items.append(done.value)
            else:  # it waits
                asked.close()
                break
        return items

    def outcome(self) -> tuple[list[object], bytes, Closed]:
        """Lose the connection; return the messages, the bytes that were answered, and why it ended."""
        messages = self.taken()
        self.connection.eof_received()
        self.connection.connection_lost(None)
        *more, farewell = self.taken()
        assert isinstance(farewell, Closed)
        return messages + more, bytes(self.transport.written), farewell
