"""One run of the load generator, and what it saw. Only the generator's own report is believed, in its units."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

from speed.install import GENERATOR

SERVER_CORE, GENERATOR_CORE = 0, 1
FRAME_BYTES = 160
FRAME_SECONDS = 0.02
LATE_US = 1000
"""A generator whose timeline is later than this in 1 % of frames would be measured itself."""
BUSY_GENERATOR = 0.9
BUSY_SERVER = 0.97
"""Of the time: a core that is busy for less, at saturation, had to wait for the generator."""
STARVED = 0.6
DISTURBED = 0.05
"""Of the server's core, taken by others: a run with more is marked."""


@dataclass(frozen=True)
class Load:
    """What is asked of the generator: see its first lines."""

    calls: int
    payload_bytes: int = FRAME_BYTES
    seconds: float = 4.0
    warm_up_seconds: float = 1.0
    settle_seconds: float = 0.5
    is_listening: bool = False
    most_under_way: int = 0
    press_ms: int = 0
    per_second: int = 0
    first_number: int = 0
    report_seconds: float = 0.0
    path: str = "/vendor-stream"
    is_smooth: bool = False
    is_counting: bool = False

    @property
    def expected_seconds(self) -> float:
        """How long a run may take before it counts as hanging."""
        return 120 + self.settle_seconds + self.warm_up_seconds + self.seconds

    def arguments(self) -> list[str]:
        """Return the generator's arguments."""
        words = [
            f"--calls={self.calls}",
            f"--bytes={self.payload_bytes}",
            f"--seconds={self.seconds}",
            f"--warm-up-seconds={self.warm_up_seconds}",
            f"--settle-seconds={self.settle_seconds}",
            f"--most-under-way={self.most_under_way}",
            f"--press-ms={self.press_ms}",
            f"--per-second={self.per_second}",
            f"--first-number={self.first_number}",
            f"--report-seconds={self.report_seconds}",
        ]
        flags = {"--listen": self.is_listening, "--smooth": self.is_smooth, "--count": self.is_counting}
        return [*words, f"--path={self.path}", *(flag for flag, is_set in flags.items() if is_set)]


@dataclass(frozen=True)
class Seen:
    """The report of a run, and what follows from it."""

    load: Load
    report: dict[str, Any]
    periods: list[dict[str, Any]] = field(default_factory=list)

    @property
    def frames(self) -> float:
        """Frames that came back while it was measured, by their bytes: messages may hold several."""
        return float(self.report["measured_bytes_back"]) / self.load.payload_bytes

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the servers."""
        return sum(float(server["cpu_seconds"]) for server in self.report["servers"])

    @property
    def us_per_frame(self) -> float:
        """Processor time of a frame in and a frame out; NaN if nothing came back."""
        return self.cpu_seconds / self.frames * 1e6 if self.frames else float("nan")

    def figure(self, name: str, which: str) -> float:
        """Return `p50`, `p99` or `max` of `latency_us`, `jitter_us` or `clear_us`; infinite if there was nothing."""
        figures = self.report[name]
        return float(figures[which]) if figures else float("inf")

    @property
    def rss_kib(self) -> int:
        """Resident memory of the servers at the end."""
        return sum(int(server["rss_kib"]) for server in self.report["servers"])

    @property
    def troubles(self) -> list[str]:
        """What went wrong, in words: a frame or a call that is not as it should be."""
        kinds = ("failed", "gone_early", "lost", "duplicated", "disordered", "corrupt", "unexpected")
        return [f"{self.report[kind]} {kind.replace('_', ' ')}" for kind in kinds if self.report[kind]]

    @property
    def generator_troubles(self) -> list[str]:
        """What says that the generator, not the server, may have been the limit: at saturation a server that is idle, else a timeline that is late."""
        own = self.report["generator"]
        if self.load.most_under_way:
            busy = self.busy_share
            return [f"kept the server's core busy for {busy:.0%}"] if busy < BUSY_SERVER else []
        late_us = own["late_us"]["p99"] if own["late_us"] else 0
        found = [f"late by {late_us} us (p99)"] if late_us > LATE_US else []
        return [*found, f"{own['cpu']:.0%} of its core"] if own["cpu"] > BUSY_GENERATOR else found

    @property
    def busy_share(self) -> float:
        """How much of the time the server's core was busy, with the server or with others."""
        return self.cpu_seconds / float(self.report["seconds"]) + self.foreign_share

    @property
    def foreign_share(self) -> float:
        """How much of the server's core others have taken, the hypervisor included."""
        core, seconds = self.report["core"], float(self.report["seconds"])
        taken = float(core["busy_seconds"]) - self.cpu_seconds + float(core["stolen_seconds"])
        return max(0.0, taken) / seconds

    @property
    def has_kept_up(self) -> bool:
        """True if nearly all that was sent came back while it was measured: else it was asked for too much."""
        sent = self.load.calls * float(self.report["seconds"]) * 8000 / self.load.payload_bytes
        return self.frames > 0.98 * sent

    @property
    def is_starved(self) -> bool:
        """True if the servers did not keep up, and not for want of trying: others had their core. It says nothing."""
        return not self.has_kept_up and self.cpu_seconds < STARVED * float(self.report["seconds"])

    @property
    def is_disturbed(self) -> bool:
        """True if others had a share of the server's core that shows in the figures."""
        return self.foreign_share > DISTURBED


def start(load: Load, port: int, pids: list[int]) -> subprocess.Popen[str]:
    """Start the generator against a port; `pids` are the servers' whose processor time is read."""
    command = [str(GENERATOR), f"--port={port}", f"--cpu={GENERATOR_CORE}", f"--watch-core={SERVER_CORE}"]
    command += [f"--pid={pid}" for pid in pids] + load.arguments()
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(load: Load, generator: subprocess.Popen[str]) -> Seen:
    """Wait for its report.

    Raises:
        RuntimeError: there is none.
    """
    try:
        out, _ = generator.communicate(timeout=load.expected_seconds)
    except subprocess.TimeoutExpired:
        generator.kill()
        generator.communicate()
        msg = f"the generator did not come to an end: {load}"
        raise RuntimeError(msg) from None
    if generator.returncode:
        msg = f"the generator failed with {generator.returncode}: {load}"
        raise RuntimeError(msg)
    *periods, report = [json.loads(line) for line in out.splitlines()]
    return Seen(load, report, periods)


def run_load(load: Load, port: int, pids: list[int]) -> Seen:
    """Run the generator to its end."""
    return finish(load, start(load, port, pids))
