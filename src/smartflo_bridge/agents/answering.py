"""The user's own function in the place of a model: what the caller said goes in, what is to be said comes out, in pieces.

`answer = "module:function"` names it, for a service that only recognises and synthesises. To the leg it is a connection
like any other, whose far end is the function: texts of JSON go both ways, and the dialect decides what is asked and spoken.
The function runs on the handlers' thread, never on the calls' loop, one at a time for each call.

To it: `{"ask": NUMBER, "said": TEXT, "story": [...]}`, which stops what it was asked before, and `{"stop": NUMBER}`. From it, with the
number of the question: `asked`, at once; `text`, any number of times; `hang_up`; and at last `done` or `failed`.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal

import msgspec

from smartflo_bridge.agents.dialect import CallFacts
from smartflo_bridge.agents.events import Transcript
from smartflo_bridge.agents.far_end import Closed
from smartflo_bridge.agents.message import Message, to_text
from smartflo_bridge.calls.home import HandlerLoop, Running
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.log import line

MAX_ANSWER_CHARACTERS = 20_000
"""Of one answer: some twenty minutes of speech."""

HANG_UP: Final = "\0hang up"
"""What the function gives to end the call, when all that it said has been heard."""

FUNCTION: Final = "function"
"""The name of the connection to it, beside the service's own."""

PARAMETERS = ("said", "call", "story")

_log = logging.getLogger(__name__)


class Asked(msgspec.Struct, frozen=True):
    """What the function is asked: the caller's words, and what was said on the call before them, the latest last."""

    ask: int
    said: str
    story: tuple[Transcript, ...] = ()


class Stop(msgspec.Struct, frozen=True):
    """The answer is not wanted any more."""

    stop: int


class Told(msgspec.Struct, frozen=True):
    """What the function says: `text` with a piece of its answer, or what became of it."""

    kind: Literal["asked", "text", "hang_up", "done", "failed"]
    number: int
    text: str = ""


_decoder = msgspec.json.Decoder(dict[str, Any])


class Answering:
    """A function, and where it runs.

    Args:
        function: `async def`, to a text or yielding texts; it takes `said`, and `call` and `story` if it has them.
        home: the loop that it runs on: never the calls'.
        timeout_seconds: how long it may take, to its first text and from each to the next.

    Raises:
        ConfigError: it is no such function.
    """

    def __init__(self, function: object, home: HandlerLoop, timeout_seconds: float) -> None:
        self.function: Callable[..., Any] = checked_answer(function)
        self.home = home
        self.timeout_seconds = timeout_seconds
        self._wanted = set(inspect.signature(self.function).parameters)

    def connect(self, facts: CallFacts) -> "AnsweringConnection":
        """Return a connection to it, for one call."""
        return AnsweringConnection(self, facts)

    def call(self, facts: CallFacts, asked: Asked) -> Any:  # noqa: ANN401 - a coroutine or an iterator
        """Call it."""
        given = {"said": asked.said, "call": facts, "story": list(asked.story)}
        return self.function(**{name: value for name, value in given.items() if name in self._wanted})


def checked_answer(function: object) -> Callable[..., Any]:
    """Return what is a function that can answer.

    Raises:
        ConfigError: it is none.
    """
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        msg = "agent.answer names an `async def`, that returns a text or yields some"
        raise ConfigError(msg)
    parameters = inspect.signature(function).parameters
    if "said" not in parameters or not set(parameters) <= set(PARAMETERS):
        msg = f"agent.answer: the function takes `said`, and if it wants `call` and `story`; not {', '.join(parameters) or 'nothing'}"
        raise ConfigError(msg)
    return function


class AnsweringConnection:
    """A connection to the function."""

    def __init__(self, answering: Answering, facts: CallFacts) -> None:
        self._answering = answering
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._told: deque[Told] = deque()
        self._news = asyncio.Event()
        self._number = -1
        self._left_characters = 0
        self._running: Running | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def recv(self) -> Message | Closed:
        """Return what the function says next."""
        while not self._told:
            self._news.clear()
            await self._news.wait()
        return to_text(self._told.popleft())

    async def send(self, *messages: Message) -> bool:
        """Ask, or stop."""
        for message in messages:
            self._obey(message)
        return True

    def _obey(self, message: Message) -> None:
        self._stop()
        found = _decoder.decode(message)
        if "ask" in found:
            asked = msgspec.convert(found, Asked)
            self._number, self._left_characters = asked.ask, MAX_ANSWER_CHARACTERS
            self._tell(Told("asked", asked.ask))
            self._running = self._answering.home.start(self._answer(asked))
            self._wait_again()

    async def close(self) -> None:
        """Stop the function, if it runs."""
        self._stop()

    def _stop(self) -> None:
        self._number = -1
        self._told.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None:
            self._answering.home.cancel(self._running)
            self._running = None

    def _wait_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._answering.timeout_seconds, self._is_late, self._number)

    def _is_late(self, number: int) -> None:
        _log.warning(line("the answer took too long", seconds=self._answering.timeout_seconds))
        self._end(Told("failed", number))

    def _end(self, told: Told) -> None:
        """Say what became of an answer, and forget it."""
        if told.number == self._number:
            waiting = [*self._told]
            self._stop()
            self._told.extend(waiting)
            self._tell(told)

    def _tell(self, told: Told) -> None:
        self._told.append(told)
        self._news.set()

    def _take(self, told: Told) -> None:
        """Take what the function's thread has sent, unless it was stopped meanwhile."""
        if told.number != self._number:
            return
        self._left_characters -= len(told.text)
        if told.kind in ("done", "failed") or self._left_characters < 0:
            self._end(told if told.kind != "text" else Told("done", told.number))
        else:
            self._wait_again()
            self._tell(told)

    # --- On the handlers' thread

    async def _answer(self, asked: Asked) -> None:
        has_answered = await self._answering.home.attempt(
            self._pass_on(asked), "answer", stream_sid=self._facts.stream_sid
        )
        self._post(Told("done" if has_answered else "failed", asked.ask))

    async def _pass_on(self, asked: Asked) -> None:
        async for text in _texts(self._answering.call(self._facts, asked)):
            if text == HANG_UP:
                self._post(Told("hang_up", asked.ask))
            elif text:
                self._post(Told("text", asked.ask, text))

    def _post(self, told: Told) -> None:
        self._answering.home.post_to_main(self._take, told)


async def _texts(answer: Any) -> AsyncIterator[str]:  # noqa: ANN401 - what the user's function gave
    """Yield the texts of an answer, in one piece or in several.

    Raises:
        TypeError: it is no text.
    """
    if not inspect.isasyncgen(answer):
        answer = _only(await answer)
    async for text in answer:
        if not isinstance(text, str):
            msg = f"an answer is text, not {type(text).__name__}"
            raise TypeError(msg)
        yield text


async def _only(text: object) -> AsyncIterator[Any]:
    yield text
