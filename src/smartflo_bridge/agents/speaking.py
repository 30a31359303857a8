"""The service's speech on its way to the caller: judged, brought to mu-law, queued, marked, interrupted, and accounted for.

Positions are counted in mu-law bytes since the last interrupt, by item, so that the service can be told exactly how much
of each was heard. Speech is queued in whole frames and what is left waits for more: a service that places a mark behind
every piece of speech, as Twilio's examples do, would otherwise put a bit of silence in front of each.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from smartflo_bridge.agents.events import Speech
from smartflo_bridge.agents.formats import ULAW_8K, AudioFormat, FormatJudge
from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.rates import RateConverter, rate_converter
from smartflo_bridge.calls.utterance import Utterance
from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ, pcm_to_ulaw
from smartflo_bridge.core.effects import InterruptOutcome, MarkOutcome
from smartflo_bridge.core.errors import CallEnded
from smartflo_bridge.log import line

PIECE_BYTES = SAMPLE_RATE_HZ // 2
"""Queued at once, at most: an interrupt between two pieces finds each either queued or not."""

REST_SECONDS = 0.1
"""How long a remainder below a frame waits for more speech, or a mark, before it is queued as it is."""

SLACK_SECONDS = 0.5
"""So long after the end of what was queued it may still be playing: the lead, and the way to the caller."""

MAX_ITEMS = 256
"""Items accounted for at once; older ones have been heard long ago, the queue being shorter."""

_log = logging.getLogger(__name__)


class Heard(msgspec.Struct, frozen=True):
    """How much of an item the caller heard before an interrupt, in ms."""

    item: str
    heard_ms: int


class _Queued(msgspec.Struct):
    item: str
    byte_count: int


class Speaking:
    """All speech of one call's leg, over all its connections."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._utterance: Utterance | None = None
        self._items: list[_Queued] = []
        self._plays_until = self._loop.time()
        self._open_marks = 0
        self._rest = b""
        self._rest_item = ""
        self._offset = 0  # bytes queued of an unfinished frame
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False
        self._is_finished = False
        self.is_waiting = False
        self.spoken_bytes = 0
        self.expect(ULAW_8K)

    @property
    def is_heard(self) -> bool:
        """True while the caller may still hear what was queued, or somebody waits to be told that it was."""
        return self.is_waiting or self._open_marks > 0 or self.silent_seconds < SLACK_SECONDS

    @property
    def silent_seconds(self) -> float:
        """How long the caller has heard nothing, by the length of what was queued; negative while it plays."""
        return self._loop.time() - self._plays_until

    def expect(self, speaks: AudioFormat) -> None:
        """Begin with a connection: its speech will be in this format.

        Raises:
            HandlerError: the format's rate needs numpy, which is not installed.
        """
        self._judge = FormatJudge(speaks)
        self._convert_from(speaks)

    def forget_items(self) -> None:
        """Let no connection be told of what was said on another: it knows none of those items."""
        for queued in self._items:
            queued.item = ""
        self._rest_item = ""

    def take_heard_ms(self) -> int:
        """Return how much was heard since the last interrupt, in ms, and count anew: all of it, for nothing plays any more."""
        heard, self._items = sum(queued.byte_count for queued in self._items), []
        return heard // BYTES_PER_MS

    async def play(self, speech: Speech) -> None:
        """Queue speech, waiting while the queue is full. What is interrupted meanwhile is dropped.

        Raises:
            AgentError: it is in another format than agreed.
            CallEnded: the call is over.
        """
        self._is_finished = False
        audio = self._judge.feed(speech.audio)
        if self._judge.format != self._format:
            self._convert_from(self._judge.format)
        if self._judge.correction and not self._is_told:
            self._is_told = True
            _log.warning(line("the agent's speech", stream_sid=self._call.stream_sid, note=self._judge.correction))
        await self._queue(speech.item, self._to_ulaw(audio))
        if self._rest and self._timer is None:
            self._timer = self._loop.call_later(REST_SECONDS, self._rest_is_due)

    async def say(self, ulaw: bytes) -> None:
        """Queue a prompt of our own."""
        self.flush()
        await self._queue("", ulaw)
        self.flush()

    def finish(self) -> None:
        """Queue what is still held back: the agent has said all of it."""
        self._is_finished = True
        held = self._to_ulaw(self._judge.finish())
        flushed = pcm_to_ulaw(self._converter.flush()) if self._converter is not None else b""
        self._rest += held + flushed
        self.flush()

    def flush(self) -> None:
        """Queue the remainder below a frame as it is."""
        rest, self._rest = self._rest, b""
        if rest:
            self._current().add(rest)
            self._account(self._rest_item, rest)
            self._offset = (self._offset + len(rest)) % FRAME_BYTES

    def mark(self, name: str, then: Callable[[MarkOutcome | None], None]) -> None:
        """Have `then` called when the caller has heard all whole frames so far; None if nobody will ever know.

        Raises:
            CallEnded: the call is over.
        """
        is_fit = 0 < len(name) <= 64 and name.isascii() and name.isprintable()
        outcome = self._call.mark(name if is_fit else None)
        self._open_marks += 1
        outcome.add_done_callback(lambda done: self._is_marked(done, then))
        self.flush()

    def interrupt(self, then: Callable[[list[Heard], int], None]) -> None:
        """Stop speaking at once; `then` is given what was not heard to its end, and how many ms were heard.

        Raises:
            CallEnded: the call is over.
        """
        outcome = self._call.interrupt()
        is_whole = self._is_finished
        items, self._items = self._items, []
        self._utterance, self._rest, self._offset = None, b"", 0
        self._judge.finish()
        if self._format.encoding == "pcm":
            self._convert_from(self._format)
        self._plays_until = self._loop.time()
        outcome.add_done_callback(lambda done: _tell(done, items, then, is_whole=is_whole))

    # --- Inside

    def _convert_from(self, speaks: AudioFormat) -> None:
        self._format = speaks
        self._converter: RateConverter | None = rate_converter(speaks.rate_hz) if speaks.encoding == "pcm" else None

    def _to_ulaw(self, audio: bytes) -> bytes:
        return audio if self._converter is None else pcm_to_ulaw(self._converter.convert(audio))

    def _current(self) -> Utterance:
        if self._utterance is None or self._utterance.is_interrupted:
            self._utterance = self._call.utterance(encoding="ulaw")
        return self._utterance

    async def _queue(self, item: str, ulaw: bytes) -> None:
        """Queue whole frames of it; what is left waits."""
        self._rest += ulaw
        self._rest_item = item
        whole = (self._offset + len(self._rest)) // FRAME_BYTES * FRAME_BYTES - self._offset
        if whole <= 0:
            return
        ready, self._rest, self._offset = self._rest[:whole], self._rest[whole:], 0
        utterance = self._current()
        for start in range(0, whole, PIECE_BYTES):
            piece = ready[start : start + PIECE_BYTES]
            self.is_waiting = True
            try:
                is_queued = await utterance.play(piece)
            finally:
                self.is_waiting = False
            if not is_queued:
                return
            self._account(item, piece)

    def _account(self, item: str, ulaw: bytes) -> None:
        self.spoken_bytes += len(ulaw)
        self._plays_until = max(self._plays_until, self._loop.time()) + len(ulaw) / SAMPLE_RATE_HZ
        if self._items and self._items[-1].item == item:
            self._items[-1].byte_count += len(ulaw)
        else:
            self._items.append(_Queued(item, len(ulaw)))
            del self._items[:-MAX_ITEMS]

    def _rest_is_due(self) -> None:
        self._timer = None
        with suppress(CallEnded):
            self.flush()

    def _is_marked(self, done: "asyncio.Future[MarkOutcome]", then: Callable[[MarkOutcome | None], None]) -> None:
        self._open_marks -= 1
        then(None if done.cancelled() or done.exception() else done.result())


def _tell(
    done: "asyncio.Future[InterruptOutcome]",
    items: list[_Queued],
    then: Callable[[list[Heard], int], None],
    *,
    is_whole: bool,
) -> None:
    """Find out from the end how much of each item was heard: what was queued last is what was not.

    An item that is not whole is told of even if all that came of it was heard: the service has made more.
    """
    if done.cancelled() or done.exception():
        return
    unheard = done.result().unheard_ms * BYTES_PER_MS
    heard_ms = max(sum(queued.byte_count for queued in items) - unheard, 0) // BYTES_PER_MS
    cut: list[Heard] = []
    while items and (unheard > 0 or not (is_whole or cut)):
        queued = items.pop()
        cut.append(Heard(queued.item, max(queued.byte_count - unheard, 0) // BYTES_PER_MS))
        unheard -= queued.byte_count
    then(cut[::-1], heard_ms)
