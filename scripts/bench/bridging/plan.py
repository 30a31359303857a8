"""What is measured of bridges, in turns: how long audio is on its way, what a call costs of a core, and of memory."""

from dataclasses import dataclass, field, replace
from statistics import median

from speed.load import GENERATOR_CORE, Load, Seen, run_load
from speed.rounds import Journal
from speed.servers import Running, running

from bridging.programs import DIRECT, ECHO_AGENT, Bridge, anchors, legs

PLATFORM_BYTES = 800
LOADS = {
    "1 call": Load(1),
    "20 calls": Load(20),
    "50 calls": Load(50),
}
"""Of 20 ms frames, each load behind the other on the same process, so that the last has the memory of most calls."""
PLATFORM = {"20 calls": Load(20, payload_bytes=PLATFORM_BYTES)}
FEW, MANY = 25, 125
"""Calls of which the memory is compared: no start is in what they differ by."""
BEHIND_US = 400_000
"""In the seconds of a run, a bridge that is given a fifth more than it can do gets later than this; pipecat's own delay is less."""
SETTLE_SECONDS = 1.5
"""Until all legs are there, the slowest of them pipecat's."""


@dataclass
class Measured:
    """What was seen of each bridge, by name and load, a run a round; `DIRECT` is the agent without a bridge.

    Attributes:
        bridges: those that are measured, by name.
        kib: of memory that a bridged call takes, by name.
    """

    bridges: dict[str, Bridge] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Seen]] = field(default_factory=dict)
    kib: dict[str, float] = field(default_factory=dict)

    def keep(self, name: str, load: str, seen: Seen) -> None:
        """Keep a run."""
        self.runs.setdefault((name, load), []).append(seen)

    def cpu_ms(self, name: str, load: str) -> float:
        """Return the processor time of a call in a second, in ms: the median over the rounds."""
        return median(
            seen.cpu_seconds / float(seen.report["seconds"]) / seen.load.calls * 1000 for seen in self.runs[name, load]
        )

    def added_ms(self, name: str, load: str) -> tuple[float, float]:
        """Return how much later audio comes back than without a bridge, p50 and p99, in the round in which p99 was least.

        The best and not the median: audio that a bridge which paces could not play in time, because others had its core, stays
        late until the agent pauses, and an echo never does. From both the median of the direct runs is subtracted, which is the
        agent's time, the generator's and the loopback's: a stall in a direct run is not to make a bridge look better.
        """
        direct_us = min(seen.figure("latency_us", "p50") for seen in self.runs[DIRECT, load])
        best = min(self.runs[name, load], key=lambda seen: seen.figure("latency_us", "p99"))
        p50_us, p99_us = (best.figure("latency_us", which) - direct_us for which in ("p50", "p99"))
        return p50_us / 1000, p99_us / 1000

    def ratio(self, name: str, to: str, load: str) -> float | None:
        """Return the median ratio of two bridges' processor time; None if one of them is missing or did not keep up."""
        if not (self.has_carried(name, load) and self.has_carried(to, load)):
            return None
        pairs = zip(self.runs[name, load], self.runs[to, load], strict=False)
        return median(one.cpu_seconds / other.cpu_seconds for one, other in pairs)

    def has_carried(self, name: str, load: str) -> bool:
        """Return True if a bridge kept up in any round: where it cannot, audio is later and later."""
        runs = self.runs.get((name, load), [])
        return any(seen.figure("latency_us", "p99") < BEHIND_US for seen in runs)


def load_on(served: Running, load: Load, bridge: Bridge | None, journal: Journal) -> Seen:
    """Put a load on a bridge that runs, or (None) on the agent itself."""
    is_exact = bridge is None or bridge.is_exact
    path = "/twilio" if bridge is None else load.path
    asked = replace(
        load, is_smooth=True, is_counting=not is_exact, path=path, settle_seconds=SETTLE_SECONDS, warm_up_seconds=0.6
    )
    seen = run_load(asked, served.port, [served.pid])
    journal.note(served.name, seen)
    return seen


def measure_bridge(bridge: Bridge, loads: dict[str, Load], measured: Measured, journal: Journal) -> None:
    """Start a bridge and put all loads on it."""
    measured.bridges[bridge.name] = bridge
    with running(bridge.server) as served:
        for name, load in loads.items():
            measured.keep(bridge.name, name, load_on(served, load, bridge, journal))


def take_turns(loads: dict[str, Load], rounds: int, seconds: float, journal: Journal) -> Measured:
    """Measure all bridges under the same loads, so many rounds, each begun by another."""
    measured = Measured()
    loads = {name: replace(load, seconds=seconds) for name, load in loads.items()}
    payload_bytes = next(iter(loads.values())).payload_bytes
    journal.stalls.look()
    with running(ECHO_AGENT, GENERATOR_CORE) as agent:
        bridges = [*legs(agent.port, payload_bytes), *anchors(agent.port)]
        ready = [bridge for bridge in bridges if journal.can(bridge.server)]
        for number in range(rounds):
            for name, load in loads.items():
                measured.keep(DIRECT, name, load_on(agent, load, None, journal))
            shift = number % len(ready)
            for bridge in ready[shift:] + ready[:shift]:
                measure_bridge(bridge, loads, measured, journal)
    return measured


def measure_memory(seconds: float, journal: Journal) -> dict[str, float]:
    """Return what a bridged call takes of the daemon's memory, its leg included, in KiB, by name."""
    kib = {}
    with running(ECHO_AGENT, GENERATOR_CORE) as agent:
        for bridge in legs(agent.port, PLATFORM_BYTES):
            with running(bridge.server) as served:
                few, many = (
                    load_on(served, Load(calls, PLATFORM_BYTES, seconds), bridge, journal).rss_kib
                    for calls in (FEW, MANY)
                )
            kib[bridge.name] = (many - few) / (MANY - FEW)
    return kib
