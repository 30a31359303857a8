"""What the played services share: they make speech faster than real time, and stop when the caller speaks over it.

A service is realistic in that it takes its speech for heard when its length is over, and unrealistic in that it goes on
sending pieces of what it has stopped, which the bridge has to drop. It recognises no speech: the test says when the caller
begins. It serves a connection in memory, or a real one.
"""

import asyncio
import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from smartflo_bridge.agents.dialect import HttpRequest
from smartflo_bridge.agents.message import Message

LATE_PIECES = 3
"""Pieces of a turn that are still sent after it was stopped."""

PIECE_SECONDS = 0.02
"""Between two pieces; a piece is longer than that."""


def extras(model: object, path: str = "") -> list[str]:
    """Return the members that a vendor's types (pydantic's models) do not know, anywhere inside."""
    if isinstance(model, list):
        return [extra for item in model for extra in extras(item, path)]
    fields = getattr(type(model), "model_fields", None)
    if fields is None:
        return []
    found = [f"{path}.{name}" for name in getattr(model, "model_extra", None) or {}]
    for name in fields:
        found += extras(getattr(model, name), f"{path}.{name}")
    return found


class ServiceEnd(Protocol):
    """A service's end of a connection."""

    path: str

    def say(self, message: Message) -> None: ...

    async def hear(self) -> Message | None: ...


class Played:
    """One connection's service.

    Attributes:
        heard: the caller's audio, as mu-law.
        texts: what else the caller's side has said, a key for instance.
        results: what functions have returned, by the ids of their calls.
        story: what it was told of the call before.
        greetings: how often it was asked to greet.

    Args:
        speech: what it says in each turn, in mu-law.
        piece_bytes: sent at once, of that.
        calls: functions that it calls instead of speaking, with their arguments: one a turn.
    """

    connections = 1
    """That make a line to it."""

    def __init__(
        self, speech: bytes, *, piece_bytes: int = 2000, calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    ) -> None:
        self.speech = speech
        self.piece_bytes = piece_bytes
        self.calls = list(calls)
        self.heard = bytearray()
        self.texts: list[str] = []
        self.results: dict[str, str] = {}
        self.story = ""
        self.greetings = 0
        self.numbers = itertools.count(1)
        self._left = b""
        self._task: asyncio.Task[None] | None = None
        self._heard_at: asyncio.TimerHandle | None = None

    async def serve(self, connection: ServiceEnd) -> None:
        """Serve a connection until the bridge closes it."""
        self.connection = connection
        self.begin()
        while (message := await connection.hear()) is not None:
            self.take(message)
        self._stop()

    def respond(self) -> None:
        """Begin a turn."""
        self._stop()
        self._task = asyncio.get_running_loop().create_task(self._make())

    def caller_speaks(self) -> None:
        """Find that the caller has begun to speak; stop what is being said."""
        is_over = self._task is None and self._heard_at is None
        late, self._left = self._left[: LATE_PIECES * self.piece_bytes], b""
        self._stop()
        self.notice_caller(is_over=is_over, late=self._pieces(late))

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        self.begin_turn()
        if self.calls:
            name, arguments = self.calls.pop(0)
            self._task = None
            self.call(f"call_{next(self.numbers)}", name, arguments)
            return
        ends_at = loop.time() + len(self.speech) / 8000
        self._left = self.speech
        while self._left:
            piece, self._left = self._left[: self.piece_bytes], self._left[self.piece_bytes :]
            self.speak(piece)
            await asyncio.sleep(PIECE_SECONDS)
        self._task = None
        self._heard_at = loop.call_at(ends_at, self._is_heard)
        self.finish()

    def _is_heard(self) -> None:
        self._heard_at = None
        self.end_turn()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._heard_at is not None:
            self._heard_at.cancel()
        self._task = self._heard_at = None

    def _pieces(self, ulaw: bytes) -> list[bytes]:
        return [ulaw[at : at + self.piece_bytes] for at in range(0, len(ulaw), self.piece_bytes)]

    # --- What is a vendor's own

    def answer(self, request: HttpRequest) -> bytes:
        """Answer what is asked over HTTP before the connection is made."""
        raise NotImplementedError

    def front(self, url: str, seen: list[str]) -> AbstractContextManager[str]:
        """Return what the bridge is to be configured with, where the connection itself is served at a real address.

        `seen` gets the headers of what is asked there.
        """
        del seen
        return nullcontext(url)

    def begin(self) -> None:
        """Say what comes first."""

    def take(self, message: Message) -> None:
        """Take a message of the bridge."""
        raise NotImplementedError

    def begin_turn(self) -> None:
        """Say that a turn begins."""

    def speak(self, ulaw: bytes) -> None:
        """Say a piece of speech."""
        raise NotImplementedError

    def finish(self) -> None:
        """Say that all of the turn's speech was sent."""

    def end_turn(self) -> None:
        """Say that the turn is over: its speech was heard."""

    def notice_caller(self, *, is_over: bool, late: list[bytes]) -> None:
        """Say that the caller speaks, and what still comes of the turn; `is_over` if there was none to stop."""
        raise NotImplementedError

    def call(self, identity: str, name: str, arguments: dict[str, Any]) -> None:
        """Ask for a function."""
        raise NotImplementedError

    def fail(self) -> None:
        """Report that it will never serve this call, in a text that quotes a key: `sk-12345`."""
        raise NotImplementedError
