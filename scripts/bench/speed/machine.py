"""The machine: what it is, and how still it is. A busy loop on a core sees every time that somebody else had it."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from speed.install import CACHE, NODE_MODULES, OTHERS, OURS, PIPECAT, ROOT
from speed.load import GENERATOR_CORE, SERVER_CORE

STALL_SECONDS = 0.001
"""A busy loop turns in well under a microsecond: so long without a turn, the core was somebody else's."""
WATCH_SECONDS = 1.0


PRIORITY = -10
AUTOGROUP = Path("/proc/self/autogroup")
"""Where the kernel shares the cores by session first, priorities count within a session only; this is the session's own."""


@contextmanager
def coming_first() -> Iterator[None]:
    """Let what runs inside the context, and what it starts, come before everybody else, where that is allowed.

    What has to wait for its core finds several frames when it gets it, and looks the cheaper for it.
    """
    with _at_priority(PRIORITY):
        yield


@contextmanager
def taking_turns() -> Iterator[None]:
    """Let what runs inside the context take its turns with everybody else again: for figures of latency.

    The kernel's own threads for what the network brings (ksoftirqd) have an ordinary priority. Whoever comes before them waits,
    for tens of ms, for his own messages.
    """
    with _at_priority(max(0, os.getpriority(os.PRIO_PROCESS, 0))):  # who was told to give way still does
        yield


@contextmanager
def _at_priority(priority: int) -> Iterator[None]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    text = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        if text:
            AUTOGROUP.write_text(str(priority))
    try:
        yield
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
            if text:
                AUTOGROUP.write_text(text.split()[-1])


@dataclass(frozen=True)
class Stalls:
    """What a busy loop on one core has seen."""

    core: int
    count: int
    longest_ms: float
    share: float


def watch(core: int, seconds: float = WATCH_SECONDS) -> Stalls:
    """Turn in a loop on a core, and note each time that it stood still."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        began = last = time.perf_counter()
        stalls = []
        while (now := time.perf_counter()) - began < seconds:
            if now - last > STALL_SECONDS:
                stalls.append(now - last)
            last = now
    finally:
        os.sched_setaffinity(0, allowed)
    return Stalls(core, len(stalls), max(stalls, default=0.0) * 1000, sum(stalls) / seconds)


class StallWatch:
    """Looks at the cores now and then, between measurements: a loop beside a server would take its core."""

    def __init__(self) -> None:
        self.seen: list[Stalls] = []

    def look(self) -> None:
        """Watch the servers' core and the generator's."""
        self.seen += [watch(core) for core in (SERVER_CORE, GENERATOR_CORE)]

    def summary(self) -> str:
        """Say what was seen, in a sentence."""
        if not self.seen:
            return "not watched"
        count, longest = sum(one.count for one in self.seen), max(one.longest_ms for one in self.seen)
        share = sum(one.share for one in self.seen) / len(self.seen)
        return (
            f"a busy loop, {len(self.seen)} times {WATCH_SECONDS:g} s on either core between the measurements, stood still "
            f"{count} times for more than 1 ms, at most {longest:.1f} ms, {share:.1%} of the time"
        )


def first_line(*command: str) -> str:
    """Return what a program says first, or that it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    return next(iter(done.stdout.splitlines()), "unknown")


def processor() -> str:
    """Return the processor's name, as the kernel knows it."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a file that is no path of anybody's
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else f"{platform.machine()}, {os.cpu_count()} cores"


def packages(python: str, *names: str) -> str:
    """Return the versions of packages in an environment."""
    code = f"from importlib.metadata import version\nfor n in {names!r}: print(n, version(n), end=', ')"
    return first_line(python, "-c", code).rstrip(", ")


def facts() -> list[tuple[str, str]]:
    """Return what the figures depend on: hardware, system, versions."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    others = ("websockets", "msgspec", "uvloop", "fastapi", "pydantic", "uvicorn", "httptools", "picows")
    return [
        ("processor", f"{processor()}, {memory_gib:.0f} GiB; servers on one core, the generator on the other"),
        ("system", f"Linux {platform.release().partition('-')[0]}, {first_line('gcc', '--version')}"),
        ("ours", f"commit {commit}, {packages(str(OURS), 'smartflo-bridge', 'websockets', 'msgspec', 'uvloop')}"),
        ("Python", f"{first_line(str(OURS), '-V').removeprefix('Python ')}, built {optimised()}, for all of them"),
        ("others", packages(str(OTHERS), *others)),
        (
            "pipecat",
            packages(str(PIPECAT), "pipecat-ai", "fastapi", "uvicorn") if PIPECAT.exists() else "not installed",
        ),
        ("Node", f"{first_line('node', '--version')}, ws {ws_version()}"),
    ]


def optimised() -> str:
    """Say whether Python was built with what makes it some tenths faster: its own code, not that of libraries in C."""
    code = "import sysconfig; print('--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or ''))"
    return (
        "with --enable-optimizations"
        if first_line(str(OURS), "-c", code) == "True"
        else "without --enable-optimizations"
    )


def ws_version() -> str:
    """Return the version of Node's `ws`."""
    if not (NODE_MODULES / "ws").exists():
        return "not installed"
    return first_line("node", "-p", f"require({str(NODE_MODULES / 'ws' / 'package.json')!r}).version")


def remember(text: str) -> None:
    """Add a line to the record of this run."""
    with (CACHE / "runs.jsonl").open("a") as record:
        record.write(text + "\n")
