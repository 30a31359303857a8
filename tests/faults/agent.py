"""A voice agent with faults, on a real port: what it does is told by the caller's custom parameter `role`.

The daemon reaches it by the raw leg, or in another tongue. Calls with the role `echo` are its well-behaved ones, the neighbours of whatever is
the matter with the others: they are reached before a fault begins that keeps others from being reached.
"""

import asyncio
import base64
import json
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, create_server, socket
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from faults.support import CountedCall, account_of, neighbours, run
from faults.tongues import RawTongue, Tongue
from integration.daemon import WAIT_SECONDS, Daemon, pairs, until
from integration.wire import Platform, dialled, reset
from smartflo_bridge.handlers.ivr import prompt

APOLOGY = prompt("apology")
NEIGHBOURS = 2
NARROW_BYTES = 16 * 1024
"""Of the agent's own buffers, so that one who does not read, or is not read, is soon felt."""

_WHISPERED = bytes(0x71 + byte % 14 + (byte & 0x80) for byte in range(256))
"""Levels near silence: quieter than what the leg judges, so that no random bytes are taken for a wrong format."""


def whisper(seed: str, seconds: float) -> bytes:
    """Return mu-law that is like no other, and that nobody takes for speech or for noise."""
    return random.Random(seed).randbytes(round(seconds * 8000)).translate(_WHISPERED)


class AgentCall:
    """One connection of the daemon's, and what is known of its call.

    Attributes:
        connection: the library's.
        start: what the daemon said first.
        number: how many connections its stream, or its role where that is not told, has had, this one included.
        is_over: the daemon has said `stop`.
        texts: what else it said, as far as it was read.
        heard: the caller's audio, likewise.
    """

    def __init__(self, connection: ServerConnection, start: dict[str, Any], number: int, tongue: Tongue) -> None:
        self.is_over = asyncio.Event()
        self._tongue = tongue
        self.connection = connection
        self.start = start
        self.number = number
        self.texts: list[dict[str, Any]] = []
        self.heard = b""

    async def listen(self) -> None:
        """Read until the connection is closed."""
        async for message in self.connection:
            audio = self._tongue.audio(message)
            if audio is not None:
                self.heard += audio
            elif isinstance(message, str):
                self.texts.append(json.loads(message))
            if self._tongue.is_stop(message):
                self.is_over.set()

    async def speak(self, ulaw: bytes) -> None:
        """Say something in one message."""
        await self.connection.send(self._tongue.speech(ulaw))

    def reset(self) -> None:
        """Let the TCP connection end with a RST."""
        reset(self.connection)

    async def echo(self) -> None:
        """Say back what the caller says."""
        async for message in self.connection:
            audio = self._tongue.audio(message)
            if audio is not None:
                await self.speak(audio)

    async def say(self, kind: str, **members: object) -> None:
        """Say a word of the protocol."""
        await self.connection.send(json.dumps({"type": kind} | members))


Role = Callable[[AgentCall], Awaitable[None]]
TurnAway = Callable[[ServerConnection, Request], Awaitable[Response | None]]


