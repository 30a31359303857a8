"""Decides the expectations of a scenario from what was observed: met, not met, or not yet known. Pure; the script asks.

An expectation that is late is waited for a little longer, so that a failure can say how late.
"""

import math
from typing import assert_never

import msgspec

from smartflo_bridge.simulator import steps
from smartflo_bridge.simulator.observed import Observed
from smartflo_bridge.simulator.steps import Expectation, Since

MEASURING_SECONDS = 2.0
"""How much longer than allowed something may take and still be measured."""

DETECTION_SECONDS = 0.1
"""So late the beginning of speech is known at most: a few windows of the detector, and one of the script's questions."""

HINDSIGHT_SECONDS = 0.6
"""So late its end is known at most."""


class Verdict(msgspec.Struct, frozen=True):
    """A step is over, as of a time, and has passed or failed."""

    has_passed: bool
    detail: str
    at_seconds: float


def passed(detail: str, at_seconds: float) -> Verdict:
    """Say that a step has done or got what it wanted."""
    return Verdict(has_passed=True, detail=detail, at_seconds=at_seconds)


def failed(detail: str, at_seconds: float) -> Verdict:
    """Say that a step has not."""
    return Verdict(has_passed=False, detail=detail, at_seconds=at_seconds)


class Facts:
    """What expectations count from.

    Attributes:
        observed: the far end's behaviour.
        since: when the step before was over.
        moments: when the caller last talked over, pressed, hung up.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.since = 0.0
        self.moments: dict[Since, float] = {}
        self._marks_used = 0
        self._clears_used = 0

    def moment(self, since: Since | None) -> float:
        """Return the time from which something counts; one that never came counts from the step before."""
        return self.since if since is None else self.moments.get(since, self.since)

    def next_mark(self, name: str | None) -> float | None:
        """Return when the caller heard up to the next mark (of that name), and use it up."""
        for index, mark in enumerate(self.observed.marks[self._marks_used :], self._marks_used + 1):
            if name in (None, mark.name):
                self._marks_used = index
                return mark.at_seconds
        return None

    def next_clear(self, since: float | None = None) -> float | None:
        """Return when the far end cleared next (not before `since`), and use it up."""
        for index, at in enumerate(self.observed.clears[self._clears_used :], self._clears_used + 1):
            if since is None or at >= since:
                self._clears_used = index
                return at
        return None


def judge(expectation: Expectation, facts: Facts, now: float) -> Verdict | None:
    """Return what is to be said of an expectation by now; None if that is not known yet."""
    seen = facts.observed
    match expectation:
        case steps.ExpectFirstAudio(within_seconds=within):
            return _timed("first audio", 0.0, seen.first_audio_seconds, within, now)
        case steps.ExpectSpeech(within_seconds=within):
            start = facts.moment(expectation.since)
            return _timed("speech", start, seen.speech_after(start), within, now - DETECTION_SECONDS)
        case steps.ExpectSilence(within_seconds=within):
            start = facts.moment(expectation.since)
            at = seen.silence_after(start) if now >= start + DETECTION_SECONDS else None
            return _timed("silence", start, at, within, now - HINDSIGHT_SECONDS)
        case steps.ExpectQuiet(seconds=seconds):
            return _quiet(facts, seconds, now)
        case steps.ExpectMark(within_seconds=within, name=name):
            return _timed(f"mark {name}" if name else "mark", facts.since, facts.next_mark(name), within, now)
        case steps.ExpectClear(within_seconds=within, since=since):
            start = facts.moment(since)
            return _timed("clear", start, facts.next_clear(start if since else None), within, now)
        case steps.ExpectClose():
            return _close(expectation, facts, now)
        case _:
            assert_never(expectation)


def _timed(what: str, start: float, at: float | None, within: float, now: float) -> Verdict | None:
    """Judge something that is to happen within so long of a start."""
    if at is not None:
        took_ms = max(0, round(1000 * (at - start)))
        return Verdict(took_ms <= round(1000 * within), f"{what} after {took_ms} ms", at)
    if now == math.inf:
        return failed(f"no {what} before the call was over", start)
    last = within + MEASURING_SECONDS
    return None if now < start + last else failed(f"no {what}, not even within {last:g} s", start + last)


def _quiet(facts: Facts, seconds: float, now: float) -> Verdict | None:
    start, end = facts.since, facts.since + seconds
    spoke_at = facts.observed.speech_after(start)
    if spoke_at is not None and spoke_at < end:
        return failed(f"speech after {1000 * (spoke_at - start):.0f} ms", spoke_at)
    return None if now < end + DETECTION_SECONDS else passed("no speech", end)


def _close(expectation: steps.ExpectClose, facts: Facts, now: float) -> Verdict | None:
    closed, start = facts.observed.closed, facts.since
    if closed is None:
        if now < start + expectation.within_seconds:
            return None
        return failed("still open", start + expectation.within_seconds)
    took = closed.at_seconds - start
    is_in_time = took <= expectation.within_seconds
    has_passed = is_in_time and expectation.code in (None, closed.code)
    return Verdict(has_passed, f"closed {closed.words} after {1000 * max(took, 0):.0f} ms", closed.at_seconds)
