"""Several connections that a dialect speaks over as if they were one: a service whose hearing and speaking are apart.

A message of or for one that is beside the first is a `Beside`, a text that knows its connection's name. They live and die
together: when one is gone, all are. Of each, one message at most is read ahead.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Self

from smartflo_bridge.agents.dialect import Endpoint
from smartflo_bridge.agents.far_end import Closed, Connection, DialError
from smartflo_bridge.agents.message import Message

FIRST = ""
"""The name of the connection that is beside no other."""


class Beside(str):
    """A text message of or for a connection beside the first.

    Attributes:
        name: of that connection.
    """

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, text: str) -> Self:
        """Make one of its text."""
        made = super().__new__(cls, text)
        made.name = name
        return made


class Several:
    """A connection made of several, by their names; `FIRST` is among them."""

    def __init__(self, connections: Mapping[str, Connection]) -> None:
        self._connections = dict(connections)
        self._reading: dict[str, asyncio.Task[Message | Closed]] = {}

    async def recv(self) -> Message | Closed:
        """Return the next message of any; of several that are there, of the one that is named first."""
        loop = asyncio.get_running_loop()
        for name, connection in self._connections.items():
            if name not in self._reading:
                self._reading[name] = loop.create_task(_read(connection))
        await asyncio.wait(self._reading.values(), return_when=asyncio.FIRST_COMPLETED)
        name = next(name for name in self._connections if self._reading[name].done())
        message = self._reading.pop(name).result()
        if name == FIRST or isinstance(message, Closed):
            return message
        return Beside(name, message if isinstance(message, str) else "")  # what is beside speaks in text

    async def send(self, *messages: Message) -> bool:
        """Send each over the connection that it is for; return False if one of these is gone."""
        for name, group in itertools.groupby(messages, _name_of):
            plain = [str(message) if isinstance(message, Beside) else message for message in group]
            if not await self._connections[name].send(*plain):
                return False
        return True

    async def close(self) -> None:
        """Close all, at the same time."""
        for task in self._reading.values():
            task.cancel()
        try:
            await asyncio.gather(*self._reading.values(), return_exceptions=True)
        finally:
            await asyncio.gather(*(connection.close() for connection in self._connections.values()))


async def _read(connection: Connection) -> Message | Closed:
    return await connection.recv()


Dial = Callable[[Endpoint, float], Awaitable[Connection]]


async def connect_all(
    dial: Dial,
    endpoint: Endpoint,
    timeout_seconds: float,
    connected: Mapping[str, Connection],
) -> Connection:
    """Dial an endpoint and those beside it, at the same time; what is connected already is beside it as well.

    Raises:
        DialError: one of them cannot be reached; then all that were are closed.
    """
    if not endpoint.beside and not connected:
        return await dial(endpoint, timeout_seconds)
    opened = dict(connected)
    failure = await _open_all(dial, {FIRST: endpoint, **endpoint.beside}, timeout_seconds, opened)
    if failure is None:
        return Several({FIRST: opened.pop(FIRST), **opened})
    try:
        raise failure
    finally:
        del failure  # it has this frame in its traceback


async def _open_all(
    dial: Dial, endpoints: Mapping[str, Endpoint], timeout_seconds: float, opened: dict[str, Connection]
) -> DialError | None:
    """Dial endpoints at the same time, and enter the connections; return the first failure, and then all of them are closed."""

    async def open_one(name: str, one: Endpoint) -> DialError | None:
        try:
            opened[name] = await dial(one, timeout_seconds)
        except DialError as error:
            return error.kept()
        return None

    # No group of tasks: one that fails or is cancelled is garbage that refers to itself.
    loop = asyncio.get_running_loop()
    dialling = {loop.create_task(open_one(name, one)) for name, one in endpoints.items()}
    failure, is_complete = None, False
    try:
        while dialling and failure is None:
            done, dialling = await asyncio.wait(dialling, return_when=asyncio.FIRST_COMPLETED)
            failure = next((told for task in done if (told := task.result()) is not None), None)
        is_complete = failure is None
    finally:
        if not is_complete:
            await _give_up(dialling, opened.values())
    return failure


async def _give_up(dialling: set[asyncio.Task[DialError | None]], opened: Collection[Connection]) -> None:
    """Dial no more, and close what was reached."""
    for task in dialling:
        task.cancel()
    if dialling:
        await asyncio.wait(dialling)
    await asyncio.gather(*(connection.close() for connection in opened))


def _name_of(message: Message) -> str:
    """Return which connection a message is for."""
    return message.name if isinstance(message, Beside) else FIRST
