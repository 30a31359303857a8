"""One connection to a service and its dialect: opened within a time, written by one task in order, read by the leg.

A leg has one line at a time, and two for a moment when one takes over from another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from smartflo_bridge.agents.beside import connect_all
from smartflo_bridge.agents.dialect import Dialect, Endpoint, HttpRequest
from smartflo_bridge.agents.events import Answer, Failed, HangUpAsked, Ignored, LegEvent, Ready
from smartflo_bridge.agents.far_end import Closed, Connection, DialError
from smartflo_bridge.agents.hearing import Hearing
from smartflo_bridge.agents.message import Message
from smartflo_bridge.calls.rates import RateConverter, rate_converter
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, ulaw_to_pcm

MAX_SAID = 1024
"""Messages, audio apart, that wait for a service which does not read. It is cut for that within seconds anyway."""

MAX_EARLY = 64
"""Of what a service does before it is ready: a greeting's first pieces, at most."""

MAX_BATCH = 8
"""Messages in one write, at most: a chunk of the platform's makes five of Twilio's."""

LAST_WORDS_SECONDS = 0.2
"""How long a service may take to read what is said last."""


class Network(msgspec.Struct, frozen=True):
    """How a service is reached; tests have a service in memory."""

    dial: Callable[[Endpoint, float], Awaitable[Connection]]
    ask: Callable[[HttpRequest, float], Awaitable[bytes]]


class Line:
    """One connection. Made by `open_line`, when the service is ready.

    Attributes:
        dialect: what is spoken on it.
        early: what the service did before and right after it was ready.
        opened_at: the loop's time.
    """

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self.dialect = dialect
        self.early: list[LegEvent] = []
        self.opened_at = asyncio.get_running_loop().time()
        self._connection = connection
        self._said: list[Message] = []
        self._waiter: asyncio.Future[None] | None = None  # the writer's; an event and a deque would take 1.5 kB
        self._hearing: Hearing | None = None
        self._converter: RateConverter | None = None

    def say(self, messages: Sequence[Message]) -> None:
        """Have messages sent, behind those that wait."""
        if len(self._said) + len(messages) <= MAX_SAID:
            self._said.extend(messages)
            self._wake()

    def listen(self, hearing: Hearing) -> None:
        """Let the service hear the caller, from what is kept on, in the format that it wants by now.

        Raises:
            HandlerError: the format's rate needs numpy, which is not installed.
        """
        hears = self.dialect.hears
        self._converter = rate_converter(SAMPLE_RATE_HZ, hears.rate_hz) if hears.encoding == "pcm" else None
        self._hearing = hearing
        hearing.on_news = self._wake
        self._wake()

    def retire(self) -> None:
        """Let another line hear the caller."""
        self._hearing = None

    async def write(self) -> None:
        """Send what there is to send, until the connection is gone or we are cancelled."""
        while True:
            while messages := self._batch():
                if not await self._connection.send(*messages):
                    return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def keep_alive(self) -> None:
        """Say now and then that we are still there, where the service wants that."""
        while seconds := self.dialect.keep_alive_seconds:
            await asyncio.sleep(seconds)
            self.say(self.dialect.keep_alive())

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def read(self) -> list[LegEvent]:
        """Return what the service's next message means."""
        message = await self._connection.recv()
        if isinstance(message, Closed):
            return [self.dialect.closed(message.code, message.reason)]
        return self.dialect.receive(message)

    async def open(self) -> None:
        """Say what is said first, and wait until the service is ready.

        Raises:
            DialError: it will not be.
        """
        for message in self.dialect.opening():
            await self._connection.send(message)
        while self.dialect.awaits_ready and not any(isinstance(event, Ready) for event in self.early):
            for event in await self.read():
                match event:
                    case Answer(message=message):
                        await self._connection.send(message)
                    case Failed(reason=reason, may_retry=may_retry):
                        raise DialError(reason, may_retry=may_retry)
                    case HangUpAsked():
                        msg = "it closed the connection before it was ready"
                        raise DialError(msg, may_retry=True)
                    case Ignored():
                        pass
                    case _ if len(self.early) < MAX_EARLY:
                        self.early.append(event)
                    case _:
                        msg = "it says too much before it is ready"
                        raise DialError(msg)

    async def close(self) -> None:
        """Say what is said last, and close; within a second."""
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                for message in [*self._said, *self.dialect.end()]:
                    await self._connection.send(message)
        except TimeoutError:
            pass
        finally:
            await self._connection.close()

    def _batch(self) -> list[Message]:
        """Return what is sent next: what was said and the caller's keys, else one piece of the audio, be it several messages."""
        if self._hearing is not None and self._hearing.keys:
            for digit in self._hearing.take_keys():
                self._said.extend(self.dialect.press(digit))
        while not self._said and self._hearing is not None and (ulaw := self._hearing.take()):
            audio = ulaw if self._converter is None else self._converter.convert(ulaw_to_pcm(ulaw))
            self._said.extend(self.dialect.hear(audio))
        batch, self._said = self._said[:MAX_BATCH], self._said[MAX_BATCH:]
        return batch


async def open_line(
    network: Network, dialect: Dialect, timeout_seconds: float, connected: Mapping[str, Connection]
) -> Line:
    """Reach a service, and wait until it is ready. `connected` is what is beside it, and connected already.

    Raises:
        DialError: it is not, in time.
    """
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            request = dialect.request()
            answer = None if request is None else await network.ask(request, timeout_seconds)
            endpoint = _found(dialect.endpoint(answer))
            connection = await connect_all(network.dial, endpoint, timeout_seconds, connected)
            line = Line(connection, dialect)
            await line.open()
            return line
    except BaseException as error:
        if connection is not None:
            await connection.close()
        if isinstance(error, TimeoutError):
            msg = "it was not ready in time"
            raise DialError(msg, may_retry=True) from None
        raise


def _found(endpoint: Endpoint | Failed) -> Endpoint:
    if isinstance(endpoint, Failed):
        raise DialError(endpoint.reason, may_retry=endpoint.may_retry)
    return endpoint
