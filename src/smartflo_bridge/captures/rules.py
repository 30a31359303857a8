"""The rules that a captured call broke, on either side: what its picture warns of.

Ours are the far end's rules of `simulator.rules`, judged by the simulator's referee (`OurRules`), so what a capture is blamed
for is what `smartflo-bridge call` would have blamed the bridge for. The platform's are judged here (`PlatformRules`). Both are
folds beside `transcript`, message by message; a `Finding` is what both make of a broken rule.
"""

from collections import Counter
from enum import StrEnum

import msgspec

from smartflo_bridge.core import incoming
from smartflo_bridge.simulator.arrivals import arrival_of
from smartflo_bridge.simulator.checks.closing import Closing
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import EndedBy, LineProgress, MarkEchoed
from smartflo_bridge.simulator.referee import KEPT_PER_RULE, Referee, RefereeSettings
from smartflo_bridge.simulator.rules import PROTOCOL_PAGE, Violation


class Culprit(StrEnum):
    """Who broke a rule."""

    US = "us"
    PLATFORM = "platform"


class PlatformRule(StrEnum):
    """A rule of the wire for the platform."""

    MALFORMED = "malformed"
    UNKNOWN_EVENT = "unknown_event"
    BEFORE_START = "before_start"
    AFTER_STOP = "after_stop"
    SECOND_START = "second_start"
    NO_STREAM_SID = "no_stream_sid"
    STREAM_SID_MISMATCH = "stream_sid_mismatch"
    FOREIGN_STREAM = "foreign_stream"
    MEDIA_FORMAT = "media_format"
    EMPTY_PAYLOAD = "empty_payload"
    UNKNOWN_MARK = "unknown_mark"


PLATFORM_RULES: dict[PlatformRule, tuple[str, str]] = {
    PlatformRule.MALFORMED: ("messages", "sent a malformed message"),
    PlatformRule.UNKNOWN_EVENT: ("from-the-platform", "sent an event of unknown type"),
    PlatformRule.BEFORE_START: ("the-order-of-things", "sent a message before the start"),
    PlatformRule.AFTER_STOP: ("the-order-of-things", "sent a message after the stop"),
    PlatformRule.SECOND_START: ("the-order-of-things", "sent a start of another stream"),
    PlatformRule.NO_STREAM_SID: ("from-the-platform", "sent a start that names no stream"),
    PlatformRule.STREAM_SID_MISMATCH: ("from-the-platform", "sent a start that names two streams"),
    PlatformRule.FOREIGN_STREAM: ("the-order-of-things", "sent a message for another stream"),
    PlatformRule.MEDIA_FORMAT: ("audio", "announced other audio than mu-law at 8000 Hz"),
    PlatformRule.EMPTY_PAYLOAD: ("from-the-platform", "sent an empty payload"),
    PlatformRule.UNKNOWN_MARK: ("mark-and-clear", "echoed a mark that was not open"),
}
"""Where docs/protocol.md has each, and what the platform did."""


class Finding(msgspec.Struct, frozen=True):
    """A broken rule: in words, when in seconds since the connection was accepted, and where docs/protocol.md has it.

    `message` is the index of the offending message in what was said; None for one of audio, or where none is to blame.
    """

    at_seconds: float
    culprit: Culprit
    rule: str
    text: str
    place: str
    message: int | None = None


