"""Writes what was measured into docs/performance.md, between two marks; what people wrote around it stays."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from speed.capacity import PLATFORM_BYTES
from speed.comparing import CALLS, SATURATED, SATURATED_100_MS
from speed.install import ROOT
from speed.load import BUSY_SERVER
from speed.machine import facts
from speed.rounds import Journal, Rounds
from speed.verdicts import Outcome, rows

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN = "<!-- measured: scripts/bench/run writes from here -->"
END = "<!-- measured: to here -->"
SIZES = (
    f"The first is 160 bytes a message, the second {PLATFORM_BYTES}, as Smartflo sends. Leave half of it free: a figure at the "
    "limit has no room for a busy minute."
)
MINUTES_A_MONTH = 30 * 24 * 60
BUSY_HOURS = 8 * 22
"""A call centre's: eight hours on 22 days."""


def table(heads: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a table."""
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(line)} |" for line in lines),
    ]


def verdict_table(outcomes: dict[str, Outcome]) -> list[str]:
    """Return the table P1-P20, and what is to be known about its rows."""
    lines = table(("", "figure", "must", "aim", "measured", "verdict"), rows(outcomes))
    notes = [f"* {number}: {outcome.note}." for number, outcome in outcomes.items() if outcome.note]
    return [*lines, "", *notes] if notes else lines


def server_table(rounds: Rounds) -> list[str]:
    """Return the figures of each server under one load, the quickest last. Saturated, a response says nothing: it is not told."""
    lines = []
    for name in sorted((name for name, seen in rounds.seen.items() if seen), key=rounds.us, reverse=True):
        ratio, to_plain = rounds.ratio(name, "bare"), rounds.ratio(name, "plain")
        p50, p99 = (rounds.figure(name, "latency_us", which) / 1000 for which in ("p50", "p99"))
        lines.append(
            (
                f"**{name}**" if name == "ours" else name,
                f"{rounds.us(name):.1f}",
                f"{ratio:.2f}" if ratio else "",
                f"{to_plain:.2f}" if to_plain else "",
                f"{rounds.frames_per_second(name):,.0f}",
                "" if rounds.load.most_under_way else f"{p50:.2f} / {p99:.2f}",
            )
        )
    heads = ("server", "us a frame", "to bare", "to plain", "frames a second", "response p50 / p99, ms")
    return table(heads, lines)


def practice(carried: dict[str, int]) -> list[str]:
    """Say what a core carries: calls at once, and minutes a month."""
    lines = []
    for cadence, calls in carried.items():
        busy = calls * BUSY_HOURS * 60
        lines.append((cadence, f"{calls}", f"{calls * MINUTES_A_MONTH / 1e6:.1f} million", f"{busy / 1e6:.1f} million"))
    heads = ("media each way every", "calls at once", "minutes a month, day and night", "in 8 hours of 22 days")
    return [*table(heads, lines), ""] if lines else []


def quality(journal: Journal) -> str:
    """Say how good the measurement itself was."""
    runs = journal.runs
    disturbed = sum(seen.is_disturbed for seen in runs)
    paced = [seen for seen in runs if not seen.load.most_under_way]
    saturated = [seen for seen in runs if seen.load.most_under_way]
    words = [f"In {len(runs)} runs, others had more than 5 % of the servers' core in {disturbed}."]
    if paced:
        late = max((seen.report["generator"]["late_us"] or {"p99": 0})["p99"] for seen in paced)
        busiest = max(seen.report["generator"]["cpu"] for seen in paced)
        doubtful = sum(bool(seen.generator_troubles) for seen in paced)
        words.append(
            f"In the {len(paced)} in real time the generator was busy for at most {busiest:.0%} of its core, and its frames left "
            f"at most {late / 1000:.2f} ms late (p99 of the worst run); {doubtful} were beyond its limits (90 %, 1 ms)."
        )
    if saturated:
        idle = sum(bool(seen.generator_troubles) for seen in saturated)
        least = min(seen.busy_share for seen in saturated)
        words.append(
            f"In the {len(saturated)} at saturation the server's core was busy for at least {least:.0%} of the time; "
            f"in {idle} for less than {BUSY_SERVER:.0%}: what came was less than it carries."
        )
    return " ".join([*words, f"The machine: {journal.stalls.summary()}."])


def measured(
    command: str,
    outcomes: dict[str, Outcome],
    rounds: dict[str, Rounds],
    carried: dict[str, int],
    journal: Journal,
) -> str:
    """Return the part of the document that is made by measuring."""
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d} by:", "", "```text", command, "```", ""]
    lines += [*table(("", ""), facts()), "", quality(journal), "", "### The figures", "", *verdict_table(outcomes), ""]
    headings = {
        "20": f"### 20 ms frames, saturated: {SATURATED.calls} calls, and as much as a core can",
        "paced": f"### 20 ms frames, {CALLS} calls",
        "100": f"### Chunks of 100 ms, saturated: {SATURATED_100_MS.calls} calls, and as much as a core can",
    }
    for key, each in rounds.items():
        lines += [headings[key], "", *server_table(each), ""]
    if carried:
        lines += ["### What one core carries", "", *practice(carried)]
        lines += [SIZES, ""]
    missing = [f"* {name}: {why}." for name, why in journal.missing.items()]
    return "\n".join(
        [*lines, *(["Not compared, because it could not be installed:", "", *missing, ""] if missing else [])]
    )


def write(text: str, document: Path = DOCUMENT, begin_mark: str = BEGIN) -> None:
    """Put what was measured into the document.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = document.read_text().partition(begin_mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"{document} has no {begin_mark!r} with {END!r} behind it"
        raise ValueError(msg)
    document.write_text(f"{before}{begin_mark}\n\n{text.strip()}\n\n{END}{after}")
