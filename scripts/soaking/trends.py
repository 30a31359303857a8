"""Whether something grows: slopes over the samples of a soak, and its end state beside its start state. Pure.

And when the samples say nothing, because others had the core: what is late then, and what memory that costs, is not the daemon's doing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from soaking.samples import Sample

WARM_UP_SECONDS = 600.0
"""Left out of slopes: until then memory grows to what the load needs."""
LEAST_SECONDS = 1190.0
"""What is looked at, at least: the rest of half an hour. Less has no slopes that say anything."""
CALM_SECONDS = 60.0
"""After others had the core, until it is as before."""
STARVED_SHARE = 0.35
"""Of a time between two samples, in which a main thread waited for its core. Two daemons that share one wait for 0.1 to 0.15."""
MOST_STARVED_SHARE = 0.25
"""Of a soak; beyond, nothing it says is worth much."""
MAX_KIB_PER_HOUR = 1024.0
MAX_KIB_PER_1000_CALLS = 50.0
"""Goal G3."""
MAX_FILES_PER_HOUR = 2.0
"""A slope of 0, as far as the number of live calls lets it be seen: calls that are ending have files too."""
SAME = ("calls", "connections", "tasks", "threads", "files")


@dataclass(frozen=True)
class Stall:
    """The machine stood still, or others had the core, from a time on the wall clock on."""

    began_at: float
    seconds: float

    def meets(self, began_at: float, ended_at: float) -> bool:
        """True if it falls into that time."""
        return self.began_at <= ended_at and began_at <= self.began_at + self.seconds


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least squares' line through (seconds, value)."""
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return 3600 * sum((at - mean_at) * (value - mean) for at, value in points) / spread if spread else 0.0


@dataclass(frozen=True)
class Trend:
    """What one daemon does over the hours. `calls` are those that it served in the time that was looked at."""

    daemon: str
    kib_per_hour: float
    files_per_hour: float
    calls: int
    seconds: float

    @property
    def kib_per_1000_calls(self) -> float:
        """Memory that the calls of this soak have left behind."""
        return self.kib_per_hour * self.seconds / 3600 * 1000 / self.calls if self.calls else 0.0

    def faults(self) -> list[str]:
        """Return what grows more than it may."""
        faults = []
        if self.kib_per_hour > MAX_KIB_PER_HOUR:
            faults.append(f"{self.daemon}: memory grows by {self.kib_per_hour:.0f} KiB an hour")
        if self.kib_per_1000_calls > MAX_KIB_PER_1000_CALLS:
            faults.append(f"{self.daemon}: memory grows by {self.kib_per_1000_calls:.0f} KiB for 1,000 calls")
        if abs(self.files_per_hour) > MAX_FILES_PER_HOUR:
            faults.append(f"{self.daemon}: {self.files_per_hour:+.1f} open files an hour")
        return faults


def starved(samples: Sequence[Sample]) -> list[Stall]:
    """Return the times between samples of one daemon in which it, or the generator, was mostly kept waiting for its core."""
    found = []
    for before, after in pairwise(samples):
        seconds = after.seconds - before.seconds
        waited = max(
            after.waited_seconds - before.waited_seconds,
            after.generator_waited_seconds - before.generator_waited_seconds,
        )
        if waited > STARVED_SHARE * seconds:
            found.append(Stall(before.at, seconds))
    return found


def calm_stretch(samples: Sequence[Sample], stalls: Sequence[Stall]) -> list[Sample]:
    """Return the longest run of samples without a disturbance: after the warm-up, and a while after each stall."""
    stretches: list[list[Sample]] = [[]]
    for one in samples:
        if any(stall.meets(one.at - CALM_SECONDS, one.at) for stall in stalls):
            stretches.append([])
        elif one.seconds >= WARM_UP_SECONDS:
            stretches[-1].append(one)
    return max(stretches, key=len)


def trend(samples: Sequence[Sample], per_call_files: float, stalls: Sequence[Stall] = ()) -> Trend | None:
    """Return the trend of one daemon's samples; None if they cover too little that was not disturbed.

    Files are counted beyond those of the live connections, or each more call at the end would be a leak.
    """
    calm = calm_stretch(samples, stalls)
    if not calm or calm[-1].seconds - calm[0].seconds < LEAST_SECONDS:
        return None
    beyond = [(one.seconds, one.files - per_call_files * one.vitals["connections"]) for one in calm]
    return Trend(
        daemon=calm[0].daemon,
        kib_per_hour=slope_per_hour([(one.seconds, one.private_kib) for one in calm]),
        files_per_hour=slope_per_hour(beyond),
        calls=round(calm[-1].vitals["calls_served"] - calm[0].vitals["calls_served"]),
        seconds=calm[-1].seconds - calm[0].seconds,
    )


def state_faults(daemon: str, start: dict[str, float], end: dict[str, float]) -> list[str]:
    """Return in what the end state differs from the start state: everything that calls bring must be gone with them."""
    return [
        f"{daemon}: {name} were {start[name]:g} at the start and are {end[name]:g} at the end"
        for name in SAME
        if start[name] != end[name]
    ]
