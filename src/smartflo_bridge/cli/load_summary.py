"""Says in a few lines what became of many simulated calls: text for people, made from their reports."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from smartflo_bridge.cli.call_summary import ENDED_BY, close, gaps, row
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.load import Outcome
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule, place
from smartflo_bridge.simulator.spread import Spread, spread, spread_of_counts
from smartflo_bridge.simulator.telling import broken_lines, step_line

TOO_LATE_MS = 20
"""A frame. A generator that is later than this in more than one look of a hundred measures itself."""


def load_summary(outcomes: Sequence[Outcome], own_late_ms: Mapping[int, int]) -> str:
    """Describe many calls."""
    reports = [one for one in outcomes if isinstance(one, CallReport)]
    failures = Counter(str(one) for one in outcomes if isinstance(one, CallFailed))
    well = sum(report.ended_well for report in reports)
    lines = [row("calls", f"{len(outcomes)}: {len(reports)} answered, {well} ended well, {failures.total()} failed")]
    lines += [row("failed", f"{count}: {why}") for why, count in failures.most_common()]
    return "\n".join(lines + (_answered(reports) if reports else []) + _own(reports, own_late_ms))


def failure_lines(named: Sequence[tuple[str, Outcome]], allowed: Collection[Rule]) -> list[str]:
    """Say of each call by its name whether it passed, and why not."""
    lines = []
    for name, outcome in named:
        if isinstance(outcome, CallFailed):
            lines.append(f"FAIL  {name}: {outcome}")
        elif outcome.passes(allowed):
            lines.append(f"ok    {name}")
        else:
            lines += [f"FAIL  {name}", *map(step_line, outcome.failed_steps), *broken_lines(outcome, allowed)]
    return lines


def lateness_ms(reports: Sequence[CallReport]) -> Counter[int]:
    """Return how late the messages of all calls were."""
    total: Counter[int] = Counter()
    for report in reports:
        total.update(report.lateness_ms)
    return total


def first_audio_ms(reports: Sequence[CallReport]) -> list[float]:
    """Return when each call heard something first."""
    return [1000 * report.first_audio_seconds for report in reports if report.first_audio_seconds is not None]


def _answered(reports: Sequence[CallReport]) -> list[str]:
    ends = Counter(f"{ENDED_BY[report.ended_by]}, {close(report)}" for report in reports)
    heard = first_audio_ms(reports)
    silent = f"; {len(reports) - len(heard)} calls without audio" if len(heard) < len(reports) else ""
    lead = [float(report.counts.largest_lead_ms) for report in reports]
    return [
        *(row("ends", f"{count}: {how}") for how, count in ends.most_common()),
        row("duration", _words(spread([report.duration_seconds for report in reports]), "s", 1)),
        row("first audio", _words(spread(heard), "ms") + silent),
        row(
            "lateness",
            _words(spread_of_counts(lateness_ms(reports)), "ms") + ", behind each utterance's steadiest pace",
        ),
        row("gaps", gaps(reports)),
        row("lead", _words(spread(lead), "ms")),
        row("marks", f"{_sum(reports, 'marks')} placed, {_sum(reports, 'marks_echoed')} echoed"),
        row("clears", str(_sum(reports, "clears"))),
        row("payloads", f"{_sum(reports, 'media')}, {sum(one.misaligned_payloads for one in reports)} misaligned"),
        *_steps(reports),
        *_rules(reports),
    ]


def _steps(reports: Sequence[CallReport]) -> list[str]:
    total = sum(len(report.steps) for report in reports)
    failed = Counter(f"step {step.number}  {step.text}" for report in reports for step in report.failed_steps)
    if not total:
        return []
    lines = [row("steps", f"{total - failed.total()} of {total} passed")]
    return lines + [f"  FAIL in {count} calls: {text}" for text, count in failed.most_common()]


def _rules(reports: Sequence[CallReport]) -> list[str]:
    calls = Counter(rule for report in reports for rule in report.broken)
    times: Counter[Rule] = Counter()
    for report in reports:
        times.update(report.broken)
    lines = [row("rules", f"{len(calls)} broken" if calls else "none broken")]
    return lines + [
        f"  {rule}, {times[rule]} times in {count} calls ({place(rule)})" for rule, count in calls.most_common()
    ]


def _own(reports: Sequence[CallReport], own_late_ms: Mapping[int, int]) -> list[str]:
    own = spread_of_counts(own_late_ms)
    sends_ms = 1000 * max((report.send_lateness_seconds for report in reports), default=0.0)
    lines = [row("simulator", f"own loop late by {_words(own, 'ms')}; own sends at most {sends_ms:.1f} ms late")]
    if own and own.p99 >= TOO_LATE_MS:
        lines.append(row("", "that is too late to judge anybody by: place fewer calls, or from another machine"))
    return lines


def _words(values: Spread | None, unit: str, digits: int = 0) -> str:
    if values is None:
        return "none"
    shown = [("p50", values.p50), ("p95", values.p95), ("p99", values.p99), ("max", values.max)]
    return ", ".join(f"{name} {value:.{digits}f} {unit}" for name, value in shown)


def _sum(reports: Sequence[CallReport], name: str) -> int:
    return sum(getattr(report.counts, name) for report in reports)
