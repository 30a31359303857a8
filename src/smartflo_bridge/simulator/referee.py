"""The referee: watches one call from the platform's side and names every rule that the far end broke. Pure.

It knows what the line knows, message by message, and no connection; it works against anything that speaks the protocol.
What a message is to blame for is found as it arrives, gaps a moment later, the speech's rate and the closing at the end.
`rules` says what the rules are, `checks` how each matter is looked at.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.simulator.arrivals import Arrival
from smartflo_bridge.simulator.checks.closing import Closing, judge_closing
from smartflo_bridge.simulator.checks.faults import explain
from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.checks.gaps import GapCheck, GapTally
from smartflo_bridge.simulator.checks.marks import MarkCheck
from smartflo_bridge.simulator.checks.rate import SpeechSample
from smartflo_bridge.simulator.checks.sound import SoundCheck
from smartflo_bridge.simulator.checks.stale import StaleCheck
from smartflo_bridge.simulator.progress import Cleared, FaultSeen, FirstAudio, LineProgress, MarkEchoed, MarkPlaced
from smartflo_bridge.simulator.rules import Fault, Rule, Violation

KEPT_PER_RULE = 20
"""Violations of one rule that are kept and shown; more are only counted."""

_UNPLAYED = {Fault.UNKNOWN_STREAM_SID, Fault.SENT_AFTER_STOP, Fault.BUFFER_OVERFLOW, Fault.MALFORMED_MESSAGE}


class RefereeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform puts up with, where the protocol gives no number.

    Attributes:
        buffer_seconds: audio that may be sent ahead of real time. The platform's own is unpublished; this is the most
            that our bridge can be set to, so that what works here works there.
        answer_seconds: in which the far end must have said something.
        close_seconds: in which it must have closed after `stop`.
        is_strict: audio after a clear is told apart by watermarks, where there are any.
        judges_rate: the speech's rate is judged too. That takes some 0.2 s of computing when the call is over, so it is not
            for calls that share their loop with others.
    """

    buffer_seconds: float = 2.0
    answer_seconds: float = 10.0
    close_seconds: float = 5.0
    is_strict: bool = False
    judges_rate: bool = False


class Referee:
    """Judges one call. All times are the call's: seconds since `start`, and never go back.

    Attributes:
        violations: of each rule the first `KEPT_PER_RULE`, in the order in which they were found.
        broken: how often each rule was broken.
    """

    def __init__(self, settings: RefereeSettings) -> None:
        self.violations: list[Violation] = []
        self.broken: Counter[Rule] = Counter()
        self._settings = settings
        self._gaps = GapCheck()
        self._marks = MarkCheck()
        self._sound = SoundCheck()
        self._stale = StaleCheck(reads_watermarks=settings.is_strict)
        self._speech = SpeechSample()
        self._awaits_answer = True
        self._is_in_burst = False
        self._is_stopped = False
        self._is_disturbed = False

    @property
    def gap_tallies(self) -> tuple[GapTally, ...]:
        """What was heard at each jitter buffer."""
        return tuple(self._gaps.tallies)

    @property
    def lateness_ms(self) -> dict[int, int]:
        """How far messages came behind the steadiest pace of their utterance, in whole ms: how many."""
        return dict(self._gaps.lateness_ms)

    @property
    def watermarks_seen(self) -> int:
        """Frames with a watermark; none unless strict."""
        return self._stale.watermarks_seen

    def hear(
        self, arrival: Arrival, progress: Sequence[LineProgress], now: float, buffered_bytes: int = 0
    ) -> list[Violation]:
        """Take one message, and what the line made of it: its progress, and how much audio it holds now."""
        findings: list[Finding] = []
        faults = {one.fault for one in progress if isinstance(one, FaultSeen)}
        for one in progress:
            findings += self._watch(one, arrival)
        if arrival.ulaw and not faults & _UNPLAYED and not self._is_stopped:
            findings += self._listen(arrival.ulaw, now, buffered_bytes)
        return self._record([(now, finding) for finding in findings], arrival.shown if findings else "")

    def advance(
        self, progress: Sequence[LineProgress], now: float, stalled: Callable[[float, float], float]
    ) -> list[Violation]:
        """Let time pass. `stalled` says for how long, between two times, our own loop did not run."""
        for one in progress:
            self._watch(one, None)
        violations = self._record(self._gaps.settle(now, stalled))
        is_late = self._awaits_answer and now >= self._settings.answer_seconds
        if is_late and not self._is_stopped and not self._is_disturbed:
            self._awaits_answer = False
            text = f"no audio within {self._settings.answer_seconds:g} s"
            violations += self._record([(now, Finding(Rule.NO_ANSWER, text))])
        return violations

    def disturb(self) -> None:
        """The platform itself reads badly from now on: when audio arrives says nothing about the far end any more."""
        self._is_disturbed = True

    def stop(self) -> None:
        """The platform has said that the stream is over: what comes now is not played."""
        self._is_stopped = True

    def finish(self, closing: Closing, stalled: Callable[[float, float], float]) -> list[Violation]:
        """Judge what only the whole call shows."""
        violations = self._record(self._gaps.settle(float("inf"), stalled))
        found = judge_closing(closing, self._settings.close_seconds)
        if self._settings.judges_rate and not self.broken[Rule.PCM_AS_ULAW]:
            found += self._speech.judge()
        return violations + self._record([(closing.at_seconds, finding) for finding in found])

    def _watch(self, progress: LineProgress, arrival: Arrival | None) -> list[Finding]:
        match progress:
            case FaultSeen(fault=fault) if arrival:
                return [explain(fault, arrival)]
            case FirstAudio():
                self._awaits_answer = False
            case MarkPlaced(name=name):
                self._gaps.end_utterance()
                return self._marks.place(name)
            case MarkEchoed(name=name):
                self._marks.echo(name)
            case Cleared(at_seconds=now):
                self._marks.clear()
                self._stale.clear(now)
                self._gaps.clear(now)
                self._is_in_burst = False
            case _:
                pass
        return []

    def _listen(self, ulaw: bytes, now: float, buffered_bytes: int) -> list[Finding]:
        findings = self._sound.hear(ulaw)
        if self._settings.judges_rate:
            self._speech.hear(ulaw)
        if self._is_disturbed:
            return findings
        findings += self._stale.hear(ulaw, now)
        self._gaps.play(ulaw, now)
        ahead_seconds = buffered_bytes / SAMPLE_RATE_HZ
        was_in_burst, self._is_in_burst = self._is_in_burst, ahead_seconds > self._settings.buffer_seconds
        if self._is_in_burst and not was_in_burst:
            text = f"more than {self._settings.buffer_seconds:g} s of audio sent ahead of real time"
            findings.append(Finding(Rule.BURST, text))
        return findings

    def _record(self, found: list[tuple[float, Finding]], message: str = "") -> list[Violation]:
        """Count what was found; return and keep what is not too much of one kind."""
        violations = []
        for at_seconds, finding in found:
            self.broken[finding.rule] += 1
            if self.broken[finding.rule] <= KEPT_PER_RULE:
                violations.append(Violation(at_seconds, finding.rule, finding.detail, message))
        self.violations += violations
        return violations
