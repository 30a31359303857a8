"""Rounds: servers take turns under the same load, so that a change of the machine meets all of them alike.

Absolute figures differ from machine to machine and from hour to hour; what is compared are ratios of neighbours in time,
and of these the median over the rounds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from speed.load import Load, Seen, run_load
from speed.machine import StallWatch, remember
from speed.servers import Running, Server, running


@dataclass
class Journal:
    """What all measurements of a run share.

    Attributes:
        missing: what is not installed, with the reason.
        stalls: how still the machine was.
        runs: all that the generator saw.
        is_quiet: True says nothing of each run.
    """

    missing: dict[str, str]
    stalls: StallWatch = field(default_factory=StallWatch)
    runs: list[Seen] = field(default_factory=list)
    is_quiet: bool = False

    def can(self, server: Server) -> bool:
        """Return True if a server is installed."""
        return server.needs not in self.missing

    def note(self, name: str, seen: Seen) -> None:
        """Keep a run, and say a line about it."""
        self.runs.append(seen)
        remember(json.dumps({"server": name, "load": vars(seen.load), "report": seen.report, "periods": seen.periods}))
        if self.is_quiet:
            return
        latency = seen.report["latency_us"]
        p99 = f"p99 {latency['p99'] / 1000:7.2f} ms" if latency else " " * 14
        words = ["starved"] if seen.is_starved else []
        words += [*seen.troubles, *(f"generator {one}" for one in seen.generator_troubles)]
        if seen.is_disturbed:
            words.append(f"others took {seen.foreign_share:.0%} of the core")
        size, calls = seen.load.payload_bytes, seen.load.calls
        print(
            f"  {name:14} {calls:5} calls {size:4} B {seen.us_per_frame:7.1f} us  {p99}  {', '.join(words)}", flush=True
        )


def measure(server: Server, load: Load, journal: Journal) -> Seen:
    """Start a server, put a load on it, and stop it; once more if others had its core."""
    with running(server) as served:
        seen = measure_running(served, load, journal)
    if not seen.is_starved:
        return seen
    with running(server) as served:
        return measure_running(served, load, journal)


def measure_running(served: Running, load: Load, journal: Journal) -> Seen:
    """Put a load on a server that runs."""
    seen = run_load(load, served.port, [served.pid])
    journal.note(served.name, seen)
    return seen


def take_turns(servers: Sequence[Server], load: Load, count: int, journal: Journal) -> "Rounds":
    """Put the same load on several servers in turns, so many rounds; those that are not installed are left out."""
    ready = [server for server in servers if journal.can(server)]
    seen: dict[str, list[Seen]] = {server.name: [] for server in ready}
    journal.stalls.look()
    for number in range(count):
        # Each round begins with another server: who comes first, or after whom, is nobody's privilege.
        shift = number % len(ready)
        for server in ready[shift:] + ready[:shift]:
            seen[server.name].append(measure(server, load, journal))
    return Rounds(load, seen)


@dataclass(frozen=True)
class Rounds:
    """What was seen of each server under the same load, one run a round."""

    load: Load
    seen: dict[str, list[Seen]]

    def us(self, name: str) -> float:
        """Return the median of a server's processor time a frame, in microseconds; NaN if it was not measured."""
        return median(seen.us_per_frame for seen in self.seen[name]) if self.seen.get(name) else float("nan")

    def frames_per_second(self, name: str) -> float:
        """Return the median of the frames that came back in a second."""
        return median(seen.frames / float(seen.report["seconds"]) for seen in self.seen[name])

    def figure(self, name: str, kind: str, which: str) -> float:
        """Return the median of a figure that the generator reports, in microseconds."""
        return median(seen.figure(kind, which) for seen in self.seen[name])

    def ratios(self, name: str, to: str, *, quiet: bool = False) -> list[float]:
        """Return the ratio of two servers in each round in which both had their core; nothing if one was not measured.

        Args:
            name: the server.
            to: what it is compared with.
            quiet: leave out rounds in which others had a share of the core.
        """
        pairs = zip(self.seen.get(name, []), self.seen.get(to, []), strict=False)
        return [
            one.us_per_frame / other.us_per_frame
            for one, other in pairs
            if not any(seen.is_starved or (quiet and seen.is_disturbed) for seen in (one, other))
        ]

    def ratio(self, name: str, to: str) -> float | None:
        """Return the median ratio of two servers; None if one of them was not measured."""
        ratios = self.ratios(name, to)
        return median(ratios) if ratios else None

    def troubles(self, name: str) -> list[str]:
        """Return what went wrong with a server in any round."""
        return [trouble for seen in self.seen.get(name, []) for trouble in seen.troubles]
