"""Whether something grows: slopes over the samples of a soak, and its end state beside its start state. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from soaking.samples import Sample

WARM_UP_SECONDS = 600.0
"""Left out of slopes: until then memory grows to what the load needs."""
LEAST_SECONDS = 1800.0
"""A shorter soak has no slopes that say anything."""
MAX_KIB_PER_HOUR = 1024.0
MAX_KIB_PER_1000_CALLS = 50.0
"""Goal G3."""
MAX_FILES_PER_HOUR = 2.0
"""A slope of 0, as far as the number of live calls lets it be seen: calls that are ending have files too."""
SAME = ("calls", "connections", "tasks", "threads", "files")


@dataclass(frozen=True)
class Stall:
    """The machine stood still, between two times on the wall clock."""

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


def trend(samples: Sequence[Sample], per_call_files: float) -> Trend | None:
    """Return the trend of one daemon's samples; None if they cover too little.

    Files are counted beyond those of the live connections, or each more call at the end would be a leak.
    """
    if not samples or samples[-1].seconds < LEAST_SECONDS:
        return None
    late = [one for one in samples if one.seconds >= WARM_UP_SECONDS]
    beyond = [(one.seconds, one.files - per_call_files * one.vitals["connections"]) for one in late]
    return Trend(
        daemon=late[0].daemon,
        kib_per_hour=slope_per_hour([(one.seconds, one.private_kib) for one in late]),
        files_per_hour=slope_per_hour(beyond),
        calls=round(late[-1].vitals["calls_served"] - late[0].vitals["calls_served"]),
        seconds=late[-1].seconds - late[0].seconds,
    )


def state_faults(daemon: str, start: dict[str, float], end: dict[str, float]) -> list[str]:
    """Return in what the end state differs from the start state: everything that calls bring must be gone with them."""
    return [
        f"{daemon}: {name} were {start[name]:g} at the start and are {end[name]:g} at the end"
        for name in SAME
        if start[name] != end[name]
    ]