class FaultyAgent:
    """The agent's port.

    Attributes:
        turn_away: answers the request of a new connection, or takes its time; None lets it in.
        asked_at: when each connection asked, by the clock of `time.monotonic`.
        calls: the connections that were let in, echoes apart.
        neighbours: the calls beside the test's own.
    """

    def __init__(
        self, sock: socket, roles: Mapping[str, Role], tls: ssl.SSLContext | None = None, tongue: Tongue | None = None
    ) -> None:
        self.turn_away: TurnAway | None = None
        self.asked_at: list[float] = []
        self.calls: list[AgentCall] = []
        self.neighbours: list[CountedCall] = []
        self._sock = sock
        self._port = sock.getsockname()[1]
        self._servers: list[Server] = []
        self._roles = {"echo": AgentCall.echo, **roles}
        self._tongue = tongue or RawTongue()
        self._tls = tls

    async def accept(self) -> None:
        """Listen; again, after `refuse`."""
        if self._sock.fileno() < 0:
            self._sock = create_server(("127.0.0.1", self._port))
        self._servers.append(
            await serve(
                self._serve,
                sock=self._sock,
                ssl=self._tls,
                process_request=self._ask,
                ping_interval=None,
                max_size=None,
            )
        )

    def refuse(self) -> None:
        """Let the kernel refuse new connections; those that are open stay."""
        self._servers[-1].close(close_connections=False)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultyAgent"]:
        """Serve; leave no connection behind."""
        await self.accept()
        try:
            yield self
        finally:
            for server in self._servers:
                server.close(close_connections=False)
                for connection in server.connections:
                    connection.transport.abort()

    async def _ask(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked_at.append(time.monotonic())
        return None if self.turn_away is None else await self.turn_away(connection, request)

    async def _serve(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while (start := self._tongue.start(await connection.recv())) is None:
                pass
            role = start["custom"]["role"]
            of = start.setdefault("stream", role)
            call = AgentCall(
                connection, start, sum(other.start["stream"] == of for other in self.calls) + 1, self._tongue
            )
            if role != "echo":
                self.calls.append(call)
            await self._roles[role](call)


Main = Callable[[Daemon, FaultyAgent], Coroutine[Any, Any, None]]


def with_faulty_agent(
    folder: Path,
    main: Main,
    roles: Mapping[str, Role] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    tongue: Tongue | None = None,
    count: int = NEIGHBOURS,
    host: str = "127.0.0.1",
    seconds: float = 60.0,
    daemon: Mapping[str, Any] | None = None,
    **agent: object,
) -> None:
    """Run a test beside neighbours of the same agent, against a daemon whose agent it is; its calls leave captures.

    The daemon may say that an agent is away or lost, and nothing else above INFO.
    """
    sock = create_server(("127.0.0.1", 0))
    for option in (SO_RCVBUF, SO_SNDBUF):
        sock.setsockopt(SOL_SOCKET, option, NARROW_BYTES)
    url = f"{'wss' if tls else 'ws'}://{host}:{sock.getsockname()[1]}/"
    tongue = tongue or RawTongue()
    table = {**tongue.keys, "url": url, "parameters": ["role"], **agent}
    expects = ["^agent away ", "^agent lost "]
    with sock, Daemon(folder, agent=table, capture_dir=str(folder), expects=expects, **(daemon or {})) as bridge:

        async def beside_neighbours() -> None:
            faulty = FaultyAgent(sock, roles or {}, tls, tongue)
            async with faulty.serving(), neighbours(bridge, count, whisper) as calls:
                faulty.neighbours = calls
                await main(bridge, faulty)

        run(beside_neighbours(), seconds)


class Told:
    """A call beside the neighbours: what its caller was told, and when.

    Attributes:
        platform: its connection.
        began_at: when it started, by the clock of `time.monotonic`.
        heard: all audio so far.
        heard_at: when each of its messages came, and how many bytes had come by then.
        cleared_at: when each `clear` came, likewise.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.began_at = time.monotonic()
        self.heard = b""
        self.heard_at: list[tuple[float, int]] = []
        self.cleared_at: list[tuple[float, int]] = []

    def first_at(self, audio: bytes) -> float:
        """Return how many seconds after its beginning the call heard the beginning of this; fail if it did not."""
        place = self.heard.index(audio)
        return next(at for at, total in self.heard_at if total > place) - self.began_at

    async def until_heard(self, audio: bytes, seconds: float = WAIT_SECONDS) -> None:
        """Wait until this was heard; fail if it is not."""
        await until(lambda: audio in self.heard, seconds)

    async def listen(self) -> int:
        """Listen until the daemon closes; return its code, 1006 if it said none."""
        while True:
            try:
                message = await self.platform.next()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006
            now = time.monotonic()
            match message["event"]:
                case "media":
                    self.heard += base64.b64decode(message["media"]["payload"], validate=True)
                    self.heard_at.append((now, len(self.heard)))
                case "clear":
                    self.cleared_at.append((now, len(self.heard)))
                case "mark":  # as the platform does, if at once
                    await self.platform.say("mark", mark=message["mark"])


@asynccontextmanager
async def told_call(daemon: Daemon, role: str) -> AsyncIterator[tuple[Told, "asyncio.Future[int]"]]:
    """Call the agent in a role; yield what the caller is told, and the close that ends it."""
    async with dialled(daemon.url) as platform:
        told = Told(platform)
        await platform.start(role=role)
        closed = asyncio.ensure_future(told.listen())
        yield told, closed
        closed.cancel()
        await asyncio.wait([closed])


async def lost_call(daemon: Daemon, folder: Path, role: str = "any", seconds: float = 20.0) -> Told:
    """Call an agent that is lost: fail unless the caller gets one apology and a polite end; return what it was told."""
    async with told_call(daemon, role) as (told, closed):
        async with asyncio.timeout(seconds):
            assert await closed == 1000
    assert told.heard.count(APOLOGY) == 1
    assert told.heard.rstrip(b"\xff").endswith(APOLOGY.rstrip(b"\xff"))
    await check_end(daemon, folder, told, "agent_lost")
    return told


async def check_end(daemon: Daemon, folder: Path, told: Told, termination: str) -> dict[str, str]:
    """Fail unless the call ended so, with a ledger that balances; return what its leg's last line says."""
    sid = told.platform.sid
    end = await asyncio.to_thread(daemon.end_of, sid)
    assert end["termination"] == termination, end
    await asyncio.to_thread(account_of, folder, sid)
    return await leg_of(daemon, sid)


async def leg_of(daemon: Daemon, stream_sid: str) -> dict[str, str]:
    """Return what the last line of a call's leg says."""
    (text,) = await daemon.log.seen(rf" leg ended stream_sid={re.escape(stream_sid)} ")
    return pairs(text)
