"""The handler of one call at work: the actor's side of everything between the two.

Makes the `Call`, runs the handler on its own loop, hands it events and answers, and parts from it when the call is over,
however it behaves.
"""

import asyncio
import logging
from functools import partial

from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.delivery import Delivery
from smartflo_bridge.calls.home import Running
from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.requests import Requests
from smartflo_bridge.calls.setup import CallSetup
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.effects import HandlerEvent, Outcome, Termination
from smartflo_bridge.core.errors import AgentError
from smartflo_bridge.core.incoming import MediaEvent, StartEvent
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.signals import HandlerDone, HandlerStuck, Undelivered
from smartflo_bridge.log import line

_log = logging.getLogger(__name__)


class Handling:
    """Made when the stream has started. All methods are for the actor, on the main loop.

    Attributes:
        call: what the handler serves.
        is_done: the actor has taken the handler's last signal.
    """

    def __init__(self, start: StartEvent, setup: CallSetup, session: Session, inbox: Inbox) -> None:
        self._setup = setup
        self._home = setup.home
        self._session = session
        self._inbox = inbox
        self._post = inbox.put if setup.home.is_main else partial(setup.home.post_to_main, inbox.put)
        self._requests = Requests(self._post, _Accounts(session, setup.settings.queue_seconds))
        self._delivery = Delivery(setup.home, setup.inbound_seconds)
        self._recent = bytearray()
        self._max_recent_bytes = round(setup.recent_seconds * SAMPLE_RATE_HZ)
        self._running: Running | None = None
        self._agent_lost = False
        self.is_done = False
        self._done: asyncio.Future[None] | None = None  # awaited, once the call is over
        self.call = Call(
            start,
            requests=self._requests,
            delivery=self._delivery,
            live_calls=setup.registry,
            counters=session.ledger,
            recent=self._recent,
        )

    def begin(self) -> None:
        """Run the handler."""
        self._running = self._home.start(self._handle())

    def deliver(self, event: HandlerEvent) -> None:
        """Hand over an event; tell the session what older audio a slow handler lost for it, and if too much waits."""
        if self._max_recent_bytes and isinstance(event, MediaEvent):
            self._recent += event.media.payload
            del self._recent[: -self._max_recent_bytes]
        dropped = self._delivery.put(event)
        if dropped:
            self._inbox.put(Undelivered(dropped, "hanging_up" if self._session.is_hanging_up else "slow_handler"))
        if self._delivery.is_overfull:
            self._inbox.put(HandlerStuck())

    def answer(self, ticket: int, outcome: Outcome) -> None:
        """Hand over the answer to a request."""
        self._home.post(self._requests.answer, ticket, outcome)

    def end(self, termination: Termination | None) -> None:
        """Let the handler know that the call is over."""
        self.call.end(termination)
        self._home.post(self.call.tell_end)
        self._delivery.finish()

    async def part(self) -> None:
        """Wait until the handler is done; cancel it when its time is over, and leave it alone if it ignores that."""
        if await self._is_done_within(self._setup.grace_seconds):
            return
        self.cancel()
        if not await self._is_done_within(self._setup.grace_seconds):
            _log.warning(line("a handler does not end and is left alone", stream_sid=self.call.stream_sid))

    def cancel(self) -> None:
        """Ask the handler to end now."""
        if self._running is not None:
            self._home.cancel(self._running)

    def settle(self) -> int:
        """Let nobody wait any more; return how many bytes of audio the handler never took."""
        self._home.post(self._requests.forsake)
        return self._delivery.abandon()

    async def _handle(self) -> None:
        """Run the handler, on its loop, and tell the actor what became of it, whatever did."""
        has_failed = False
        try:
            has_failed = not await self._home.attempt(self._serve(), "handler", stream_sid=self.call.stream_sid)
        finally:
            self._post(HandlerDone(failed=has_failed, agent_lost=self._agent_lost))

    async def _serve(self) -> None:
        try:
            await self._setup.handler(self.call)
        except AgentError as error:  # the handler has done for the caller what could be done
            self._agent_lost = True
            _log.warning(line("agent lost", stream_sid=self.call.stream_sid, reason=error))
        else:
            self.call.finish_speaking()

    def finish(self) -> None:
        """Note that the handler is done."""
        self.is_done = True
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def _is_done_within(self, seconds: float) -> bool:
        if not self.is_done:
            self._done = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._done], timeout=seconds)
        return self.is_done


class _Accounts:
    """The numbers that a handler's thread reads; see `requests.Accounts`."""

    def __init__(self, session: Session, queue_seconds: float) -> None:
        self._session = session
        self.queue_bytes = round(queue_seconds * SAMPLE_RATE_HZ)

    @property
    def accepted_bytes(self) -> int:
        return self._session.ledger.accepted_bytes

    @property
    def queued_bytes(self) -> int:
        return self._session.queued_bytes
