"""An echo over the call port: its real listener, connection and fast path, and no call behind them.

What is different from the daemon, and why: messages of 16 MiB in fragments of 64 bytes are among the cases, so the limits of
size, fragments and written bytes are lifted; the bridge only writes text and takes a binary message for a text one, so
the connection remembers here which of them it was; and whether a text is UTF-8 is the business of whoever reads it, in the
bridge the event decoder, so this reader says 1007 where it is not.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from websockets.asyncio.server import broadcast
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event

from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.peer import Peer
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.config import Config
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server import connection, listener
from smartflo_bridge.server.connection import GuardedConnection, WebSocketPeer
from smartflo_bridge.server.entrance import open_entrance
from smartflo_bridge.server.listener import open_listener
from smartflo_bridge.server.sockets import listening_socket
from smartflo_bridge.wire import connection as wire

LONGEST_BYTES = 16 << 20
"""The longest message of the cases, 9.1.6."""

SHORTEST_FRAGMENT_BYTES = 64
"""Of a message of 4 MiB, in 9.3.1."""

ROOM_BYTES = 2 * LONGEST_BYTES
"""What may have to be written: an echo of the longest."""


class EchoConnection(GuardedConnection):
    """Counts which road each message came, and knows the binary ones."""

    roads: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.opcodes: deque[Opcode] = deque()  # of the messages in the inbox
        self._is_parsing = False  # the library is

    def process_event(self, event: Event) -> None:
        self.roads["library"] += isinstance(event, Frame) and event.opcode in DATA_OPCODES
        self._is_parsing = True
        super().process_event(event)
        self._is_parsing = False

    def accept_text(self, message: bytes) -> bool:
        self._note(Opcode.TEXT)
        return super().accept_text(message)

    def accept_binary(self, message: bytes) -> bool:
        self._note(Opcode.BINARY)
        return super().accept_binary(message)

    def _note(self, opcode: Opcode) -> None:
        self.roads["fast"] += not self._is_parsing
        self.opcodes.append(opcode)


async def echo(peer: Peer, *, bound_to: str | None) -> None:
    """Say everything again, until the connection is gone."""
    assert isinstance(peer, WebSocketPeer)
    line = peer.listen.__self__
    assert isinstance(line, EchoConnection)
    inbox = Inbox()
    peer.listen(inbox)
    while True:
        if not inbox.items:
            coming = asyncio.get_running_loop().create_future()
            inbox.wait(partial(coming.set_result, None))
            await coming
        item = inbox.take()
        if isinstance(item, PeerLost):
            return
        assert isinstance(item, bytes)
        if line.opcodes.popleft() is Opcode.BINARY:
            broadcast([line], item)
        elif is_utf8(item):
            peer.send(item)
        else:
            await peer.close(1007, "not UTF-8")
            return


def is_utf8(text: bytes) -> bool:
    """Say what a reader of text has to find out."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def lifted_limits() -> Iterator[Counter[str]]:
    """Serve connections that count, and take what the cases send; yield the count of a fresh start."""
    EchoConnection.roads = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for module in (connection, listener):
            patch.setattr(module, "MAX_MESSAGE_BYTES", LONGEST_BYTES)
        patch.setattr(wire, "HARD_WRITE_BYTES", ROOM_BYTES)
        patch.setattr(wire, "MAX_FRAGMENTS", LONGEST_BYTES // SHORTEST_FRAGMENT_BYTES)
        patch.setattr(listener, "GuardedConnection", EchoConnection)
        yield EchoConnection.roads


@asynccontextmanager
async def echoing(*, fast_frames: bool) -> AsyncIterator[str]:
    """Serve echoes inside the context; yield their URL."""
    config = Config(fast_frames=fast_frames, max_new_calls_per_second=100_000, shed_lag_seconds=60.0)
    registry = Registry(config.max_calls)
    sock = listening_socket("", config.host, 0)
    gate = open_entrance(config, Path(), registry).gate
    opened = await open_listener(sock, gate, config, registry, echo)
    try:
        yield f"ws://{config.host}:{sock.getsockname()[1]}{config.path}"
    finally:
        await opened.shut_port()
        opened.refuse_handshakes()
        await opened.abort()