class PlatformRules:
    """Judges what the platform sends.

    Attributes:
        findings: of each rule the first `KEPT_PER_RULE`, in the order of the messages.
        broken: how often each rule was broken.
        sequence_gaps: counted, and no fault.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.broken: Counter[str] = Counter()
        self.sequence_gaps = 0
        self._start: incoming.StartEvent | None = None
        self._is_stopped = False
        self._last_sequence: int | None = None

    def hear(self, at_ns: int, event: incoming.IncomingEvent, message: int | None = None) -> None:
        """Judge an event."""
        match event:
            case incoming.UnknownEvent():
                self._blame(at_ns, PlatformRule.UNKNOWN_EVENT, message)
                return
            case incoming.ConnectedEvent():
                return
            case incoming.StartEvent():
                self._hear_start(at_ns, event, message)
            case _ if self._start is None:
                self._blame(at_ns, PlatformRule.BEFORE_START, message)
            case _ if self._is_stopped:
                self._blame(at_ns, PlatformRule.AFTER_STOP, message)
            case _ if event.stream_sid not in self._start.sids:
                self._blame(at_ns, PlatformRule.FOREIGN_STREAM, message)
            case incoming.MediaEvent() if not event.ulaw:
                self._blame(at_ns, PlatformRule.EMPTY_PAYLOAD, message)
            case incoming.StopEvent():
                self._is_stopped = True
            case _:
                pass
        self._note_sequence(event.sequence_number)

    def hear_malformed(self, at_ns: int, reason: str, message: int) -> None:
        """Take note of a message that cannot be parsed; the reason quotes nothing of it."""
        self._blame(at_ns, PlatformRule.MALFORMED, message, reason.removeprefix("malformed message"))

    def hear_unknown_mark(self, at_ns: int, message: int) -> None:
        """Take note of an echo that no mark awaits."""
        self._blame(at_ns, PlatformRule.UNKNOWN_MARK, message)

    def _hear_start(self, at_ns: int, event: incoming.StartEvent, message: int | None) -> None:
        if self._start is not None:
            if event.sid != self._start.sid:
                self._blame(at_ns, PlatformRule.SECOND_START, message)
            return
        self._start = event
        if event.sid is None:
            self._blame(at_ns, PlatformRule.NO_STREAM_SID, message)
        if event.sids_differ:
            self._blame(at_ns, PlatformRule.STREAM_SID_MISMATCH, message)
        media_format = event.details.media_format
        if media_format is not None and not media_format.is_ulaw_8k:
            self._blame(at_ns, PlatformRule.MEDIA_FORMAT, message)

    def _note_sequence(self, number: int | str | None) -> None:
        sequence = int(number) if isinstance(number, int) or (number is not None and number.isdecimal()) else None
        if sequence is None:
            return
        if self._last_sequence is not None and sequence != self._last_sequence + 1:
            self.sequence_gaps += 1
        self._last_sequence = sequence

    def _blame(self, at_ns: int, rule: PlatformRule, message: int | None, more: str = "") -> None:
        self.broken[rule] += 1
        if self.broken[rule] <= KEPT_PER_RULE:
            section, words = PLATFORM_RULES[rule]
            text, place = f"the platform {words}{more}", f"{PROTOCOL_PAGE}#{section}"
            self.findings.append(Finding(at_ns / 1e9, Culprit.PLATFORM, rule, text, place, message))


class OurRules:
    """Has the referee judge what we send: as a platform would have met it that takes no time to reach.

    What only the platform sees is not judged: whether the connection was closed in time, and how, if it was not we who
    closed it.

    Attributes:
        findings: in the order in which they were found.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._referee = Referee(RefereeSettings(judges_rate=True))
        self._line: Line | None = None
        self._started_ns = 0

    @property
    def broken(self) -> Counter[str]:
        """How often each rule was broken."""
        return Counter({str(rule): number for rule, number in self._referee.broken.items()})

    def start(self, at_ns: int, stream_sid: str) -> None:
        """The stream begins, and with it the time that the referee knows."""
        self._started_ns = at_ns
        self._line = Line(stream_sid, keeps_audio=False)

    def say(self, at_ns: int, text: bytes, message: int | None) -> None:
        """Judge a message of ours."""
        arrival = arrival_of(text.decode(errors="replace"))
        if self._line is None:
            early = Line("").take_early(arrival, 0.0)
            self._keep(self._referee.hear(arrival, early, 0.0), message, at_seconds=at_ns / 1e9)
            return
        now = self._now(at_ns)
        progress = self._line.take(arrival, now)
        self._keep(self._referee.hear(arrival, _without_echoes(progress), now, self._line.buffered_bytes), message)

    def echo(self, at_ns: int, name: str) -> None:
        """The platform has echoed a mark that was open: what counts is its own echo, and not when the line expects it."""
        now = self._now(at_ns)
        self._referee.advance([MarkEchoed(now, name)], now, _never)

    def advance(self, at_ns: int) -> None:
        """Let time pass: nobody's loop but ours can have stalled."""
        if self._line is not None:
            now = self._now(at_ns)
            self._keep(self._referee.advance(_without_echoes(self._line.advance(now)), now, _never))

    def stop(self, at_ns: int) -> None:
        """The platform has said that the stream is over."""
        if self._line is not None:
            self._line.stop(self._now(at_ns))
            self._referee.stop()

    def end(self, at_ns: int, our_code: int | None) -> None:
        """Judge the call as a whole; `our_code` is the one that we closed with, None if the platform closed, or it is unknown."""
        code = our_code if self._line else None
        ending = Ending.DROP if code is None else None
        closing = Closing(at_seconds=self._now(at_ns), ended_by=EndedBy.BRIDGE, ending=ending, code=code)
        self._keep(self._referee.finish(closing, _never))

    def _now(self, at_ns: int) -> float:
        return (at_ns - self._started_ns) / 1e9

    def _keep(self, found: list[Violation], message: int | None = None, *, at_seconds: float | None = None) -> None:
        for one in found:
            at = self._started_ns / 1e9 + one.at_seconds if at_seconds is None else at_seconds
            self.findings.append(Finding(at, Culprit.US, one.rule, f"our side: {one.detail}", one.place, message))


def _without_echoes(progress: list[LineProgress]) -> list[LineProgress]:
    return [one for one in progress if not isinstance(one, MarkEchoed)]


def _never(_: float, __: float) -> float:
    return 0.0
