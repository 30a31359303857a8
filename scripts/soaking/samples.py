"""What the kernel tells of a process and of the machine, every few seconds."""

import os
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
    """One look at a daemon. `seconds` are of the soak, lags of the last minute, the processor's since the process began."""

    daemon: str
    seconds: float
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
        private_kib=private_kib(pid),
        files=entries(f"/proc/{pid}/fd"),
        threads=entries(f"/proc/{pid}/task"),
        cpu_seconds=cpu_seconds(pid),
        generator_cpu_seconds=round(sum(os.times()[:2]), 2),
        tcp_drops=tcp_drops(),
        vitals=vitals,
    )


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


def tcp_drops() -> int:
    """Return how often the kernel has dropped something of TCP for want of room, since it started. It is the whole machine's."""
    names, values = (line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2])
    return sum(int(value) for name, value in zip(names, values, strict=True) if name in TCP_DROPS)
