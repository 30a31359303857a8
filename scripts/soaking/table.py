"""What a soak has found, as rows: printed, and written into docs/reliability.md between two marks."""

import sys
from datetime import UTC, datetime

from speed.document import table
from speed.document import write as write_between
from speed.install import ROOT
from speed.machine import first_line, optimised, packages, processor

from soaking.mix import Kind
from soaking.run import Outcome
from soaking.samples import Sample, busy_share

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- measured: scripts/soak --write writes from here -->"

Row = tuple[str, str]


def commit() -> str:
    """Return the commit that is checked out."""
    return first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")


def lines(outcome: Outcome, command: str, commit: str) -> list[Row]:
    """Return the rows of the table. The commit is that of the start: an hour later there may be another."""
    rows = [*_conditions(outcome, command, commit), *_calls(outcome)]
    for daemon in outcome.start:
        rows += _daemon_rows(outcome, daemon)
    return [*rows, *_generator(outcome), *_machine(outcome)]


def _conditions(outcome: Outcome, command: str, commit: str) -> list[Row]:
    return [
        ("command", f"`{command}`, {datetime.now(UTC):%Y-%m-%d}"),
        ("commit", commit),
        ("hardware", f"{processor()}; the daemons on one core, callers and agent on the other"),
        (
            "versions",
            (
                f"{packages(sys.executable, 'smartflo-bridge', 'websockets', 'msgspec', 'uvloop')}; Python "
                f"{sys.version.split()[0]}, built {optimised()}"
            ),
        ),
        ("load", _load(outcome)),
    ]


def _load(outcome: Outcome) -> str:
    load, minutes = outcome.load, outcome.seconds / 60
    if load.steady_frames:
        return f"{load.calls} bridged calls for {minutes:.1f} min, {load.steady_frames * 20} ms of speech at a time"
    return (
        f"{load.calls} calls at any time for {minutes:.1f} min, 5 to {load.longest_seconds:.0f} s long; "
        f"{outcome.calls.total() / max(outcome.seconds, 1):.1f} new ones a second"
    )


def _calls(outcome: Outcome) -> list[Row]:
    kinds = ", ".join(f"{outcome.calls[kind]} {kind.value}" for kind in Kind if outcome.calls[kind])
    slowest = ", ".join(f"{kind.value} {outcome.slowest[kind]:.2f} s" for kind in Kind if kind in outcome.slowest)
    return [
        ("calls", f"{outcome.calls.total()}: {kinds}"),
        ("failed", f"{len(outcome.bad_calls)}"),
        (
            "discarded",
            f"{len(outcome.discarded)} that were not as they must be while the machine stood still, or others had a core",
        ),
        ("slowest end", slowest),
        ("audio", f"{outcome.frames_out:,} frames of 20 ms sent, {outcome.frames_back:,} heard; each checked"),
        ("probes", f"{outcome.probes}"),
    ]


def _daemon_rows(outcome: Outcome, name: str) -> list[Row]:
    samples = [one for one in outcome.samples if one.daemon == name]
    rows = [(f"{name}: start, end", _states(outcome.start[name], outcome.end.get(name, {})))]
    if not samples:
        return rows
    lags = (f"{name} {_worst(samples, f'lag_{name}_ms'):.1f}" for name in ("p50", "p99", "max"))
    rows += [
        (f"{name}: processor", f"{busy_share(samples):.0%} of a core"),
        (f"{name}: lag, ms", f"{', '.join(lags)}, each of the worst minute"),
        (f"{name}: memory", _memory(samples)),
    ]
    if (echo := outcome.echoes.get(name)) is not None and echo.chunks:
        shares = ", ".join(f"p{share * 100:g} {echo.quantile_ms(share)}" for share in (0.5, 0.99, 0.999))
        rows.append((f"{name}: echo, ms", f"{shares}, of {echo.chunks:,} chunks of calls that kept their agent"))
    rows += [
        (
            f"{name}: slopes",
            (
                f"{one.kib_per_hour:+.0f} KiB an hour and {one.files_per_hour:+.2f} files an hour in the longest undisturbed time, of {one.seconds / 60:.0f} min; "
                f"{one.kib_per_1000_calls:+.1f} KiB for 1,000 calls, of {one.calls}"
            ),
        )
        for one in outcome.trends
        if one.daemon == name
    ]
    return rows


def _states(start: dict[str, float], end: dict[str, float]) -> str:
    names = ("connections", "tasks", "threads", "files", "objects")
    return ", ".join(f"{name} {start[name]:g} and {end[name]:g}" for name in names if start and end)


def _worst(samples: list[Sample], name: str) -> float:
    return max(one.vitals[name] for one in samples)


def _memory(samples: list[Sample]) -> str:
    values = [one.private_kib / 1024 for one in samples]
    middle = values[len(values) // 2]
    return (
        f"private MiB: first {values[0]:.1f}, in the middle {middle:.1f}, last {values[-1]:.1f}, most {max(values):.1f}"
    )


def _generator(outcome: Outcome) -> list[Row]:
    pulse, samples = outcome.pulse, outcome.samples
    busy = 0.0
    if len(samples) > 1 and samples[-1].seconds > samples[0].seconds:
        spent = samples[-1].generator_cpu_seconds - samples[0].generator_cpu_seconds
        busy = spent / (samples[-1].seconds - samples[0].seconds)
    late = pulse.late / max(pulse.chunks, 1)
    return [
        (
            "generator",
            (
                f"{busy:.0%} of its core; {late:.2%} of {pulse.chunks:,} chunks left more than 20 ms late, the latest "
                f"{pulse.worst_seconds * 1000:.0f} ms"
            ),
        )
    ]


def _machine(outcome: Outcome) -> list[Row]:
    drops = [one.tcp_drops for one in outcome.samples]
    stalls, longest = outcome.stalls, max((stall.seconds for stall in outcome.stalls), default=0.0)
    watch = "before all others" if outcome.watch_is_first else "without priority, so others' load counts too"
    return [
        ("kernel", f"{drops[-1] - drops[0] if drops else 0} TCP drops, of the whole machine"),
        ("stalls", f"{len(stalls)} of more than 0.1 s, the longest {longest:.2f} s, by a watch on each core, {watch}"),
        (
            "others had a core",
            f"{len(outcome.starved)} times between two samples, so that a daemon or the generator was kept waiting for more than a third",
        ),
        ("samples missed", f"{outcome.missed_samples} of {outcome.missed_samples + len(outcome.samples)}"),
    ]


def write(rows: list[Row]) -> None:
    """Put the table into the document."""
    write_between("\n".join(table(("", ""), rows)), DOCUMENT, BEGIN)
