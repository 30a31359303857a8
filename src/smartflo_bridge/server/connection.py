"""One connection of a caller: its fast path, its guards, and what the actor sees of it.

The library does the handshake, pings, closes, limits and fragments; whole text messages go past its parser, straight from
the transport into the call's inbox, and back (`frames`). Its exceptions end here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import Event, State

from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.admission import Admission, Place
from smartflo_bridge.server.doorway import Doorway
from smartflo_bridge.server.frames import FrameSplitter, text_frame
from smartflo_bridge.server.pings import Pings

MAX_MESSAGE_BYTES = 64 * 1024
"""A media message has 1.2 kB; reliability, section 8: `max_size`."""

MAX_FRAGMENTS = 256
"""Reliability, section 8: `WEBSOCKETS_MAX_FRAGMENTS`, which the library applies only to messages that it puts together."""

HARD_WRITE_BYTES = 256 * 1024
"""What the library may have to write, pongs included, before the connection is cut; reliability, F3."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer our close; reliability, section 8: `close_timeout`."""

PROTOCOL_CLOSE_CODES = (1002, 1003, 1007, 1009)
"""RFC 6455, 7.4.1: with these the library ends a connection over which came what must not come."""

MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has at most 125 bytes, two of them for the code."""


_END_OF_REQUEST = b"\r\n\r\n"


class GuardedConnection(ServerConnection):
    """A connection that takes the fast path, and that a peer cannot hold open by not reading.

    The library's keepalive does not notice a dead peer while we send (reliability, F1), and its pongs are written
    without flow control (F3).

    Args:
        registry: counts those that are served.
        write_deadline_seconds: how long the peer may read nothing.
        fast_frames: False to have the library parse and write all frames.

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
        ping_seconds: float,
        fast_frames: bool,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._doorway: Doorway | None = open_doorway()  # until the request has been let in
        self._registry = registry
        self._admission = admission
        self._place: Place | None = None
        self.address: str | None = None
        self._write_deadline_seconds = write_deadline_seconds
        self._pings = Pings(ping_seconds, lambda: self.transport.abort())  # noqa: PLW0108 - it is not there yet
        self._cut: Patience | None = None
        self._is_admitted = False
        self._is_lost = False
        self._is_fast = fast_frames
        self._frames = FrameSplitter(MAX_MESSAGE_BYTES, self._accept, self._parse, is_off=not fast_frames)
        self._request_tail = b""
        self._inbox: Inbox | None = None
        self._fragments: list[bytes] = []
        self._has_too_many = False
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

    # --- In

    def listen(self, inbox: Inbox) -> None:
        """Put what has come and what will come into the inbox: messages, and at last why there are no more."""
        self._inbox, self._doorway = inbox, None
        if self._is_lost:
            inbox.put(self._farewell)
        else:
            self._frames.feed()

    def ignore(self) -> None:
        """Take no messages: nobody will listen. The library goes on with its pings and the close."""
        self._frames.leave()

    def data_received(self, data: bytes) -> None:
        """Take what has come; cut a peer for which too much is waiting, to be written or to be taken."""
        if self._inbox is not None or self.is_refused:
            self._frames.feed(data)
        elif self.protocol.state is State.CONNECTING:
            self._parse_request(data)
        else:
            self._hold(data)
        self._pings.hear()
        if self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def _hold(self, data: bytes) -> None:
        """Keep what comes before anybody listens; a client has no business to say much so early."""
        self._frames.hold(data)
        if self._frames.held_bytes > MAX_MESSAGE_BYTES:
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
        seen = self._request_tail + data
        end = seen.find(_END_OF_REQUEST)
        cut = len(data) if end < 0 else end + len(_END_OF_REQUEST) - len(self._request_tail)
        self._request_tail = seen[1 - len(_END_OF_REQUEST) :]  # the end may be cut in two
        self._parse(data[:cut])
        if data[cut:]:
            self._hold(data[cut:])

    def _parse(self, data: bytes) -> bool:
        """Let the library parse, and answer; return False once it will take no more messages."""
        if self.protocol.reader.eof or self.transport.is_closing():
            return False
        super().data_received(data)
        return self.protocol.state is State.OPEN

    def process_event(self, event: Event) -> None:
        """Take a frame from the library: the parts of a message are ours, all else is its own business."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            if self.request is None and self._place is not None:
                self._place.leave()  # the handshake's: this is the request
            if isinstance(event, Frame) and event.opcode is Opcode.PING and not self._pings.may_ping():
                self.transport.abort()
                return
            super().process_event(event)
            return
        if self._has_too_many:
            return
        self._fragments.append(bytes(event.data))
        if len(self._fragments) > MAX_FRAGMENTS:
            self._refuse_fragments()
        elif event.fin:
            message, self._fragments = b"".join(self._fragments), []
            self._accept(message)

    def _refuse_fragments(self) -> None:
        """End a connection whose message never ends: empty fragments have no size that would be limited (reliability, F4)."""
        self._has_too_many = True
        self._fragments.clear()
        self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self.send_data()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _accept(self, message: bytes) -> bool:
        """Put a message into the inbox; return False, and stop reading, where there is no room for another."""
        if self._inbox is None or self._inbox.accept(message, self._read_on):
            return True
        self.transport.pause_reading()
        return False

    def _read_on(self) -> None:
        if self._is_lost or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self._frames.feed()

    # --- Out

    def write_text(self, text: bytes) -> None:
        """Write a text message, unless the connection is closing; cut one that fails or takes too little."""
        if self.protocol.state is not State.OPEN:
            return
        if self._is_fast:
            self.transport.write(text_frame(text))
        else:
            try:
                broadcast([self], text, text=True, raise_exceptions=True)
            except ExceptionGroup:
                self.transport.abort()
                return
        # Audio is paced; clears and marks are as many as a handler asks for.
        if self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Give a peer that does not read its time, then cut it."""
        super().pause_writing()
        self._cut = Patience(self._write_deadline_seconds, self.transport.abort)

    def acknowledge_pings(self, data: bytes) -> None:
        """Take a pong."""
        if data in self.pending_pings:
            self._pings.take_pong()
        super().acknowledge_pings(data)

    def resume_writing(self) -> None:
        """Let a peer live that reads again."""
        self._stop_clock()
        super().resume_writing()

    # --- The end

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free, and say why there will be no more."""
        self._stop_clock()
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

    def _stop_clock(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class WebSocketPeer:
    """A connection as its actor sees it: see `calls.peer`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._connection = connection
        self.listen = connection.listen
        self.send = connection.write_text

    async def close(self, code: int, reason: str) -> None:
        """Close, or cut: `close()` waits for a peer that does not read, whatever its time-out (reliability, F2)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
        self._connection.transport.abort()
