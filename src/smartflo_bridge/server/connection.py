"""One connection of a caller: from the request to the last word, and what the actor sees of it.

Messages go straight from the transport into the call's inbox, and back; `wire` has the fast path and the guards. The
library's exceptions end here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.datastructures import Headers
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State

from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.admission import Admission, Place
from smartflo_bridge.server.doorway import Doorway
from smartflo_bridge.server.pings import Pings
from smartflo_bridge.server.tokens import CallToken
from smartflo_bridge.wire.connection import WireConnection
from smartflo_bridge.wire.frames import text_frame

MAX_MESSAGE_BYTES = 64 * 1024
"""A media message has 1.2 kB; reliability, section 8: `max_size`."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer our close; reliability, section 8: `close_timeout`."""

PROTOCOL_CLOSE_CODES = (1002, 1003, 1007, 1009)
"""RFC 6455, 7.4.1: with these the library ends a connection over which came what must not come."""

_ANSWERED = Request("/", Headers())
"""In the place of a request that has been answered: nobody asks for it again, and its headers take 3 kB."""


class GuardedConnection(WireConnection, ServerConnection):
    """A connection that takes its place among the others, and leads to an inbox.

    Args:
        registry: counts those that are served.
        fast_frames: False to have the library parse and write all frames.

    Attributes:
        address: of its other end; None over a Unix socket.
        token: for a single call, with which it came.
        is_refused: whether it is only let in to be told that it has no valid token.
    """

    __slots__ = (
        "_admission",
        "_doorway",
        "_inbox",
        "_is_admitted",
        "_is_lost",
        "_ping_seconds",
        "_pings",
        "_place",
        "_registry",
        "address",
        "is_refused",
        "token",
    )

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the library's
        registry: Registry,
        admission: Admission,
        open_doorway: Callable[[], Doorway],
        ping_seconds: float,
        fast_frames: bool,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, max_message_bytes=MAX_MESSAGE_BYTES, fast_frames=fast_frames, **kwargs)
        self._doorway: Doorway | None = open_doorway()  # until the request has been let in
        self._registry = registry
        self._admission = admission
        self._place: Place | None = None
        self.address: str | None = None
        self.token: CallToken | None = None
        self._ping_seconds = ping_seconds
        self._is_admitted = False
        self._is_lost = False
        self._inbox: Inbox | None = None
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
        # As `frames`, not before: a connection whose TLS fails is never made, and never lost.
        self._pings = Pings(self._ping_seconds, self._ping, self.transport.abort)
        if self._place is None:
            self.transport.abort()

    # --- In

    def listen(self, inbox: Inbox) -> None:
        """Put what has come and what will come into the inbox: messages, and at last why there are no more."""
        self._inbox, self._doorway = inbox, None
        self.request, self.response = _ANSWERED, None
        if self._is_lost:
            inbox.put(self._farewell)
        else:
            self._pings.begin()
            self.begin_frames()
            self.frames.feed()

    def ignore(self) -> None:
        """Take no messages: nobody will listen. The library goes on with its pings and the close."""
        self.frames.leave()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and have the call's actor take it, all that was read at once."""
        if self._inbox is not None:
            self.frames.feed(data)
            self._inbox.flush()
        elif self.is_refused:
            self.frames.feed(data)
        elif self.protocol.state is State.CONNECTING:
            self._parse_request(data)
        else:
            self._hold(data)
        self._pings.hear()

    def _hold(self, data: bytes) -> None:
        """Keep what comes before anybody listens; a client has no business to say much so early."""
        self.frames.hold(data)
        if self.frames.held_bytes > MAX_MESSAGE_BYTES:
            self.transport.abort()

    def _parse_request(self, data: bytes) -> None:
        """Give the library the request and nothing more: its parser is to rest where the first frame begins."""
        if self.request is not None:
            self._hold(data)
            return
        if self._doorway is not None:
            data = self._doorway.pass_through(data, self.transport)
        if not data:
            return
        rest = self.parse_head(data)
        if rest:
            self._hold(rest)

    def process_event(self, event: Event) -> None:
        """Take a frame or the request from the library; cut a peer that does nothing but ping."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            if self.request is None and self._place is not None:
                self._place.leave()  # the handshake's: this is the request
            if isinstance(event, Frame) and event.opcode is Opcode.PING and not self._pings.may_ping():
                self.transport.abort()
                return
        super().process_event(event)

    def accept_text(self, message: bytes) -> bool:
        """Put a message into the inbox; return False, and stop reading, where there is no room for another."""
        if self._inbox is None or self._inbox.accept(message, self._read_on):
            return True
        self.transport.pause_reading()
        return False

    accept_binary = accept_text  # what it is not, its reader says

    def _read_on(self) -> None:
        if self._is_lost or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self.frames.feed()

    # --- Out

    def write_texts(self, *texts: bytes) -> None:
        """Write text messages with one system call, unless the connection is closing; cut one that fails or takes too little."""
        if self.protocol.state is not State.OPEN:
            return
        if not self._fast_frames:
            try:
                for text in texts:
                    broadcast([self], text, text=True, raise_exceptions=True)
            except ExceptionGroup:
                self.transport.abort()
                return
        elif len(texts) == 1:
            self.transport.write(text_frame(texts[0]))
        else:
            self.transport.write(b"".join(map(text_frame, texts)))
        if self._cut is not None:  # audio is paced; clears and marks are as many as a handler asks for
            self.cut_if_too_much_waits()

    def acknowledge_pings(self, data: bytes) -> None:
        """Take a pong."""
        self._pings.take_pong(data)

    def _ping(self, data: bytes) -> None:
        if self.protocol.state is State.OPEN and not self.transport.is_closing():
            self.protocol.send_ping(data)
            self.send_data()

    # --- The end

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free, and say why there will be no more."""
        self._pings.close()
        self._is_lost = True
        if self._place is not None:
            self._place.leave()
        if self._is_admitted:
            self._is_admitted = False
            self._registry.connections -= 1
        super().connection_lost(exc)
        if self._inbox is not None:
            self._inbox.put(self._farewell)

    @property
    def _farewell(self) -> PeerLost:
        """Why the connection is gone: the peer's close, ours where it answered none, or neither."""
        received, sent = self.protocol.close_rcvd, self.protocol.close_sent
        if received is not None:
            return PeerLost(received.code, received.reason)
        if sent is not None:
            return PeerLost(None, sent.reason, broke_protocol=sent.code in PROTOCOL_CLOSE_CODES)
        return PeerLost()


class WebSocketPeer:
    """A connection as its actor sees it: see `calls.peer`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self.listen = connection.listen
        self.send = connection.write_texts
        self.close = connection.part
