"""Says in a few lines what became of simulated calls: text for people, made from reports."""

from collections import Counter
from collections.abc import Sequence

from smartflo_bridge.core.audio import BYTES_PER_MS
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.mix import speech_seconds
from smartflo_bridge.simulator.progress import EndedBy, Fault, KeyPressed
from smartflo_bridge.simulator.report import CallReport

_ENDED_BY = {
    EndedBy.CALLER: "ended by the caller",
    EndedBy.BRIDGE: "ended by the bridge",
    EndedBy.LOST: "connection lost",
}

_LENGTH_FAULTS = {Fault.MISALIGNED_PAYLOAD, Fault.EMPTY_PAYLOAD}


def summary(report: CallReport) -> str:
    """Describe one call."""
    counts = report.counts
    keys = " ".join(one.digit for one in report.history if isinstance(one, KeyPressed))
    lines = [
        _row("call", f"{report.duration_seconds:.1f} s, {_ENDED_BY[report.ended_by]}, {_close(report)}"),
        _row("heard", f"{_first_audio(report)}, {speech_seconds(report.heard):.1f} s of speech"),
        _row("keys", keys or "none"),
        _row("marks", f"{counts.marks} placed, {counts.marks_echoed} echoed"),
        _row("clears", f"{counts.clears}, {counts.dropped_bytes / BYTES_PER_MS:.0f} ms of audio dropped"),
        _row("gaps", _gaps([report])),
        _row("payloads", f"{counts.media}, {report.misaligned_payloads} misaligned"),
        _row("lead", f"{counts.largest_lead_ms} ms at most"),
        *_other_faults([report]),
        _row("simulator", f"own sends at most {report.send_lateness_seconds * 1000:.1f} ms late"),
    ]
    return "\n".join(lines)


def aggregate(outcomes: Sequence[CallReport | CallFailed]) -> str:
    """Describe many calls at once."""
    reports = [one for one in outcomes if isinstance(one, CallReport)]
    failures = Counter(str(one) for one in outcomes if isinstance(one, CallFailed))
    well = sum(report.ended_well for report in reports)
    lines = [_row("calls", f"{len(outcomes)}: {len(reports)} answered, {well} ended well, {failures.total()} failed")]
    lines += [_row("failed", f"{count}: {why}") for why, count in failures.most_common()]
    if not reports:
        return "\n".join(lines)
    ends = Counter(f"{_ENDED_BY[report.ended_by]}, {_close(report)}" for report in reports)
    lines += [_row("ends", f"{count}: {how}") for how, count in ends.most_common()]
    lines += [
        _row("duration", _spread([report.duration_seconds for report in reports], 1, "s")),
        _row("first audio", _first_audios(reports)),
        _row("marks", f"{_sum(reports, 'marks')} placed, {_sum(reports, 'marks_echoed')} echoed"),
        _row("clears", str(_sum(reports, "clears"))),
        _row("gaps", _gaps(reports)),
        _row("payloads", f"{_sum(reports, 'media')}, {sum(one.misaligned_payloads for one in reports)} misaligned"),
        _row("lead", _spread([report.counts.largest_lead_ms for report in reports], 0, "ms")),
        *_other_faults(reports),
        _row("simulator", f"own sends at most {max(one.send_lateness_seconds for one in reports) * 1000:.1f} ms late"),
    ]
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _close(report: CallReport) -> str:
    if report.close_code is None:
        return "no close frame"
    reason = f" ({report.close_reason})" if report.close_reason else ""
    return f"close code {report.close_code}{reason}"


def _first_audio(report: CallReport) -> str:
    if report.first_audio_seconds is None:
        return "no audio"
    return f"first audio after {report.first_audio_seconds * 1000:.0f} ms"


def _first_audios(reports: Sequence[CallReport]) -> str:
    heard = [report.first_audio_seconds * 1000 for report in reports if report.first_audio_seconds is not None]
    silent = len(reports) - len(heard)
    return (_spread(heard, 0, "ms") if heard else "none") + (f"; {silent} calls without audio" if silent else "")


def _gaps(reports: Sequence[CallReport]) -> str:
    gaps = [gap.seconds for report in reports for gap in report.gaps]
    return f"{len(gaps)}, longest {max(gaps) * 1000:.0f} ms" if gaps else "none"


def _other_faults(reports: Sequence[CallReport]) -> list[str]:
    """Name the broken rules that have no line of their own, if there are any."""
    faults: Counter[Fault] = Counter()
    for report in reports:
        faults.update({fault: count for fault, count in report.faults.items() if fault not in _LENGTH_FAULTS})
    return [_row("faults", f"{count}: {fault.replace('_', ' ')}") for fault, count in faults.most_common()]


def _spread(values: Sequence[float], digits: int, unit: str) -> str:
    ordered = sorted(values)
    middle, high = (ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 95))
    return f"p50 {middle:.{digits}f} {unit}, p95 {high:.{digits}f} {unit}, max {ordered[-1]:.{digits}f} {unit}"


def _sum(reports: Sequence[CallReport], name: str) -> int:
    return sum(getattr(report.counts, name) for report in reports)
