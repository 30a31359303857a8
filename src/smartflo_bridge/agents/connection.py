"""The WebSocket of a leg: dialled, guarded against a service that does not read or is not there, and read by the leg.

`wire` has the fast path and the guards that a caller's connection has too. The library's exceptions end here.
"""

import asyncio
import socket
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.protocol import State

from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.far_end import Closed, DialError, failure, refusal
from smartflo_bridge.agents.message import Message
from smartflo_bridge.agents.tls import client_tls
from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.version import __version__
from smartflo_bridge.wire.connection import WireConnection, forget_frames
from smartflo_bridge.wire.frames import WHOLE_BINARY, WHOLE_TEXT, masked_frame
from smartflo_bridge.wire.sockets import bound

MAX_MESSAGE_BYTES = 1 << 20
"""Of one message of the service: 16 s of PCM16 at 24 kHz as base64. Reliability, section 3."""

FULL_MESSAGES = 16
FULL_BYTES = 1 << 20
"""So many, or so much, may wait for the leg before the service is not read any more: with one message too many, 2 MiB."""

FULL_PAUSE_SECONDS = 0.005
"""Before more is taken from one that says so much: 3,200 messages a second are more than any speech, and leave others their turn."""

WRITE_LIMIT_BYTES = 16 * 1024
"""Above it, sending waits: a second of base64 mu-law. Little, so that speech is dropped here while it is old, not there."""

SEND_BUFFER_BYTES = 32 * 1024
"""Of the kernel's, for the same reason; reliability, F6."""

RECEIVE_BUFFER_BYTES = 128 * 1024
"""Of the kernel's, which doubles it and would let it grow to 6 MiB: ten minutes of mu-law that nobody holds back. It is
still enough for a service 200 ms away that sends a megabyte in a second."""

WRITE_DEADLINE_SECONDS = 5.0
PING_SECONDS = 5.0
PONG_SECONDS = 8.0
"""With TCP's own time-out (`wire.sockets`) three controls, because each alone fails: reliability, section 7. Who is gone is
noticed within 13 s: by a ping, within the time between two and the time for anything at all that it says."""

CLOSE_SECONDS = 0.8
"""How long the service may take to answer our close: within a second of the call, its leg is gone."""

_SHAKEN = Response(101, "", Headers())
"""In the place of a response that has been read: nobody asks for it again, and its headers take 1.5 kB."""


class LegConnection(WireConnection, ClientConnection):
    """A service's messages, waiting for the leg; and pings, so that one that is gone is noticed.

    The library's pings count the pong alone, which may be behind all the speech that a leg does not read yet.
    """

    __slots__ = ("_closed", "_is_deaf", "_is_ignored", "_messages", "_pinged_at", "_reader", "_timer", "_waiting_bytes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(
            *args, max_message_bytes=MAX_MESSAGE_BYTES, write_deadline_seconds=WRITE_DEADLINE_SECONDS, **kwargs
        )
        self._messages: list[tuple[bytes, bool]] = []  # and whether it is text; a deque takes 760 bytes
        self._waiting_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._closed: Closed | None = None
        self._is_deaf = False  # too much waits: nothing is read
        self._is_ignored = False
        self._pinged_at: float | None = None  # and nothing has come since
        self._timer: Patience | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the kernel keep little, and give up early."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            bound(sock, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        super().connection_made(transport)

    def begin(self) -> None:
        """Forget the handshake, which is over, and begin to ask whether the service is there."""
        self.request, self.response = None, _SHAKEN
        self._ping_later(PING_SECONDS)

    # --- In

    def data_received(self, data: bytes) -> None:
        """Take what has come, the response first."""
        if self.protocol.state is State.CONNECTING:
            if self.request is None:  # it speaks before it is asked, which fails an assertion of the library
                self.transport.abort()
                return
            data = self.parse_head(data)
            if self.protocol.state is State.CONNECTING:  # a refusal, whose body the library wants
                self.parse(data)
                return
            self.begin_frames()
        self._pinged_at = None
        self.frames.feed(data)

    def accept_text(self, message: bytes) -> bool:
        """Keep a text for the leg; return False, and stop reading, where too many messages wait."""
        return self._accept(message, is_text=True)

    def accept_binary(self, message: bytes) -> bool:
        """Keep a binary message in the same way."""
        return self._accept(message, is_text=False)

    def _accept(self, message: bytes, *, is_text: bool) -> bool:
        if self._is_ignored:
            return True
        self._messages.append((message, is_text))
        self._waiting_bytes += len(message)
        self._wake()
        if len(self._messages) < FULL_MESSAGES and self._waiting_bytes < FULL_BYTES:
            return True
        self._is_deaf = True
        self.transport.pause_reading()
        return False

    async def next_message(self) -> Message | Closed:
        """Return the next message, or that there will be no more."""
        while True:
            if self._is_deaf and not self._messages:
                self._hear_again()
                await asyncio.sleep(FULL_PAUSE_SECONDS)
            while not self._messages:
                if self._closed is not None:
                    return self._closed
                self._reader = self.loop.create_future()
                await self._reader
            message, is_text = self._messages.pop(0)
            self._waiting_bytes -= len(message)
            try:
                return message.decode() if is_text else message
            except UnicodeDecodeError:
                self.ignore()
                if self.protocol.state is State.OPEN:
                    self.fail(CloseCode.INVALID_DATA, "text that is no UTF-8")

    def ignore(self) -> None:
        """Keep no messages: nobody will ask for them. The library goes on with pongs and the close."""
        self._is_ignored = True
        self._messages.clear()
        self._waiting_bytes = 0
        self.frames.leave()
        if self._is_deaf:
            self._hear_again()

    def _hear_again(self) -> None:
        self._is_deaf = False
        if self._closed is None and not self.transport.is_closing():
            self.transport.resume_reading()
            self.frames.feed()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():  # it may have been cancelled
            reader.set_result(None)

    # --- Pings

    def _ping_later(self, seconds: float) -> None:
        self._timer = Patience(seconds, self._ping)

    def _ping(self) -> None:
        """Ask whether the service is there; cut one that has said nothing since it was asked."""
        now = self.loop.time()
        if self._is_deaf:  # it may have said anything
            self._pinged_at = None
        if self._pinged_at is not None:
            left_seconds = self._pinged_at + PONG_SECONDS - now
            if left_seconds <= 0:
                self.transport.abort()
            else:
                self._ping_later(min(left_seconds, PING_SECONDS))
        elif self.protocol.state is State.OPEN:
            self._pinged_at = now
            self.protocol.send_ping(b"")
            self.send_data()
            self._ping_later(PING_SECONDS)

    # --- The end

    def connection_lost(self, exc: Exception | None) -> None:
        """Say why there will be no more."""
        super().connection_lost(exc)
        close = self.protocol.close_rcvd or self.protocol.close_sent
        self._closed = Closed(close.code, close.reason) if close is not None else Closed()
        if self._timer is not None:
            self._timer.cancel()
        self._wake()


