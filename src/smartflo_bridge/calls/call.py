"""A call, from its handler's side: who calls, what the caller says and presses, and the verbs to answer with.

A handler is `async def answer(call)`. It iterates over the call's events, and plays, marks, interrupts and hangs up.
Every verb becomes a command in the call's inbox, in the order of asking; nothing here touches the session. All methods
are for the loop that the handler runs on.
"""

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable
from typing import Any, Protocol

from smartflo_bridge.calls.delivery import Delivery, Taker
from smartflo_bridge.calls.requests import Requests
from smartflo_bridge.calls.utterance import Encoding, Utterance
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.commands import HangUp, Interrupt, MuteRecording, PlaceMark
from smartflo_bridge.core.effects import HandlerEvent, InterruptOutcome, MarkOutcome, Termination
from smartflo_bridge.core.errors import CallEnded, HandlerError
from smartflo_bridge.core.incoming import DTMFEvent, StartEvent
from smartflo_bridge.core.ledger import Ledger

MAX_MARK_NAME = 64
"""Characters of a mark's name: short and ASCII, protocol.md, section 1."""


class LiveCalls(Protocol):
    """The registry, as a handler sees it. Safe to use from any thread."""

    def get(self, stream_sid: str) -> "Call | None":
        """Return the live call of a stream, or None."""
        ...

    def all(self) -> "list[Call]":
        """Return all live calls."""
        ...


