"""Tells people what happened in a simulated call: its events, its steps, the rules that were broken. Text, and pure."""

from collections.abc import Collection
from typing import assert_never

from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    Cleared,
    EndAsked,
    FirstAudio,
    Heard,
    KeyPressed,
    MarkEchoed,
    MarkPlaced,
)
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule, Violation, place, wanted
from smartflo_bridge.simulator.scenario import Scenario
from smartflo_bridge.simulator.steps import StepOutcome

SHOWN_EVENTS = 40
"""Of a call that has failed: the last ones say most."""

Event = Heard | Answered | KeyPressed | Violation | CallOver


def event_line(event: Event) -> str:
    """Say what happened when."""
    return f"{event.at_seconds:6.1f} s  {_text(event)}"


def failure(scenario: Scenario, report: CallReport, allowed: Collection[Rule]) -> str:
    """Say why a scenario has failed, and what happened."""
    broken = set(report.broken) - set(allowed)
    head = (
        f"{scenario.name}: {len(report.failed_steps)} of {len(report.steps)} steps failed, {len(broken)} rules broken"
    )
    lines = [head, *map(step_line, report.steps), *broken_lines(report, allowed), "what happened:"]
    told = [event for event in report.history if not isinstance(event, Violation | AudioPassed)]
    lines += ["   ..."] if len(told) > SHOWN_EVENTS else []
    lines += [event_line(event) for event in told[-SHOWN_EVENTS:]]
    return "\n".join(lines)


def step_line(step: StepOutcome) -> str:
    """Say what became of one step."""
    verdict = "ok" if step.has_passed else "FAIL" if step.was_reached else "-"
    return f"  {verdict:<4}  {step.number:2}  {step.text}{f'  ({step.detail})' if step.detail else ''}"


def broken_lines(report: CallReport, allowed: Collection[Rule] = ()) -> list[str]:
    """Say of each broken rule how often, first when and by what, and where the protocol says so."""
    lines = []
    for rule, count in sorted(report.broken.items(), key=lambda item: list(Rule).index(item[0])):
        first = next(one for one in report.violations if one.rule is rule)
        lines += _broken(first, count, is_allowed=rule in allowed)
    return lines


def _broken(first: Violation, count: int, *, is_allowed: bool) -> list[str]:
    times = f"{count} times, first at" if count > 1 else "at"
    lines = [
        f"  {first.rule}{' (allowed)' if is_allowed else ''}, {times} {first.at_seconds:.2f} s: {first.detail}",
        f"      {wanted(first.rule)} ({place(first.rule)})",
    ]
    return lines + ([f"      {first.message}"] if first.message else [])


def _text(progress: Event) -> str:
    match progress:
        case Answered():
            return "answered"
        case FirstAudio():
            return "first audio of the bridge"
        case KeyPressed():
            return f"caller presses {progress.digit}"
        case MarkPlaced():
            return f"mark {progress.name} placed"
        case MarkEchoed():
            return f"mark {progress.name} echoed"
        case Cleared():
            return f"clear, {progress.dropped_seconds * 1000:.0f} ms dropped"
        case EndAsked():
            return "bridge hangs up"
        case Violation():
            return f"breaks {progress.rule}: {progress.detail} ({progress.place})"
        case CallOver():
            return f"call over, ended by {progress.ended_by}"
        case _:
            assert_never(progress)
