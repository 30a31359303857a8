"""The listener: the one `websockets.serve` loop.

With `connection`, `doorway` and `answers`, the only modules of the server that know the library. Decides on each request before the upgrade, and hands those that are admitted to their actor.
"""

import asyncio
import http
import logging
import socket
import ssl
import weakref
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from smartflo_bridge.calls.peer import Peer
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.config import Config
from smartflo_bridge.log import line
from smartflo_bridge.server.access import Access, Verdict
from smartflo_bridge.server.admission import Admission
from smartflo_bridge.server.answers import METHOD_NOT_ALLOWED, TRY_AGAIN, answer, make_headers
from smartflo_bridge.server.connection import CLOSE_SECONDS, MAX_MESSAGE_BYTES, GuardedConnection, WebSocketPeer
from smartflo_bridge.server.doorway import Doorway
from smartflo_bridge.server.resolver import Resolver
from smartflo_bridge.server.sockets import BACKLOG, somebody_waits
from smartflo_bridge.server.status import HEALTH_PATH, Status
from smartflo_bridge.server.tokens import CallToken

WRITE_LIMIT_BYTES = 16 * 1024
"""About 1.3 s of 100 ms messages; reliability, section 8: `write_limit`."""

QUEUE_SECONDS = 1.0
"""How long a port that is to be shut takes what waits at it: it is a turn of the loop, unless somebody floods it."""

TLS_SECONDS = 1.0
"""How long a TLS handshake may take once the port is shut: the library sees nothing of it before it is done."""

MAX_STRANGERS = 64
"""Connections without a valid token that are let in at once, to be told a close code; more are answered 401 instead."""

ABORT_SECONDS = 1.0
"""How long aborted connections may take to be gone: it is one turn of the loop, and the handlers' last words."""

_log = logging.getLogger(__name__)


class Run(Protocol):
    """Serves one connection until nothing is left of it."""

    def __call__(self, peer: Peer, *, bound_to: str | None) -> Awaitable[object]:
        """Serve what is at the far end; `bound_to` is the only call that it may be, None any."""
        ...