class Call:
    """One call. Made by its actor when the platform's `start` has come.

    Attributes:
        stream_sid: the stream's id, unique among live calls.
        call_sid: the telephone call's id, which the platform's REST interface wants; None if it was not told.
        account_sid: the platform's account.
        from_number: the caller's number. Personal data: never log it.
        to_number: the number called.
        direction: `inbound` or `outbound`; None if it was not told.
        custom_parameters: what whoever placed the call handed over, flattened to strings. Not to be trusted.
        metadata: whatever the handler wants to keep about the call; `update_metadata` adds to it.
        live_calls: all calls that live now, this one among them.
        counters: the call's accounts so far, to be read only.
        termination: how the call ended; None while it lives.
    """

    def __init__(
        self,
        start: StartEvent,
        *,
        requests: Requests,
        delivery: Delivery,
        live_calls: LiveCalls,
        counters: Ledger,
        recent: bytearray,
    ) -> None:
        self.stream_sid = start.sid or ""
        self.call_sid = start.call_sid
        self.account_sid = start.details.account_sid
        self.from_number = start.from_number
        self.to_number = start.to_number
        self.direction = start.direction
        self.custom_parameters = start.custom_parameters
        self.metadata: dict[str, Any] = {}
        self.live_calls = live_calls
        self.counters = counters
        self.termination: Termination | None = None
        self._requests = requests
        self._delivery = delivery
        self._recent = recent
        self._utterance: Utterance | None = None
        self._sequence = itertools.count(1)
        self._parting: asyncio.Event | None = None  # once the handler waits for the end

    def __repr__(self) -> str:
        return f"<Call {self.stream_sid!r}>"

    # --- Listening

    def __aiter__(self) -> AsyncIterator[HandlerEvent]:
        return self._delivery

    def __anext__(self) -> Awaitable[HandlerEvent]:
        """Return the next event: `StartEvent` first, then media, dtmf, mark and stop. The iteration ends with the call.

        Raises:
            HandlerError: two tasks read the events at once.
        """
        return self._delivery.__anext__()

    async def attend(self, take: Taker) -> None:
        """Give each event to a function as it comes; return when that declines one, or when the call is over.

        What it declines, by returning False, is the next event again. For handlers of ours, which share the actor's loop: none of
        the turns that an iteration takes are taken there. The function is not to wait for anything.

        Raises:
            HandlerError: two tasks read the events at once.
            BridgeError: the function has raised it. What else it raises ends the call.
        """
        await self._delivery.attend(take)

    async def digits(
        self, count: int = 1, timeout_seconds: float = 5.0, terminator: str = "#", *, barge_in: bool = True
    ) -> str:
        """Collect keys; return them, without the terminator. Other events that come meanwhile are passed over.

        Args:
            count: return when so many have been pressed.
            timeout_seconds: return when no key is pressed for so long. The clock starts when the caller has heard what
                is queued now.
            terminator: a key that ends the entry; empty for none.
            barge_in: a key stops the speech that is playing.

        Raises:
            CallEnded: the call ended before the entry did.
        """
        pressed = ""
        loop = asyncio.get_running_loop()
        spoken = self.mark()
        is_asking = True
        try:
            async with asyncio.timeout(None) as limit:

                def restart_clock(_: object = None) -> None:
                    if is_asking and not limit.expired():
                        limit.reschedule(loop.time() + timeout_seconds)

                spoken.add_done_callback(restart_clock)
                try:
                    while len(pressed) < count:
                        digit = await self._next_digit()
                        if barge_in and not spoken.done():
                            self.interrupt()
                        if digit == terminator:
                            break
                        pressed += digit
                        if spoken.done():
                            restart_clock()
                finally:
                    is_asking = False  # the callback may be on its way already
        except TimeoutError:
            pass
        return pressed

    async def _next_digit(self) -> str:
        async for event in self:
            if isinstance(event, DTMFEvent):
                return event.digit
        msg = "the call ended while digits were awaited"
        raise CallEnded(msg)

    @property
    def recent_audio(self) -> bytes:
        """The last second or so of what the caller said, mu-law; `recent-audio-seconds` in the configuration."""
        return bytes(self._recent)

    # --- Speaking

    async def play(
        self, audio: bytes | AsyncIterable[bytes], rate_hz: int = SAMPLE_RATE_HZ, encoding: Encoding = "pcm"
    ) -> bool:
        """Queue audio behind what is queued; return False if an interrupt cut it off before all of it was queued.

        Returns when the audio is queued, not when it has been heard: await a `mark` for that. Waits while the queue is
        full. Consecutive calls with the same rate are one utterance: pieces may be cut anywhere.

        Args:
            audio: bytes, or something that yields them, such as a speech service's stream.
            rate_hz: of PCM; other rates than 8000 Hz need `smartflo-bridge[resample]`.
            encoding: `pcm` is PCM16, little-endian, mono; `ulaw` is mu-law at 8000 Hz.

        Raises:
            CallEnded: the call is over.
            HandlerError: a rate or encoding that cannot be played.
        """
        utterance = self._utterance
        if utterance is None or not utterance.goes_on_with(rate_hz, encoding):
            utterance = self._begin(rate_hz, encoding)
        if isinstance(audio, bytes) or not isinstance(audio, AsyncIterable):  # an ABC is slow to ask
            left = utterance.offer(audio)
            return left is None or await utterance.enqueue(left)
        async for piece in audio:
            if not await utterance.play(piece):
                return False
        return True

    def utterance(self, rate_hz: int = SAMPLE_RATE_HZ, encoding: Encoding = "pcm") -> Utterance:
        """Begin an utterance to be fed by another task: after an interrupt, what that task still feeds is dropped."""
        self._end_utterance()
        return Utterance(self._requests, rate_hz, encoding)

    def mark(self, name: str | None = None) -> "asyncio.Future[MarkOutcome]":
        """Name the point after all audio queued so far; await it to learn when, and whether, it was played.

        The name on the wire is this one, with a number behind it where it is in use already.

        Raises:
            CallEnded: the call is over.
            HandlerError: a name that is not short printable ASCII.
        """
        if name is not None and not (0 < len(name) <= MAX_MARK_NAME and name.isascii() and name.isprintable()):
            msg = f"a mark's name is 1 to {MAX_MARK_NAME} printable ASCII characters, not {name!r}"
            raise HandlerError(msg)
        self._end_utterance()
        return self._requests.ask(lambda ticket: PlaceMark(ticket, name))

    def interrupt(self) -> "asyncio.Future[InterruptOutcome]":
        """Stop speaking at once: drop what is queued, clear what the platform holds. Await it to learn what was heard.

        Raises:
            CallEnded: the call is over.
        """
        outcome = self._requests.ask(Interrupt)
        self._requests.epoch += 1
        self._utterance = None
        return outcome

    async def hang_up(self) -> None:
        """End the call when what is queued has been heard; return when the call is over."""
        if self._requests.are_over:
            return
        self._end_utterance()
        self._requests.post(HangUp())
        self._parting = self._parting or asyncio.Event()
        await self._parting.wait()

    # --- Keeping

    def next_sequence(self) -> int:
        """Return 1, then 2, ...: a number for whatever the handler wants to tell apart within the call."""
        return next(self._sequence)

    def update_metadata(self, **values: object) -> None:
        """Keep something about the call."""
        self.metadata.update(values)

    def mute_recording(self) -> None:
        """Keep both voices and all keys out of recordings and captures until `unmute_recording`: for card numbers and the like.

        What is said from now on is silence in them, and so is what is played meanwhile, even if it is heard later; a key has
        no digit. It takes its place among the call's other commands: after the audio queued before it, before that queued
        after it. The handler itself still has everything.

        Raises:
            CallEnded: the call is over.
        """
        self._requests.post(MuteRecording(is_muted=True))

    def unmute_recording(self) -> None:
        """Let recordings and captures have both voices and the keys again, from now on.

        Raises:
            CallEnded: the call is over.
        """
        self._requests.post(MuteRecording(is_muted=False))

    # --- For the actor

    def finish_speaking(self) -> None:
        """Queue the last of the resampler's audio: the handler has returned."""
        self._end_utterance()

    def end(self, termination: Termination | None) -> None:
        """Let nothing more be asked: the call is over. From any thread: a handler that reads on without a pause is to see it."""
        self.termination = termination
        self._requests.end()

    def tell_end(self) -> None:
        """Wake who waits for the end. Runs on the handler's loop."""
        if self._parting is not None:
            self._parting.set()

    def _begin(self, rate_hz: int, encoding: Encoding) -> Utterance:
        self._end_utterance()
        self._utterance = Utterance(self._requests, rate_hz, encoding)
        return self._utterance

    def _end_utterance(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None
