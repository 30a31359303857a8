"""The actor: the coroutine that owns one session, carries out its effects, and keeps the outbound order.

Everything reaches it through the inbox. It reads the clock once for each item, shows the item to the taps, gives it to
the session, and does what comes back. It never waits for the peer or for the handler, so neither can stall its clock.
"""

import asyncio
import logging
import math
from functools import partial
from typing import assert_never

from smartflo_bridge.calls.delivery import READY_EVENTS
from smartflo_bridge.calls.handling import Handling
from smartflo_bridge.calls.inbox import SUSPENDED, Inbox, Item
from smartflo_bridge.calls.patience import Patience
from smartflo_bridge.calls.peer import Peer
from smartflo_bridge.calls.setup import CallSetup
from smartflo_bridge.core.effects import Close, Deliver, HandlerEvent, Notice, Reply, Send
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import IncomingEvent, MediaEvent, StartEvent, parse_incoming_event
from smartflo_bridge.core.outgoing import encode_outgoing_event
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.signals import (
    Drained,
    HandlerDone,
    Malformed,
    Opened,
    Refused,
    Tick,
    Undelivered,
)
from smartflo_bridge.log import end_of_call, line

PORTION = READY_EVENTS
"""Items taken in one turn of the loop; then the handler has its own. After a stall it can so keep up with what is taken: one on
this loop, such as an agent's leg, loses nothing of what the platform had in store."""

_log = logging.getLogger(__name__)


async def run_call(peer: Peer, setup: CallSetup, bound_to: str | None = None) -> Session:
    """Serve one connection from its first message until nothing is left of it; return its session, for its accounts.

    Args:
        peer: the connection's far end.
        setup: the bridge's.
        bound_to: the id of the only call that this connection was let in for; None is any.
    """
    actor = _Actor(peer, setup, bound_to)
    forget = setup.registry.watch_drain(lambda: actor.inbox.put(Drained()))
    try:
        await actor.run()
    finally:
        forget()
    return actor.session


