"""Says in a few lines what became of one simulated call: text for people, made from its report."""

from collections.abc import Collection, Sequence

from smartflo_bridge.core.audio import BYTES_PER_MS
from smartflo_bridge.simulator.loudness import speech_seconds
from smartflo_bridge.simulator.progress import EndedBy, KeyPressed
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.steps import StepOutcome
from smartflo_bridge.simulator.telling import broken_lines, step_line

ENDED_BY = {
    EndedBy.CALLER: "ended by the caller",
    EndedBy.BRIDGE: "ended by the bridge",
    EndedBy.LOST: "connection lost",
}


def summary(report: CallReport, allowed: Collection[Rule] = ()) -> str:
    """Describe one call."""
    counts = report.counts
    keys = " ".join(one.digit for one in report.history if isinstance(one, KeyPressed))
    return "\n".join(
        [
            row("call", f"{report.duration_seconds:.1f} s, {ENDED_BY[report.ended_by]}, {close(report)}"),
            row("heard", f"{_first_audio(report)}, {speech_seconds(report.heard):.1f} s of speech"),
            row("keys", keys or "none"),
            row("marks", f"{counts.marks} placed, {counts.marks_echoed} echoed"),
            row("clears", f"{counts.clears}, {counts.dropped_bytes / BYTES_PER_MS:.0f} ms of audio dropped"),
            row("gaps", gaps([report])),
            row("payloads", f"{counts.media}, {report.misaligned_payloads} misaligned"),
            row("lead", f"{counts.largest_lead_ms} ms at most"),
            row("simulator", f"own sends at most {report.send_lateness_seconds * 1000:.1f} ms late"),
            *([row("watermarks", f"in {report.watermarks_seen} frames")] if report.watermarks_seen else []),
            *step_lines(report.steps),
            *rule_lines(report, allowed),
        ]
    )


def row(name: str, text: str) -> str:
    """Return one line of a summary."""
    return f"{name:<12}{text}"


def close(report: CallReport) -> str:
    """Say with which code the bridge closed."""
    if report.close_code is None:
        return "no close frame"
    reason = f" ({report.close_reason})" if report.close_reason else ""
    return f"close code {report.close_code}{reason}"


def gaps(reports: Sequence[CallReport]) -> str:
    """Say how often utterances broke off at each of the referee's jitter buffers."""
    parts = []
    for tallies in zip(*(report.gap_tallies for report in reports), strict=True):
        count = sum(tally.count for tally in tallies)
        longest_ms = 1000 * max(tally.longest_seconds for tally in tallies)
        name = f"{tallies[0].jitter_buffer_ms} ms" if tallies[0].jitter_buffer_ms else "no"
        parts.append(f"{count} with {name} jitter buffer" + (f" (longest {longest_ms:.0f} ms)" if count else ""))
    has_any = any(tally.count for report in reports for tally in report.gap_tallies)
    return ", ".join(parts) if has_any else "none"


def step_lines(steps: Sequence[StepOutcome]) -> list[str]:
    """Say what became of each step of a scenario."""
    if not steps:
        return []
    passed = sum(step.has_passed for step in steps)
    return [row("steps", f"{passed} of {len(steps)} passed"), *(step_line(step) for step in steps)]


def rule_lines(report: CallReport, allowed: Collection[Rule] = ()) -> list[str]:
    """Say which rules were broken."""
    if not report.broken:
        return [row("rules", "none broken")]
    return [row("rules", f"{len(report.broken)} broken"), *broken_lines(report, allowed)]


def _first_audio(report: CallReport) -> str:
    if report.first_audio_seconds is None:
        return "no audio"
    return f"first audio after {report.first_audio_seconds * 1000:.0f} ms"