class Gate:
    """Decides on a request before its connection becomes a WebSocket.

    Args:
        access: to the stream: who may come in.
        admission: how many may.
        status: of the daemon.
        resolver: the dynamic endpoint, if there is one.
        refuses_after_upgrade: whether one without a valid token gets a close code instead of an HTTP status.
    """

    def __init__(
        self,
        access: Access,
        admission: Admission,
        status: Status,
        resolver: Resolver | None = None,
        *,
        refuses_after_upgrade: bool,
    ) -> None:
        self._access = access
        self.admission = admission
        self._status = status
        self._resolver = resolver
        self._refuses_after_upgrade = refuses_after_upgrade
        self._strangers = weakref.WeakSet[GuardedConnection]()  # let in to be told their close code, and not gone yet

    def judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return an HTTP answer to a request, or None to go on with the upgrade. Nothing is used up yet."""
        if request.method != "GET":
            return METHOD_NOT_ALLOWED
        if request.path.partition("?")[0] == HEALTH_PATH:
            return Response(200, "OK", make_headers("application/json", body := self._status.report()), body)
        verdict = self._access.judge(request.path)
        refusal = self._refusal(verdict)
        assert isinstance(connection, GuardedConnection)
        if verdict is Verdict.UNAUTHORISED:
            connection.is_refused = refusal is None
            self._tell_refusal(connection, "token")
        elif refusal is None and not self.admission.admits_call(asyncio.get_running_loop().time()):
            refusal = TRY_AGAIN
            self._tell_refusal(connection, "too many")
        connection.token = verdict if isinstance(verdict, CallToken) else None
        return refusal

    def welcome(self, connection: ServerConnection, request: Request, response: Response) -> Response | None:  # noqa: ARG002 - the library's
        """Use a token up, and count the connection, now that nothing else is wrong with it; return a refusal in its place.

        The library has looked at the request in between. One that is no upgrade can come again with its token.
        """
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS or not isinstance(connection, GuardedConnection):
            return None
        if connection.token is not None:
            verdict = self._access.use(connection.token)
            refusal = self._refusal(verdict)
            if verdict is not Verdict.ADMITTED:
                self._tell_refusal(
                    connection, "token" if verdict is Verdict.UNAUTHORISED else "nobody knows if it was used"
                )
            if refusal is not None:
                return refusal
            connection.is_refused = verdict is not Verdict.ADMITTED
        if not connection.is_refused:
            connection.admit()
            return None
        self._strangers.add(connection)
        return None

    def _tell_refusal(self, connection: GuardedConnection, why: str) -> None:
        forwarded = connection.request.headers.get_all("X-Forwarded-For") if connection.request else []
        _log.debug(line("stream refused", client=self.admission.client_of(connection.address, forwarded), why=why))

    def open_doorway(self) -> Doorway:
        """Return where a new connection comes in."""
        return Doorway(self._resolver)

    def _refusal(self, verdict: Verdict | CallToken) -> Response | None:
        match verdict:
            case Verdict.NOT_FOUND:
                return answer(http.HTTPStatus.NOT_FOUND)
            case Verdict.UNAUTHORISED if not self._refuses_after_upgrade or len(self._strangers) >= MAX_STRANGERS:
                return answer(http.HTTPStatus.UNAUTHORIZED)
            case Verdict.UNKNOWN:
                return TRY_AGAIN
            case _:
                return None


class Listener:
    """The open call port, and the ways to shut it."""

    def __init__(
        self, sock: socket.socket, server: Server, answering: set[asyncio.Task[None] | None], *, serves_tls: bool
    ) -> None:
        self._sock = sock
        self._server = server
        self._answering = answering
        self._tls_seconds = TLS_SECONDS if serves_tls else 0.0
        self._shut_at = 0.0
        self._is_over = False
        # The library gives 503 to who is in a handshake when its port is shut: they were let in, and are to be served.
        server.is_serving = lambda: not self._is_over  # type: ignore[method-assign]

    async def shut_port(self) -> None:
        """Take no new connections. Who is connected goes on, in the handshake too.

        The kernel resets whoever waits at a port when it is closed, so all of them are taken first.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + QUEUE_SECONDS
        while somebody_waits(self._sock) and loop.time() < give_up_at:  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(0)
        self._server.server.close()
        self._shut_at = loop.time()

    @property
    def is_greeting(self) -> bool:
        """True while there are connections that are no call yet. They last at most `open-seconds`."""
        has_tls_time = asyncio.get_running_loop().time() < self._shut_at + self._tls_seconds
        return has_tls_time or len(self._server.handler_tasks) > len(self._answering)

    def refuse_handshakes(self) -> None:
        """Give 503 to who is in the handshake still.

        The library's second `close()` does nothing (reliability, F7): cutting what is left is `abort`'s business.
        """
        self._is_over = True
        self._server.close(close_connections=False)

    async def abort(self) -> None:
        """Cut all that is left."""
        for connection in list(self._server.all_connections):
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
    sock: socket.socket,
    gate: Gate,
    config: Config,
    registry: Registry,
    run: Run,
    *,
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """Serve calls on a listening socket; `run` is given each connection that was admitted."""

    async def serve_call(connection: ServerConnection) -> None:
        assert isinstance(connection, GuardedConnection)
        peer = WebSocketPeer(connection)
        if connection.is_refused:
            connection.ignore()
            await peer.close(1008, "no valid token")
            return
        task = asyncio.current_task()
        answering.add(task)
        try:
            await run(peer, bound_to=connection.token.call_id if connection.token else None)
        finally:
            answering.discard(task)

    answering: set[asyncio.Task[None] | None] = set()
    guarded: Any = partial(
        GuardedConnection,
        registry=registry,
        admission=gate.admission,
        open_doorway=gate.open_doorway,
        write_deadline_seconds=config.write_deadline_seconds,
        ping_seconds=config.ping_seconds,
        fast_frames=config.fast_frames,
    )
    server = await serve(
        serve_call,
        sock=sock,
        ssl=tls,  # whose handshake has as long as the WebSocket's
        backlog=BACKLOG,
        process_request=gate.judge,
        process_response=gate.welcome,
        create_connection=guarded,
        origins=[None],  # no browser calls us: it always sends an Origin (reliability, F14)
        compression=None,  # base64 of mu-law hardly compresses, and each connection would cost three times the memory
        server_header=None,
        open_timeout=config.open_seconds,
        ping_interval=None,  # the connection's own business: whether the platform answers pings is unknown
        close_timeout=CLOSE_SECONDS,
        max_size=MAX_MESSAGE_BYTES,
        write_limit=WRITE_LIMIT_BYTES,
    )
    return Listener(sock, server, answering, serves_tls=tls is not None)
