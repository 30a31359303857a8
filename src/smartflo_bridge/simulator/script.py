"""Carries out the steps of a scenario: tells the caller what to do, and keeps what became of each step. Pure.

`observed` is fed with what the line plays and tells; `advance(now)` returns what the caller is to do, one step
after the other. A wait that is in vain ends the call, because what follows would mean nothing; an expectation that is not
met is noted, and the call goes on.
"""

import math

from smartflo_bridge.core.audio import duration_seconds
from smartflo_bridge.simulator import plan, steps
from smartflo_bridge.simulator.expecting import DETECTION_SECONDS, Facts, Verdict, failed, judge, passed
from smartflo_bridge.simulator.observed import Closed, Observed
from smartflo_bridge.simulator.steps import Since, Step, StepOutcome

KEY_SECONDS = 0.25
"""Between two keys: a brisk finger, and longer than the 40 ms tone and 40 ms pause of ITU-T Q.24."""

ASKING_SECONDS = 0.02
"""How often a script wants to know what was heard: one frame."""


Waiting = steps.Wait | steps.TalkOver


class Script:
    """One scenario being played. `outcomes` has an entry for each step that is over, in order."""

    def __init__(self, wanted: tuple[Step, ...]) -> None:
        self.outcomes: list[StepOutcome] = []
        self.observed = Observed()
        self._steps = wanted
        self._entered_at: float | None = None
        self._ends_at = 0.0
        self._facts = Facts(self.observed)
        self._mouth_free_at = 0.0
        self._has_hung_up = False
        self._actions: list[plan.Action] = []

    @property
    def is_over(self) -> bool:
        """True when every step is over."""
        return len(self.outcomes) == len(self._steps)

    def advance(self, now: float) -> list[plan.Action]:
        """Go on as far as can be by now; return what is to be done."""
        while not self.is_over:
            step = self._steps[len(self.outcomes)]
            if self._entered_at is None:
                self._entered_at = self._ends_at = now
                self._enter(step, now)
            verdict = self._judge(step, now, self._entered_at)
            if verdict is None:
                break
            self._conclude(step, verdict)
            if isinstance(step, Waiting) and not verdict.has_passed:
                self._skip_rest(now, "the wait before was in vain")
        if self.is_over and not self._has_hung_up:
            self._do(plan.HangUp(now))
        actions, self._actions = self._actions, []
        return actions

    def end(self, now: float, closed: Closed | None) -> None:
        """The call is over: decide the rest. `closed` None: the far end was waited for, and did not close."""
        self.observed.closed = closed
        self._has_hung_up = True
        while not self.is_over:
            step = self._steps[len(self.outcomes)]
            verdict = judge(step, self._facts, math.inf) if isinstance(step, steps.Expectation) else None
            if verdict is None:
                self._skip_rest(now, f"the call was over, closed {closed.words}" if closed else "the call was over")
            else:
                self._conclude(step, verdict)

    def _enter(self, step: Step, now: float) -> None:
        match step:
            case steps.Say(ulaw=ulaw):
                self._ends_at = self._speak(ulaw, now) + duration_seconds(len(ulaw))
            case steps.Pause(seconds=seconds):
                self._ends_at = self._facts.since + seconds
            case steps.PressKeys(digits=digits):
                self._ends_at = now + KEY_SECONDS * (len(digits) - 1)
                self._facts.moments[Since.PRESSING] = self._ends_at
                self._do(*(plan.Press(now + KEY_SECONDS * index, digit) for index, digit in enumerate(digits)))
            case steps.SetMute(is_muted=is_muted):
                self._do(plan.Mute(now, is_muted))
            case steps.SetReading(bytes_per_second=rate):
                self._do(plan.StopReading(now) if rate == 0 else plan.ReadAt(now, rate))
            case steps.GoHalfOpen():
                self._do(plan.FallSilent(now))
            case steps.SendText(message=message):
                self._do(plan.SendRaw(now, message))
            case steps.EndCall(ending=ending):
                self._do(plan.HangUp(now, ending))
            case _:
                pass

    def _do(self, *actions: plan.Action) -> None:
        for action in actions:
            if isinstance(action, plan.HangUp):
                self._has_hung_up = True
                self._facts.moments[Since.HANGING_UP] = action.at_seconds
            self._actions.append(action)

    def _speak(self, ulaw: bytes, now: float) -> float:
        """Say something as soon as the mouth is free; return when that is."""
        start = max(now, self._mouth_free_at)
        self._mouth_free_at = start + duration_seconds(len(ulaw))
        self._do(plan.Speak(start, ulaw))
        return start

    def _judge(self, step: Step, now: float, entered_at: float) -> Verdict | None:
        match step:
            case steps.TalkOver():
                return self._talk_over(step, now) or _in_vain(step, "did not speak so long", now, entered_at)
            case steps.AwaitSpeech(is_speech=True):
                return self._reached(self.observed.speech_after(self._facts.since)) or _in_vain(
                    step, "did not speak", now, entered_at
                )
            case steps.AwaitSpeech():
                is_known = now >= self._facts.since + DETECTION_SECONDS
                at = self.observed.silence_after(self._facts.since) if is_known else None
                return self._reached(at) or _in_vain(step, "did not fall silent", now, entered_at)
            case steps.AwaitMark(name=name):
                return self._reached(self._facts.next_mark(name)) or _in_vain(step, "no such mark", now, entered_at)
            case steps.AwaitClear():
                return self._reached(self._facts.next_clear()) or _in_vain(step, "no clear", now, entered_at)
            case _ if isinstance(step, steps.Expectation):
                return judge(step, self._facts, now)
            case _:
                return passed("", self._ends_at) if now >= self._ends_at else None

    def _talk_over(self, step: steps.TalkOver, now: float) -> Verdict | None:
        began_at = self.observed.speech_since
        if began_at is None or now < began_at + step.after_seconds:
            return None
        start = self._speak(step.ulaw, now)
        self._facts.moments[Since.TALKING_OVER] = start
        return passed(f"after {1000 * (now - began_at):.0f} ms of speech", start)

    def _reached(self, at: float | None) -> Verdict | None:
        return None if at is None else passed(f"at {at:.2f} s", at)

    def _conclude(self, step: Step, verdict: Verdict, *, was_reached: bool = True) -> None:
        number, at_seconds = len(self.outcomes) + 1, verdict.at_seconds
        outcome = StepOutcome(number, step.text, verdict.has_passed, verdict.detail, at_seconds, was_reached)
        self.outcomes.append(outcome)
        self._facts.since = max(self._facts.since, verdict.at_seconds)
        self._entered_at = None

    def _skip_rest(self, now: float, why: str) -> None:
        for step in self._steps[len(self.outcomes) :]:
            self._conclude(step, failed(why, now), was_reached=False)


def _in_vain(step: Waiting, what: str, now: float, entered_at: float) -> Verdict | None:
    """Return the failure of a wait whose time is over."""
    if now <= entered_at + step.within_seconds:
        return None
    return failed(f"{what} within {step.within_seconds:g} s", now)
