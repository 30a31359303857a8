"""The handler's end of the inbox: commands on their way to the session, and the answers to those that carry a ticket.

Lives on the handler's loop; the session's accounts are only read, one number at a time, which is safe from any thread.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Protocol

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.commands import AwaitRoom, Command, Play
from smartflo_bridge.core.effects import Outcome
from smartflo_bridge.core.errors import CallEnded, HandlerError

PIECE_BYTES = SAMPLE_RATE_HZ
"""Audio is queued in pieces of at most a second, so that an interrupt or a full queue takes effect between them."""

MAX_UNANSWERED = 4096
"""Requests of one handler that may wait for their answer: far beyond any use, and a bound for a loop without an await."""


class Accounts(Protocol):
    """What may be read of the session, to know whether there is room for more audio."""

    @property
    def accepted_bytes(self) -> int:
        """Audio that the session has taken from the inbox so far."""
        ...

    @property
    def queued_bytes(self) -> int:
        """Audio in the session's queue."""
        ...

    @property
    def queue_bytes(self) -> int:
        """How much audio that queue holds."""
        ...


class Requests:
    """What the handler of one call asks for.

    Args:
        post: puts a command into the call's inbox, from the handler's thread.
        accounts: the session's, to be read only.
    """

    def __init__(self, post: Callable[[Command], None], accounts: Accounts) -> None:
        self.epoch = 0
        self.are_over = False
        self._post = post
        self._accounts = accounts
        self._posted_bytes = 0
        self._piece_bytes = min(PIECE_BYTES, accounts.queue_bytes // 2)  # as much as the session calls room
        self._sure_room_bytes = (
            0  # there was so much room at the last look, less what was queued since; it can only grow
        )
        self._tickets = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    def post(self, command: Command) -> None:
        """Ask for something that has no answer.

        Raises:
            CallEnded: the call is over.
        """
        if self.are_over:
            msg = "the call is over"
            raise CallEnded(msg)
        self._post(command)

    def ask(self, command: Callable[[int], Command]) -> asyncio.Future[Any]:
        """Ask for something that has an answer; the future gets the outcome, or CallEnded if none can come any more.

        Raises:
            CallEnded: the call is over.
            HandlerError: too many requests are unanswered.
        """
        if len(self._open) >= MAX_UNANSWERED:
            msg = f"{MAX_UNANSWERED} requests wait for their answer: await something between them"
            raise HandlerError(msg)
        ticket = next(self._tickets)
        future = asyncio.get_running_loop().create_future()
        self.post(command(ticket))
        self._open[ticket] = future
        return future

    def answer(self, ticket: int, outcome: Outcome) -> None:
        """Take the session's answer; called on the handler's loop."""
        future = self._open.pop(ticket, None)
        if future is not None and not future.done():
            future.set_result(outcome)

    def end(self) -> None:
        """Take nothing more: the call is over. What is asked already will be answered."""
        self.are_over = True

    def forsake(self) -> None:
        """Fail what is still unanswered: nobody is left to answer it."""
        self.are_over = True
        for future in self._open.values():
            if not future.done():
                future.set_exception(CallEnded("the call is over"))
                future.exception()  # a handler that does not look is none of the loop's business
        self._open.clear()

    def offer(self, ulaw: bytes, epoch: int) -> bool:
        """Queue audio at once if there is room; return False to have it wait for some, or be told better."""
        size = len(ulaw)
        if not 0 < size <= self._piece_bytes or epoch != self.epoch or self.are_over:
            return False
        if size > self._sure_room_bytes and size > self._room_bytes:
            return False
        self._post(Play(ulaw, epoch))
        self._posted_bytes += size
        self._sure_room_bytes -= size
        return True

    async def enqueue(self, ulaw: bytes, epoch: int) -> bool:
        """Queue audio when there is room for it; return False if its epoch is over before all of it is queued.

        Raises:
            CallEnded: the call is over.
        """
        for start in range(0, len(ulaw), self._piece_bytes):
            piece = ulaw[start : start + self._piece_bytes]
            while epoch == self.epoch and self._room_bytes < len(piece):  # others may have taken the room first
                await self.ask(AwaitRoom)
            if epoch != self.epoch:
                return False
            self.append(piece, epoch)
        return epoch == self.epoch

    def append(self, ulaw: bytes, epoch: int) -> None:
        """Queue audio at once, whether there is room or not: for the few bytes that end an utterance.

        Raises:
            CallEnded: the call is over.
        """
        if ulaw:
            self.post(Play(ulaw, epoch))
            self._posted_bytes += len(ulaw)
            self._sure_room_bytes -= len(ulaw)

    @property
    def _room_bytes(self) -> int:
        on_the_way = self._posted_bytes - self._accounts.accepted_bytes
        self._sure_room_bytes = self._accounts.queue_bytes - self._accounts.queued_bytes - on_the_way
        return self._sure_room_bytes
