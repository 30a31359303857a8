"""The connection of a leg: dialled, guarded against a service that does not read, and adapted to what the leg sees.

The library's exceptions end here. Tests of the leg have a connection in memory instead.
"""

import asyncio
import functools
import os
import secrets
import socket
import ssl
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import apply_mask  # type: ignore[attr-defined] # its C where that is built, else its Python
from websockets.protocol import State

from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.message import Message
from smartflo_bridge.core.errors import AgentError
from smartflo_bridge.version import __version__

MAX_MESSAGE_BYTES = 1 << 20
"""Of one message of the service: 16 s of PCM16 at 24 kHz as base64. Reliability, section 3."""

HARD_WRITE_BYTES = 256 * 1024
"""What may wait to be written, pongs included, before the connection is cut; reliability, F3."""

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
USER_TIMEOUT_SECONDS = 10.0
"""Three controls, because each alone fails: reliability, section 7. A service that is gone is noticed within 15 s: by pings
within the time between two, the time for the answer, and what the library takes to close a connection that is dead."""

CLOSE_SECONDS = 0.8
"""How long the service may take to answer our close: within a second of the call, its leg is gone."""

_WHOLE_TEXT, _WHOLE_BINARY = 0x81, 0x82  # FIN, and the opcode
_MASKED = 0x80
_MAX_SHORT = 125

_RETRIED_STATUS = (408, 425, 429)
_REDIRECTS = range(300, 400)


class Closed(msgspec.Struct, frozen=True):
    """The connection is gone: closed by the service with a code, or (None) dead."""

    code: int | None = None
    reason: str = ""


class Connection(Protocol):
    """What a leg needs of a connection. One task reads, one writes."""

    async def recv(self) -> Message | Closed:
        """Return the next message, or that there will be no more."""
        ...

    async def send(self, *messages: Message) -> bool:
        """Send, in one write, waiting while the service does not read; return False if the connection is gone."""
        ...

    async def close(self) -> None:
        """Close it; return when it is gone, within `CLOSE_SECONDS`."""
        ...


class DialError(AgentError):
    """The service could not be reached. The text quotes no key and no address.

    Attributes:
        may_retry: trying again may help.
        retry_after_seconds: what the service asked for.
    """

    def __init__(self, text: str, *, may_retry: bool = False, retry_after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.may_retry = may_retry
        self.retry_after_seconds = retry_after_seconds


class GuardedConnection(ClientConnection):
    """A connection that a service cannot hold open by not reading: see `server.connection`, which is its other half."""

    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the kernel keep little, and give up early."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(USER_TIMEOUT_SECONDS * 1000))
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Cut a service for which too much is waiting to be written."""
        super().data_received(data)
        if self.transport.get_write_buffer_size() > HARD_WRITE_BYTES:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Give a service that does not read its time, then cut it."""
        super().pause_writing()
        self._cut = self.loop.call_later(WRITE_DEADLINE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Let one live that reads again."""
        self._stop_clock()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None


class _Dial(connect):
    """The library's `connect`, which follows no redirect: whoever answers for a service is not to choose another."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketConnection:
    """A WebSocket as a leg sees it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def recv(self) -> Message | Closed:
        """Return the next message."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                return Closed(closed.rcvd.code, closed.rcvd.reason)
            return Closed(closed.sent.code, closed.sent.reason) if closed.sent is not None else Closed()

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
        """Close, or cut: `close()` waits for a service that does not read, whatever its time-out (reliability, F2)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close()
        self._connection.transport.abort()


def client_frame(message: Message) -> bytes:
    """Return a client's frame with a whole message: masked, with a key that nobody can foresee. RFC 6455, 5.2 and 5.3."""
    data, first = (message.encode(), _WHOLE_TEXT) if isinstance(message, str) else (message, _WHOLE_BINARY)
    size = len(data)
    if size <= _MAX_SHORT:
        head = bytes((first, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((first, _MASKED | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, _MASKED | 127)) + size.to_bytes(8)
    key = secrets.token_bytes(4)
    return head + key + apply_mask(data, key)


async def dial(endpoint: Endpoint, timeout_seconds: float) -> Connection:
    """Connect to a service.

    Raises:
        DialError: it cannot be reached, or does not want us.
    """
    keys: dict[str, Any] = {"ssl": client_tls()} if endpoint.url.startswith("wss:") else {}
    try:
        return WebSocketConnection(
            await _Dial(
                endpoint.url,
                additional_headers=endpoint.headers,
                subprotocols=list(endpoint.subprotocols) or None,  # type: ignore[arg-type]  # a NewType of str
                user_agent_header=f"smartflo-bridge/{__version__}",
                compression=None,
                proxy=None,  # reliability, F13
                open_timeout=timeout_seconds,
                ping_interval=PING_SECONDS,
                ping_timeout=PONG_SECONDS,
                close_timeout=CLOSE_SECONDS,
                max_size=MAX_MESSAGE_BYTES,
                write_limit=WRITE_LIMIT_BYTES,
                create_connection=GuardedConnection,
                **keys,
            )
        )
    except (InvalidStatus, InvalidHandshake, InvalidURI, TimeoutError, OSError, ValueError) as error:
        raise failure(error) from None


@functools.cache
def client_tls() -> ssl.SSLContext:
    """Return what checks a service's certificate. Made once: reading the system's authorities takes a loop some 35 ms."""
    return ssl.create_default_context()


def failure(error: Exception) -> DialError:
    """Say what kept us from the service, in words that quote nothing of it."""
    match error:
        case InvalidStatus(response=response):
            return refusal(response.status_code, retry_after_seconds(response.headers.get("Retry-After", "")))
        case ssl.SSLCertVerificationError():
            return DialError(f"its certificate is not valid: {error.verify_message}")
        case ssl.SSLError():
            return DialError("it does not speak TLS")
        case TimeoutError():
            return DialError("it did not answer in time", may_retry=True)
        case socket.gaierror():
            return DialError("its name was not found", may_retry=True)
        case OSError():
            # asyncio's own text has the address in it.
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            return DialError(f"it cannot be reached: {reason}", may_retry=True)
        case InvalidHandshake():
            return DialError("it is no WebSocket server", may_retry=True)
        case _:
            return DialError("its URL cannot be dialled")


def retry_after_seconds(value: str) -> float:
    """Return what a `Retry-After` asks for, in seconds; 0 for a date, which needs a wall clock that both agree on."""
    return float(value) if value.isdecimal() and value.isascii() and len(value) < 6 else 0.0


def refusal(status: int, retry_after_seconds: float = 0.0) -> DialError:
    """Return what an HTTP status means: 4xx will not change by asking again, but for a few."""
    words = {401: ", so the key is not valid", 403: ", so the key is not allowed this", 404: ", so the URL is wrong"}
    note = ", a redirect, which is not followed" if status in _REDIRECTS else words.get(status, "")
    return DialError(
        f"it answered with HTTP status {status}{note}",
        may_retry=status in _RETRIED_STATUS or status >= 500,
        retry_after_seconds=retry_after_seconds,
    )
