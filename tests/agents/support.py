"""A service in memory, and a call that is connected to it: what the tests of the leg share, on a virtual clock.

`Service` stands for any vendor: a coroutine of the test serves each connection, speaking the dialect under test as the
vendor would. It is unrealistic in that messages take no time, and that it reads whenever the bridge writes unless it is
told to be deaf.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from calls.support import Dialled
from smartflo_bridge.agents.dialect import CallFacts, Dialect, Endpoint, HttpRequest, Opening, Tool
from smartflo_bridge.agents.far_end import Closed, DialError
from smartflo_bridge.agents.leg import serve_with
from smartflo_bridge.agents.line import Network
from smartflo_bridge.agents.message import Message
from smartflo_bridge.agents.plan import LegPlan
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.calls.call import Call

FACTS = CallFacts("MZ1", from_number="+911", custom_parameters={"order": "17"})
"""What the agents of these tests are told of their call."""

LOOK_UP = Tool("look_up", "Look up an order.", {"type": "object", "properties": {"order": {"type": "string"}}})
"""What they may call."""


class MemoryConnection:
    """One connection, with both its ends. `sent` is what the bridge sent, `say` speaks to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.path = urlsplit(endpoint.url).path
        self.sent: list[Message] = []
        self.is_closed = False
        self.closed_at: float | None = None
        self.is_deaf = False
        self._incoming: deque[Message | Closed] = deque()
        self._news = asyncio.Event()
        self._unread: deque[Message] = deque()
        self._arrived = asyncio.Event()

    # --- The bridge's end

    async def recv(self) -> Message | Closed:
        while not self._incoming:
            self._news.clear()
            await self._news.wait()
        item = self._incoming[0]
        if not isinstance(item, Closed):
            self._incoming.popleft()
        return item

    async def send(self, *messages: Message) -> bool:
        while self.is_deaf and not self.is_gone:
            await asyncio.sleep(0.01)
        if self.is_gone:
            return False
        self.sent.extend(messages)
        self._unread.extend(messages)
        self._arrived.set()
        return True

    async def close(self) -> None:
        self.is_closed = True
        self.closed_at = asyncio.get_running_loop().time()
        self.lose(1000)

    # --- The service's end

    @property
    def is_gone(self) -> bool:
        return self.is_closed or (bool(self._incoming) and isinstance(self._incoming[-1], Closed))

    @property
    def unread_by_bridge(self) -> int:
        """Return how many messages the bridge has not taken yet."""
        return len(self._incoming)

    def say(self, message: Message | dict[str, Any]) -> None:
        """Let the bridge have a message; a dictionary is sent as JSON."""
        if not self.is_gone:
            self._incoming.append(json.dumps(message) if isinstance(message, dict) else message)
            self._news.set()

    def lose(self, code: int | None = None, reason: str = "") -> None:
        """Let the connection be gone."""
        if not any(isinstance(item, Closed) for item in self._incoming):
            self._incoming.append(Closed(code, reason))
            self._news.set()
            self._arrived.set()

    async def hear(self) -> Message | None:
        """Return the bridge's next message, None once it has closed."""
        while not self._unread:
            if self.is_gone:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._unread.popleft()

    def texts(self) -> list[dict[str, Any]]:
        """Return the JSON messages that the bridge has sent so far."""
        return [json.loads(message) for message in self.sent if isinstance(message, str)]


Serve = Callable[[MemoryConnection], Awaitable[None]]


class Service:
    """A vendor in memory.

    Args:
        serve: serves one connection; None accepts it and says nothing.
        refusals: what happens to the first dials instead.
        answer: what is asked over HTTP is answered so.
    """

    def __init__(
        self,
        serve: Serve | None = None,
        refusals: tuple[DialError, ...] = (),
        answer: Callable[[HttpRequest], bytes] = lambda _: b"{}",
    ) -> None:
        self.connections: list[MemoryConnection] = []
        self.dialled_at: list[float] = []
        self.requests: list[HttpRequest] = []
        self.refusals = deque(refusals)
        self._serve = serve
        self._answer = answer
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def network(self) -> Network:
        return Network(self._dial, self._ask)

    @property
    def connection(self) -> MemoryConnection:
        """The newest one."""
        return self.connections[-1]

    async def _dial(self, endpoint: Endpoint, timeout_seconds: float) -> MemoryConnection:
        self.dialled_at.append(asyncio.get_running_loop().time())
        if self.refusals:
            raise self.refusals.popleft()
        connection = MemoryConnection(endpoint)
        self.connections.append(connection)
        if self._serve is not None:
            self._tasks.append(asyncio.get_running_loop().create_task(self._serve(connection)))  # type: ignore[arg-type]
        return connection

    async def _ask(self, request: HttpRequest, timeout_seconds: float) -> bytes:
        self.requests.append(request)
        return self._answer(request)

    async def over(self) -> None:
        """Let what serves come to its end; raise what went wrong in it."""
        for connection in self.connections:
            connection.lose()
        await asyncio.gather(*self._tasks)


def dial_leg(
    service: Service,
    dialect: Callable[[Any, Opening], Dialect],
    settings: AgentSettings,
    *,
    plan: dict[str, Any] | None = None,
    **dialled: Any,
) -> Dialled:
    """Return a call that is on its way, and answered with a service."""
    made: dict[str, Any] = {"kind": "test", "chance": random.Random(1).random} | (plan or {})
    leg = LegPlan(
        settings=settings,
        open_dialect=lambda opening: dialect(settings, opening),
        network=service.network,
        **made,
    )

    async def answer(call: Call) -> None:
        await serve_with(leg, call)

    # In most of the tests nobody at the telephone says a word for long.
    return Dialled(answer, **{"settings": {"idle_seconds": 86400}} | dialled)


class SocketConnection:
    """The service's end of a real connection, with the methods of a `MemoryConnection` that a played service uses."""

    def __init__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.path = urlsplit(connection.request.path).path
        self._connection = connection
        self._closing: asyncio.Task[None] | None = None

    def say(self, message: Message) -> None:
        """Send without waiting."""
        broadcast([self._connection], message)

    async def hear(self) -> Message | None:
        """Return the bridge's next message, None once it has closed."""
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    def lose(self, code: int, reason: str = "") -> None:
        """Close it."""
        self._closing = asyncio.get_running_loop().create_task(self._connection.close(code, reason))
