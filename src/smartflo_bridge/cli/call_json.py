"""Writes what became of simulated calls as JSON, for machines: the reports, the violations, and the verdict.

The form is that of docs/testing-a-bot.md. Audio is not in it; `--out` writes that.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from smartflo_bridge.cli.load_summary import first_audio_ms, lateness_ms
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.load import Outcome
from smartflo_bridge.simulator.progress import Progress
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule, Violation
from smartflo_bridge.simulator.spread import spread, spread_of_counts

FORMAT = 1

_LEFT_OUT = {"ids", "heard", "spoken", "violations", "history", "lateness_ms", "faults"}


def write_json(
    path: Path,
    named: Sequence[tuple[str, Outcome]],
    *,
    has_passed: bool,
    allowed: Collection[Rule],
    own_late_ms: Mapping[int, int],
) -> None:
    """Write the outcomes, each with the name of its scenario (or none), to a file."""
    reports = [outcome for _, outcome in named if isinstance(outcome, CallReport)]
    document = {
        "format": FORMAT,
        "passed": has_passed,
        "allowed": sorted(allowed),
        "calls": [_call(name, outcome, allowed, tells_history=len(named) == 1) for name, outcome in named],
        "spread": {
            "first_audio_ms": spread(first_audio_ms(reports)),
            "lateness_ms": spread_of_counts(lateness_ms(reports)),
            "largest_lead_ms": spread([float(report.counts.largest_lead_ms) for report in reports]),
            "own_lateness_ms": spread_of_counts(own_late_ms),
        },
    }
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    click.echo(f"wrote {path}")


def _call(name: str, outcome: Outcome, allowed: Collection[Rule], *, tells_history: bool) -> dict[str, Any]:
    head: dict[str, Any] = {"scenario": name or None}
    if isinstance(outcome, CallFailed):
        return head | {"failed": str(outcome)}
    members = {field: getattr(outcome, field) for field in outcome.__struct_fields__ if field not in _LEFT_OUT}
    members |= {
        "stream_sid": outcome.ids.stream_sid,
        "call_sid": outcome.ids.call_sid,
        "lateness_ms": spread_of_counts(outcome.lateness_ms),
        "violations": [_violation(one, allowed) for one in outcome.violations],
    }
    if tells_history:
        members["history"] = [_entry(one) for one in outcome.history]
    return head | members


def _violation(violation: Violation, allowed: Collection[Rule]) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(violation)
    return members | {"place": violation.place, "is_allowed": violation.rule in allowed}


def _entry(progress: Progress) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(progress)
    return {"kind": type(progress).__name__} | members
