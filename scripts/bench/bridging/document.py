"""Writes what was measured of bridges into docs/agents.md, between two marks."""

from datetime import UTC, datetime

from speed.document import quality, table
from speed.install import OTHERS, PIPECAT, ROOT, WITH_NUMPY
from speed.machine import first_line, packages, processor
from speed.rounds import Journal

from bridging.plan import FEW, MANY, Measured

DOCUMENT = ROOT / "docs" / "agents.md"
BEGIN = "<!-- measured: scripts/bench/legs writes from here -->"
TOO_MUCH = "did not keep up"


def latency(measured: Measured, name: str, load: str) -> str:
    """Return the added latency as a cell."""
    if not measured.has_carried(name, load):
        return TOO_MUCH
    p50, p99 = measured.added_ms(name, load)
    return f"{p50:.2f} / {p99:.2f}"


def cost(measured: Measured, name: str, load: str) -> str:
    """Return the processor time of a call as a cell, and the ratio to the bare bridge."""
    if not measured.has_carried(name, load):
        return TOO_MUCH
    ratio = measured.ratio(name, "bare", load)
    return f"{measured.cpu_ms(name, load):.1f}" + (f" ({ratio:.2f})" if ratio is not None else "")


def lines_of(measured: Measured, loads: list[str], *, memory: dict[str, float] | None = None) -> list[str]:
    """Return a table with a row a bridge: what it adds under each load, and what a call costs under the heaviest."""
    heads = ["bridge", "the agent hears", *(f"added, {load}: p50 / p99, ms" for load in loads)]
    heads += [f"ms of a core, a call and second, {load} (to bare)" for load in loads[1:] or loads]
    rows = []
    for name, bridge in measured.bridges.items():
        row = [f"**{name}**" if name.startswith("ours") else name, bridge.hears]
        row += [latency(measured, name, load) for load in loads]
        row += [cost(measured, name, load) for load in loads[1:] or loads]
        if memory is not None:
            row.append(f"{memory[name]:.0f}" if name in memory else "")
        rows.append(tuple(row))
    return table((*heads, *(["KiB a call"] if memory is not None else [])), rows)


def facts() -> list[tuple[str, str]]:
    """Return what the figures depend on."""
    ours = packages(str(WITH_NUMPY), "smartflo-bridge", "websockets", "msgspec", "uvloop", "numpy")
    pipecat = packages(str(PIPECAT), "pipecat-ai", "websockets", "uvicorn", "uvloop")
    commit = first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return [
        ("processor", f"{processor()}; the bridge on one, the generator and the agent on the other"),
        ("ours", f"commit {commit}, {ours}, Python {first_line(str(WITH_NUMPY), '-V').removeprefix('Python ')}"),
        ("bare", packages(str(OTHERS), "websockets", "uvloop")),
        ("pipecat", pipecat if PIPECAT.exists() else "not installed"),
    ]


def text(command: str, frames: Measured, chunks: Measured | None, memory: dict[str, float], journal: Journal) -> str:
    """Return the part of the document that is made by measuring."""
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d} by `{command}`.", "", *table(("", ""), facts()), ""]
    lines += [quality(journal), "", "**Frames of 20 ms**, each answered with one:", ""]
    lines += [*lines_of(frames, [load for name, load in frames.runs if name == "bare"]), ""]
    if chunks is not None:
        loads = [load for name, load in chunks.runs if name == "bare"]
        lines += [
            "**Chunks of 100 ms**, as Smartflo sends, and our configuration as it comes. Memory, leg included, is that"
        ]
        lines += [f"of {MANY} calls beside {FEW}; the aim is 64 KiB:", ""]
        lines += [*lines_of(chunks, loads, memory=memory), ""]
    return "\n".join(lines)
