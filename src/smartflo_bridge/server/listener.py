"""The listener: the one `websockets.serve` loop. The only module that knows the library; its exceptions end here.

Decides on each request before the upgrade, guards each connection, and hands those that are admitted to their actor.
"""

import asyncio
import http
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from smartflo_bridge.calls.peer import Peer
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.config import Config
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.server.access import Access, Verdict
from smartflo_bridge.server.sockets import BACKLOG
from smartflo_bridge.server.status import HEALTH_PATH, Status

MAX_MESSAGE_BYTES = 64 * 1024
"""A media message has 1.2 kB; reliability, section 8: `max_size`."""

WRITE_LIMIT_BYTES = 16 * 1024
"""About 1.3 s of 100 ms messages; reliability, section 8: `write_limit`."""

HARD_WRITE_BYTES = 256 * 1024
"""What the library may have to write, pongs included, before the connection is cut; reliability, F3."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer our close; reliability, section 8: `close_timeout`."""

PROTOCOL_CLOSE_CODES = (1002, 1003, 1007, 1009)
"""RFC 6455, 7.4.1: with these the library ends a connection over which came what must not come."""

ABORT_SECONDS = 1.0
"""How long aborted connections may take to be gone: it is one turn of the loop, and the handlers' last words."""

MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame has at most 125 bytes, two of them for the code."""


def _answer(status: http.HTTPStatus, **more: str) -> Response:
    body = f"{status.value} {status.phrase}\n".encode()
    headers = _headers("text/plain; charset=utf-8", body)
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return Response(status.value, status.phrase, headers, body)


def _headers(content_type: str, body: bytes) -> Headers:
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return headers


_METHOD_NOT_ALLOWED = _answer(http.HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET")

# The library closes on a request with a body without an answer.
_OTHER_METHODS = (b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"HEAD ")


class GuardedConnection(ServerConnection):
    """A connection that a peer cannot hold open by not reading.

    The library's keepalive does not notice a dead peer while we send (reliability, F1), and its pongs are written
    without flow control (F3).
    """

    def __init__(self, *args: Any, registry: Registry, write_deadline_seconds: float, **kwargs: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(*args, **kwargs)
        self._registry = registry
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

    def data_received(self, data: bytes) -> None:
        """Answer what the library would not, and cut a peer for which too much is waiting to be written."""
        if self.request is None and data.startswith(_OTHER_METHODS):
            self.transport.write(_METHOD_NOT_ALLOWED.serialize())
            self.transport.close()
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


class Gate:
    """Decides on a request before its connection becomes a WebSocket."""

    def __init__(self, access: Access, status: Status, *, refuses_after_upgrade: bool) -> None:
        self._access = access
        self._status = status
        self._refuses_after_upgrade = refuses_after_upgrade

    def __call__(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return an HTTP answer, or None to go on with the upgrade."""
        if request.method != "GET":
            return _METHOD_NOT_ALLOWED
        if request.path.partition("?")[0] == HEALTH_PATH:
            return Response(200, "OK", _headers("application/json", body := self._status.report()), body)
        verdict = self._access.judge(request.path)
        if verdict is Verdict.NOT_FOUND:
            return _answer(http.HTTPStatus.NOT_FOUND)
        if verdict is Verdict.UNAUTHORISED and not self._refuses_after_upgrade:
            return _answer(http.HTTPStatus.UNAUTHORIZED)
        if self._status.registry.is_full:
            return _answer(http.HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="1")
        if isinstance(connection, GuardedConnection):
            connection.is_refused = verdict is Verdict.UNAUTHORISED
            connection.admit()
        return None


class Listener:
    """The open call port, and the ways to shut it."""

    def __init__(self, server: Server, answering: set[asyncio.Task[None] | None]) -> None:
        self._server = server
        self._answering = answering

    def stop_accepting(self) -> None:
        """Take no new connections; those in their handshake get 503, those that talk go on.

        The library's second `close()` does nothing (reliability, F7): cutting what is left is `abort`'s business.
        """
        self._connections = self._server.all_connections
        self._server.close(close_connections=False)

    async def abort(self) -> None:
        """Cut all that is left."""
        for connection in list(self._connections):
            connection.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(ABORT_SECONDS):
                await self._server.wait_closed()
        # What still waits for its handler is cancelled now, while logs and captures can take its last words.
        left = {task for task in self._answering if task is not None}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=ABORT_SECONDS)


async def open_listener(
    sock: socket.socket, gate: Gate, config: Config, registry: Registry, run: Callable[[Peer], Awaitable[object]]
) -> Listener:
    """Serve calls on a listening socket; `run` is given the peer of each admitted connection."""

    async def answer(connection: ServerConnection) -> None:
        peer = WebSocketPeer(connection)
        if isinstance(connection, GuardedConnection) and connection.is_refused:
            await peer.close(1008, "no valid token")
            return
        task = asyncio.current_task()
        answering.add(task)
        try:
            await run(peer)
        finally:
            answering.discard(task)

    answering: set[asyncio.Task[None] | None] = set()
    guarded: Any = partial(GuardedConnection, registry=registry, write_deadline_seconds=config.write_deadline_seconds)
    server = await serve(
        answer,
        sock=sock,
        backlog=BACKLOG,
        process_request=gate,
        create_connection=guarded,
        origins=[None],  # no browser calls us: it always sends an Origin (reliability, F14)
        compression=None,  # base64 of mu-law hardly compresses, and each connection would cost three times the memory
        server_header=None,
        open_timeout=config.open_seconds,
        ping_interval=config.ping_seconds,
        ping_timeout=None,  # whether the platform answers pings is unknown: the write deadline and the idle limit judge
        close_timeout=CLOSE_SECONDS,
        max_size=MAX_MESSAGE_BYTES,
        write_limit=WRITE_LIMIT_BYTES,
    )
    return Listener(server, answering)