class _Actor:
    """One connection's life. `run` is the whole of it."""

    def __init__(self, peer: Peer, setup: CallSetup, bound_to: str | None) -> None:
        self.session = Session(setup.settings)
        self.inbox = Inbox()
        self._peer = peer
        self._setup = setup
        self._bound_to = bound_to
        self._clock_ns = setup.clock_ns
        self._taps = setup.open_taps()
        self._began_ns = setup.clock_ns()
        self._timer: Patience | None = None
        self._timer_due = math.inf
        self._over: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._handling: Handling | None = None  # once the stream has started
        self._unsent: list[bytes] = []  # what leaves with one write
        self._reader = self._read()
        self._resume = partial(self._reader.send, None)

    async def run(self) -> None:
        """Serve until the session is over; then close the connection, and let the handler come to its end."""
        try:
            self._take(Opened(), self._now_ns())
            self._send()
            self._peer.listen(self.inbox)
            self._arm()
            self._resume()
            await self._part(await self._over)
        finally:
            self._over.cancel()  # nobody waits for it any more
            self.inbox.leave()
            self._reader.close()
            self._settle()

    # --- Inputs

    def _now_ns(self) -> int:
        return self._clock_ns() - self._began_ns

    async def _read(self) -> None:
        """Take what comes, until the session is over; then what still comes in, so that it is counted and nobody waits for an answer.

        No task runs this coroutine: the inbox resumes it. What it raises goes to whoever did that, the loop, which logs it.
        """
        inbox, items, session = self.inbox, self.inbox.items, self.session
        clock_ns, began_ns = self._clock_ns, self._began_ns
        try:
            while True:
                inbox.wait(self._resume)
                await SUSPENDED
                left = PORTION  # others are to have their turn too
                while items and left:
                    left -= 1
                    self._take(items.popleft(), clock_ns() - began_ns)
                self._send()
                if session.wake_at < self._timer_due:
                    self._arm()
        finally:
            if not self._over.done():
                self._over.set_exception(RuntimeError("the actor has failed; the loop says why"))

    def _take(self, item: Item, at_ns: int) -> None:
        given: Input
        event: IncomingEvent | Malformed
        if isinstance(item, bytes):
            try:
                event = parse_incoming_event(item)
            except ProtocolError as error:
                event = Malformed(str(error))
            given = event
            for tap in self._taps:
                tap.message_in(at_ns, self.session.muting.message(item, event))
        else:
            given = item
            for tap in self._taps:
                tap.given(at_ns, self.session.muting.given(item))
            if isinstance(given, HandlerDone) and self._handling is not None:
                self._handling.finish()
        for effect in self.session.handle(given, at_ns / 1e9):
            if isinstance(effect, Deliver) and self._handling is not None:  # the most frequent
                self._handling.deliver(effect.event)
            elif isinstance(effect, Send):
                text = encode_outgoing_event(effect.event)
                self._unsent.append(text)
                for tap in self._taps:
                    tap.message_out(at_ns, encode_outgoing_event(effect.shown) if effect.is_muted else text)
            else:
                self._perform(effect)

    def _arm(self) -> None:
        """Have a `Tick` come at the session's deadline.

        A timer that fires too early does no harm: the `Tick` does nothing and arms again. So a deadline that only moves
        away, as the idle limit does with each message, costs no timer.
        """
        deadline = self.session.wake_at
        if self._timer_due <= deadline or self.session.is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        # Timers count in ms: round up, or the loop turns until the ms is over.
        delay = math.ceil((deadline - self._now_ns() / 1e9) * 1000) / 1000
        self._timer_due = deadline
        self._timer = Patience(max(delay, 0), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_due = math.inf
        self.inbox.put(Tick())

    # --- Effects

    def _perform(self, effect: Deliver | Reply | Notice | Close) -> None:
        match effect:
            case Deliver(event=event):
                self._deliver(event)
            case Reply(ticket=ticket, outcome=outcome):
                if self._handling is not None:
                    self._handling.answer(ticket, outcome)
            case Notice(kind=kind, text=text):
                _log.info(line(text, kind=kind, stream_sid=self.session.stream_sid))
            case Close():
                if self._handling is not None:
                    self._handling.end(effect.termination)
                if not self._over.done():  # whoever cancels us does not wait for it any more
                    self._over.set_result(effect)
            case _:
                assert_never(effect)

    def _send(self) -> None:
        """Write all that is to leave at once: a write costs as much as all else that happens to a frame."""
        if self._unsent:
            self._peer.send(*self._unsent)
            self._unsent.clear()

    def _deliver(self, event: HandlerEvent) -> None:
        if self._handling is None and isinstance(event, StartEvent):
            self._begin(event)
        if self._handling is not None:
            self._handling.deliver(event)
        elif isinstance(event, MediaEvent):
            self.inbox.put(Undelivered(len(event.media.payload), "refused"))

    def _begin(self, start: StartEvent) -> None:
        """Start the handler, unless this is another call than the one that was let in, or a stream that is served already."""
        handling = Handling(start, self._setup, self.session, self.inbox)
        call = handling.call
        if self._bound_to not in (None, call.call_sid):
            # Not the token's id: it was said over HTTP, under a name that an operator chose, and may be anything.
            _log.warning(line("not the call of its token", stream_sid=call.stream_sid, call_sid=call.call_sid))
            if self._setup.refuses_other_calls:
                self.inbox.put(Refused("not the call of its token"))
                return
        if not self._setup.registry.add(call):
            _log.info(line("call refused", stream_sid=call.stream_sid, reason="served already"))
            self.inbox.put(Refused("this stream is being served already"))
            return
        _log.info(line("call started", stream_sid=call.stream_sid, call_sid=call.call_sid, direction=call.direction))
        self._handling = handling
        handling.begin()

    # --- The end

    async def _part(self, close: Close) -> None:
        """Close the connection, and give the handler, who has been told, its time."""
        await self._peer.close(close.code, close.reason)
        if self._handling is not None:
            self._setup.registry.remove(self._handling.call)
            await self._handling.part()

    def _settle(self) -> None:
        """Close the accounts, and say how the call went. Whoever cancelled us in the middle finds nothing left open."""
        if self._timer is not None:
            self._timer.cancel()
        while (item := self.inbox.take()) is not None:
            self._take(item, self._now_ns())
        at_ns = self._now_ns()
        if not self.session.is_over:
            self._take(Drained(), at_ns)
        self._send()
        if self._handling is not None:
            if not self._handling.is_done:
                self._handling.end(self.session.termination)
                self._handling.cancel()
            self._setup.registry.remove(self._handling.call)
            left = self._handling.settle()
            if left:
                self._take(Undelivered(left, "unread"), at_ns)
            _log.info(end_of_call(self.session, at_ns / 1e9))
        for tap in self._taps:
            tap.ended(at_ns, self.session)