class _Dial(connect):
    """The library's `connect`, which follows no redirect: whoever answers for a service is not to choose another."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketConnection:
    """A WebSocket as a leg sees it: see `far_end.Connection`."""

    def __init__(self, connection: LegConnection) -> None:
        self._connection = connection
        self.recv = connection.next_message

    async def send(self, *messages: Message) -> bool:
        """Send messages past the library, whose context and write for each cost more than all else that happens to them."""
        connection = self._connection
        if connection.protocol.state is not State.OPEN:
            return False
        connection.transport.write(b"".join(map(client_frame, messages)))
        try:
            await connection.drain()
        except OSError:  # it died while we waited
            return False
        return True

    async def close(self) -> None:
        """Close, or cut; what still comes is not kept."""
        self._connection.ignore()
        await self._connection.part()


def client_frame(message: Message) -> bytes:
    """Return the frame of a message of ours."""
    if isinstance(message, str):
        return masked_frame(WHOLE_TEXT, message.encode())
    return masked_frame(WHOLE_BINARY, message)


async def dial(endpoint: Endpoint, timeout_seconds: float, *, fast_frames: bool = True) -> WebSocketConnection:
    """Connect to a service.

    Args:
        endpoint: where it is.
        timeout_seconds: how long it may take until it has taken us in.
        fast_frames: False to have the library parse all frames of the service.

    Raises:
        DialError: it cannot be reached, or does not want us.
    """
    keys: dict[str, Any] = {"ssl": client_tls()} if endpoint.url.startswith("wss:") else {}
    made: list[LegConnection] = []

    def make(*args: Any, **kwargs: Any) -> LegConnection:  # noqa: ANN401 - the library's
        made.append(LegConnection(*args, fast_frames=fast_frames, **kwargs))
        return made[-1]

    try:
        connection = await _Dial(
            endpoint.url,
            additional_headers=endpoint.headers,
            subprotocols=list(endpoint.subprotocols) or None,  # type: ignore[arg-type]  # a NewType of str
            user_agent_header=f"smartflo-bridge/{__version__}",
            compression=None,
            proxy=None,  # reliability, F13
            open_timeout=timeout_seconds,
            ping_interval=None,  # the connection's own business
            close_timeout=CLOSE_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            write_limit=WRITE_LIMIT_BYTES,
            create_connection=make,  # type: ignore[arg-type]  # it makes one
            **keys,
        )
    except (ConnectionClosed, InvalidStatus, InvalidHandshake, InvalidURI, TimeoutError, OSError, ValueError) as error:
        forget_frames(error)
        raise _failure(error) from None
    finally:
        for one in made:
            if getattr(one, "transport", None) is None:  # never connected, so it will not hear that it is lost
                one.protocol.parser.close()
    assert isinstance(connection, LegConnection)
    connection.begin()
    return WebSocketConnection(connection)


def _failure(error: Exception) -> DialError:
    """Say what kept us from the service, in words that quote nothing of it."""
    match error:
        case InvalidStatus(response=response):
            return refusal(response.status_code, response.headers.get("Retry-After", ""))
        case ConnectionClosed():  # before it could be asked
            return DialError("it took the connection, and dropped it", may_retry=True)
        case InvalidHandshake():
            return DialError("it is no WebSocket server", may_retry=True)
        case _:
            return failure(error)
