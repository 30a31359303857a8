"""A connection of the library's, with the fast path past its parser and with guards; a caller's and a leg's derive from it.

The library does the handshake, pings, closes, limits and fragments; messages that are one frame go past its parser, from
the transport to `accept_text` and `accept_binary` (see `frames`). Its keepalive does not notice a dead peer while we send
(reliability, F1), its pongs are written without flow control (F3), its limit of fragments can be had for the whole process
only (F4), and its close waits for a peer that does not read (F2): the guards are against these.
"""

import asyncio
from contextlib import suppress
from typing import Any

from websockets.asyncio.connection import Connection
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Event, Protocol, State

from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.wire.frames import FrameSplitter

HARD_WRITE_BYTES = 256 * 1024
"""What the library may have to write, pongs included, before the connection is cut; reliability, F3."""

MAX_FRAGMENTS = 256
"""Of one message. Empty ones have no size that would be limited; reliability, F4 and section 8."""

MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has at most 125 bytes, two of them for the code."""

_END_OF_HEAD = b"\r\n\r\n"


def forget_frames(error: BaseException | None) -> None:
    """Forget where an error of the library, and each that it came from, was raised: those frames hold the connection, and it them."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class _NoMessages:
    """In the place of the library's queue of messages, which takes 800 bytes: none come that way."""

    def close(self) -> None:
        """There is nobody to be told."""


_NO_MESSAGES: Any = _NoMessages()


class WireConnection(Connection):
    """A connection that a peer cannot hold open by not reading.

    A subclass feeds `frames` what comes behind the handshake, which it gives to `parse_head`; it takes messages by
    `accept_text` and `accept_binary`, and calls `cut_if_too_much_waits` after what it writes itself.

    Args:
        max_message_bytes: of a message that comes, however it is cut into frames.
        write_deadline_seconds: how long the peer may read nothing.
        fast_frames: False to have the library parse all frames.

    Attributes:
        frames: what comes, behind the handshake; from when the connection is made until it is lost.
    """

    # The library's own attributes are just so many that Python keeps them without a dict. With ours it would make one, of 1.5 kB.
    __slots__ = (
        "_cut",
        "_fast_frames",
        "_fragments",
        "_has_too_many",
        "_head_tail",
        "_is_text",
        "_max_message_bytes",
        "_write_deadline_seconds",
        "frames",
    )

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the library's
        max_message_bytes: int,
        write_deadline_seconds: float,
        fast_frames: bool,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._write_deadline_seconds = write_deadline_seconds
        self._cut: Patience | None = None
        self._head_tail = b""
        self._fragments: list[bytes] = []
        self._is_text = False  # the message that comes in fragments
        self._has_too_many = False
        # The library's deque takes 760 bytes while it is empty, which is nearly always; a list can all that it is asked for.
        self.drain_waiters: Any = []
        self._max_message_bytes = max_message_bytes
        self._fast_frames = fast_frames

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the handshake."""
        super().connection_made(transport)
        self.recv_messages = _NO_MESSAGES
        # Not before: uvloop makes a connection that then is refused, and would leave both to the garbage collector.
        self.frames = FrameSplitter(
            self._max_message_bytes,
            take_text=self.accept_text,
            take_binary=self.accept_binary,
            pass_on=self.parse,
            from_client=self.protocol.side is SERVER,
            is_off=not self._fast_frames,
        )

    # --- In

    def accept_text(self, message: bytes) -> bool:
        """Take a text message, whose UTF-8 nobody has checked; return False to be given no more until `frames` is fed."""
        raise NotImplementedError

    def accept_binary(self, message: bytes) -> bool:
        """Take a binary message; return False to be given no more until `frames` is fed."""
        raise NotImplementedError

    def parse_head(self, data: bytes) -> bytes:
        """Give the library the request or the response; return what is behind: its parser is to rest where frames begin."""
        seen = self._head_tail + data
        end = seen.find(_END_OF_HEAD)
        cut = len(data) if end < 0 else end + len(_END_OF_HEAD) - len(self._head_tail)
        self._head_tail = seen[1 - len(_END_OF_HEAD) :]  # the end may be cut in two
        self.parse(data[:cut])
        return data[cut:]

    def begin_frames(self) -> None:
        """Have frames parsed by a parser of their own: the one that has read the handshake keeps all its headers, 2 kB."""
        if self.protocol.state is State.OPEN and not self.protocol.reader.eof:
            self.protocol.parser = Protocol.parse(self.protocol)
            next(self.protocol.parser)

    def parse(self, data: bytes) -> bool:
        """Let the library parse, and answer; return False once it will take no more messages."""
        if self.protocol.reader.eof or self.transport.is_closing():
            return False
        super().data_received(data)
        self.cut_if_too_much_waits()  # of pongs
        return self.protocol.state is State.OPEN

    def process_event(self, event: Event) -> None:
        """Take a frame from the library: the parts of a message are ours, all else is its own business."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        if self._has_too_many:
            return
        if event.opcode is not Opcode.CONT:
            self._is_text = event.opcode is Opcode.TEXT
        self._fragments.append(bytes(event.data))
        if len(self._fragments) > MAX_FRAGMENTS:
            self._has_too_many = True
            self._fragments.clear()
            self.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        elif event.fin:
            message, self._fragments = b"".join(self._fragments), []
            if self._is_text:
                self.accept_text(message)
            else:
                self.accept_binary(message)

    # --- Out

    def cut_if_too_much_waits(self) -> None:
        """Cut a peer that takes less than is written. Nothing is looked at before the transport says that it is behind."""
        if self._cut is not None and self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Give a peer that does not read its time, then cut it."""
        super().pause_writing()
        self._cut = Patience(self._write_deadline_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Let a peer live that reads again."""
        self._stop_clock()
        super().resume_writing()

    # --- The end

    def fail(self, code: CloseCode, reason: str) -> None:
        """End a connection over which came what must not come."""
        self.protocol.fail(code, reason)
        self.send_data()
        self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock and the frames, and what of the library refers to this connection: its parser and its errors."""
        self._stop_clock()
        super().connection_lost(exc)
        self.frames.close()
        self.protocol.parser.close()  # it waits for more, and holds the protocol that holds it
        forget_frames(self.protocol.handshake_exc)
        forget_frames(self.protocol.parser_exc)

    async def part(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close, or cut: `close()` waits for a peer that does not read, whatever its time-out (reliability, F2)."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.close_timeout):
                    await self.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
        finally:  # who is cancelled here leaves nobody who would do it
            self.transport.abort()

    def _stop_clock(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
