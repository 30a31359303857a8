"""The delivery queue: events on their way from the actor to a handler, which may run on another thread, and be slow.

Two bounded parts without a lock. `ready` is what the handler takes from: the actor appends, the handler pops, and puts back
in front what it declines. `backlog` is the actor's alone; what does not fit into `ready` waits there, and when it holds
more audio than allowed, its oldest audio goes, counted. Start, dtmf, mark and stop are never dropped: a slow handler costs the
quality of its own call, and not a key press. One that leaves a thousand of them costs the call itself, not memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.effects import HandlerEvent
from smartflo_bridge.core.errors import BridgeError, HandlerError
from smartflo_bridge.core.incoming import MediaEvent

READY_EVENTS = 8
"""How many events the handler can take without the actor's help: 0.8 s at the platform's cadence."""


MAX_WAITING_EVENTS = 1024
"""Key presses and marks that may wait: 20 s of a key held down at the fastest that the platform's cadence could send."""


Taker = Callable[[HandlerEvent], bool]
"""Takes an event, or returns False to have it wait."""


class Delivery:
    """One call's queue to its handler: an async iterator for one reader, which ends when the call is over and all is taken.

    Args:
        home: the loop that the handler runs on.
        max_seconds: how much audio may wait; the oldest is dropped beyond.

    Attributes:
        is_overfull: so much waits that may not be dropped that the call is to end.
    """

    def __init__(self, home: HandlerLoop, max_seconds: float) -> None:
        self._post = None if home.is_main else home.post
        self._actor_loop = asyncio.get_running_loop()
        self._max_bytes = round(max_seconds * SAMPLE_RATE_HZ)
        self._ready: deque[HandlerEvent] = deque()
        self._backlog: list[HandlerEvent] = []  # seldom used: a deque takes 760 bytes while it is empty
        self._backlog_bytes = 0
        self._backlog_events = 0  # that are no audio
        self.is_overfull = False
        self._is_finished = False
        self._is_waiting = False
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None  # while somebody on this loop attends

    # --- The actor's side

    def put(self, event: HandlerEvent) -> int:
        """Add an event; return how many bytes of older audio had to go for it."""
        if self._taker is not None:
            take, self._taker = self._taker, None  # whatever it raises, it is not asked again
            try:
                is_taken = take(event)
            except BridgeError as error:
                self._fail(error)
                return 0
            if is_taken:
                self._taker = take
                return 0
        if not self._backlog and len(self._ready) < READY_EVENTS:
            self._ready.append(event)
            if self._is_waiting:
                self._is_waiting = False
                self._wake()
            return 0
        self._backlog.append(event)
        if isinstance(event, MediaEvent):
            self._backlog_bytes += len(event.media.payload)
        else:
            self._backlog_events += 1
        self._refill()
        self.is_overfull = self._backlog_events > MAX_WAITING_EVENTS
        return self._drop_excess()

    def _fail(self, error: BridgeError) -> None:
        """Have an error raised where `attend` is awaited."""
        self._is_waiting = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def finish(self) -> None:
        """Say that nothing more will come: the handler's iteration ends when it has taken what is here."""
        self._is_finished = True
        self._notify()

    def abandon(self) -> int:
        """Empty the queue; return how many bytes of audio the handler never took."""
        self._is_finished = True
        left_bytes = sum(len(event.media.payload) for event in self._backlog if isinstance(event, MediaEvent))
        self._backlog.clear()
        with suppress(IndexError):  # the handler takes too, until nothing is left: each event goes to one of us
            while True:
                event = self._ready.popleft()
                left_bytes += len(event.media.payload) if isinstance(event, MediaEvent) else 0
        self._notify()
        return left_bytes

    def _drop_excess(self) -> int:
        dropped = 0
        while self._backlog_bytes > self._max_bytes:
            index = next(i for i, event in enumerate(self._backlog) if isinstance(event, MediaEvent))
            event = self._backlog[index]
            del self._backlog[index]
            size = len(event.media.payload) if isinstance(event, MediaEvent) else 0
            self._backlog_bytes -= size
            dropped += size
        return dropped

    def _refill(self) -> None:
        while self._backlog and len(self._ready) < READY_EVENTS:
            event = self._backlog[0]
            self._ready.append(event)
            del self._backlog[0]  # only now: a handler that looks in between is never to find neither
            if isinstance(event, MediaEvent):
                self._backlog_bytes -= len(event.media.payload)
            else:
                self._backlog_events -= 1
        self._notify()

    def _notify(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._wake()

    def _wake(self) -> None:
        # Bound to us only while it is on its way: kept, it would keep us until the garbage collector comes.
        if self._post is None:
            self._wake_here()
        else:
            self._post(self._wake_here)

    # --- The handler's side

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HandlerEvent:
        """Return the next event.

        Raises:
            HandlerError: another task is waiting already.
        """
        while True:
            if self._ready:
                try:  # `suppress` would cost each frame as much as all else here
                    return self._ready.popleft()
                except IndexError:  # it was abandoned while we looked
                    pass
            if self._is_finished and not self._backlog and not self._ready:
                raise StopAsyncIteration
            if self._waiter is not None:
                msg = "the events of a call are read by one task at a time"
                raise HandlerError(msg)
            self._waiter = asyncio.get_running_loop().create_future()
            self._is_waiting = True
            # The actor looks at the flag after it has added something: look again, now that the flag is set.
            if self._ready or (self._is_finished and not self._backlog):
                self._is_waiting = False
                self._waiter = None
                continue
            if self._backlog:
                self._actor_loop.call_soon_threadsafe(self._refill)
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def attend(self, take: Taker) -> None:
        """Give each event to a function, until it declines one, which is the next again, or until nothing more comes.

        On the actor's own loop the function is called while the actor hands over the event, without a turn of the loop
        between: it is not to wait for anything. A `BridgeError` that it raises is raised here; any other ends the call, actor and all.

        Raises:
            HandlerError: another task is waiting already.
        """
        async for event in self:
            if not take(event):
                self._ready.appendleft(event)
                return
            if self._post is not None or self._ready or self._backlog or self._is_finished:
                continue
            self._taker, self._is_waiting = take, True
            self._waiter = self._actor_loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter, self._taker, self._is_waiting = None, None, False

    def _wake_here(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
