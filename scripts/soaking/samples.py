"""What the kernel tells of a process and of the machine, every few seconds."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

TCP_DROPS = (
    "ListenDrops",
    "ListenOverflows",
    "TCPBacklogDrop",
    "TCPRcvQDrop",
    "TCPReqQFullDrop",
    "TCPAbortOnMemory",
    "PruneCalled",
    "RcvPruned",
    "TCPOFODrop",
    "TCPMinTTLDrop",
)
_TICKS = os.sysconf("SC_CLK_TCK")


class Sample(msgspec.Struct, kw_only=True):
    """One look at a daemon, and at the generator.

    Attributes:
        seconds: of the soak.
        at: on the wall clock.
        cpu_seconds, generator_cpu_seconds: of the processor, since the process began.
        waited_seconds, generator_waited_seconds: in which the main thread could have run, and others had its core; likewise.
        tcp_drops: of the whole machine, since it started.
        vitals: as the daemon told them.
    """

    daemon: str
    seconds: float
    at: float = 0.0
    waited_seconds: float = 0.0
    generator_waited_seconds: float = 0.0
    private_kib: int
    files: int
    threads: int
    cpu_seconds: float
    generator_cpu_seconds: float
    tcp_drops: int
    vitals: dict[str, float]


def sample(daemon: str, pid: int, seconds: float, vitals: dict[str, float]) -> Sample:
    """Look at a process, whose vitals have just come."""
    return Sample(
        daemon=daemon,
        seconds=round(seconds, 1),
        at=round(time.time(), 1),
        waited_seconds=waited_seconds(pid),
        generator_waited_seconds=waited_seconds(os.getpid()),
        private_kib=private_kib(pid),
        files=entries(f"/proc/{pid}/fd"),
        threads=entries(f"/proc/{pid}/task"),
        cpu_seconds=cpu_seconds(pid),
        generator_cpu_seconds=round(sum(os.times()[:2]), 2),
        tcp_drops=tcp_drops(),
        vitals=vitals,
    )


def busy_share(samples: Sequence[Sample]) -> float:
    """Return how much of a core one daemon took, from the first of its samples to the last."""
    first, last = samples[0], samples[-1]
    return (last.cpu_seconds - first.cpu_seconds) / max(last.seconds - first.seconds, 1)


def entries(folder: str) -> int:
    """Return how many entries a folder has."""
    return sum(1 for _ in Path(folder).iterdir())


def private_kib(pid: int) -> int:
    """Return how much memory is the process's alone: what a leak adds to, and shared libraries do not."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def waited_seconds(pid: int) -> float:
    """Return for how long the main thread of a process was kept waiting for a core; 0 where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


def tcp_drops() -> int:
    """Return how often the kernel has dropped something of TCP for want of room, since it started. It is the whole machine's."""
    names, values = (line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2])
    return sum(int(value) for name, value in zip(names, values, strict=True) if name in TCP_DROPS)
