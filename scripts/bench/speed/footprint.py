"""P10, P12, P15, P20: memory, long calls, two processes on one port, and how long a start takes."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from speed.install import CACHE, OURS
from speed.load import SERVER_CORE, Load, run_load
from speed.rounds import Journal, measure_running
from speed.servers import (
    FRAME_BY_FRAME,
    HANDLERS,
    OURS_20_MS,
    START_SECONDS,
    Running,
    await_port,
    daemon,
    environment,
    free_port,
    running,
    stop,
)
from speed.verdicts import Outcome

PLATFORM = daemon()
FEW, MANY = 50, 250
STARTS = 7
PROCESSES_CALLS = 100


def rss_kib(pid: int) -> int:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def memory(journal: Journal) -> dict[str, Outcome]:
    """Measure the daemon idle, and what a live call adds: P10. Per call, 250 are compared with 50, so no start is in it."""
    with running(PLATFORM) as served:
        time.sleep(1)
        idle = rss_kib(served.pid)
    kib = {}
    for calls in (FEW, MANY):
        with running(PLATFORM) as served:
            kib[calls] = measure_running(served, Load(calls, payload_bytes=800), journal).rss_kib
    per_call = (kib[MANY] - kib[FEW]) / (MANY - FEW)
    return {"P10": Outcome(f"{idle / 1024:.1f}; {per_call:.1f}", (idle / 1024, per_call))}


def endurance(minutes: int, journal: Journal) -> dict[str, Outcome]:
    """Compare the last minute of 50 long calls with the first, and look at what is left a second after them: P12."""
    load = Load(FEW, seconds=60.0 * minutes, warm_up_seconds=5.0, report_seconds=60.0)
    with running(OURS_20_MS) as served:
        seen = measure_running(served, load, journal)
        time.sleep(1)
        left = calls_left(served)
    first, last = seen.periods[0], seen.periods[-1]
    cpu = (last["cpu_seconds"] / last["frames"]) / (first["cpu_seconds"] / first["frames"])
    rss = last["rss_kib"] / first["rss_kib"]
    measured = f"{cpu:.2f}; {100 * (rss - 1):+.1f} %; {left} calls left after 1 s"
    note = f"minute {minutes} against minute 1" + ("" if minutes >= 30 else "; 30 with --long")
    return {"P12": Outcome(measured, (cpu, rss, left), ", ".join([note, *seen.troubles]))}


def calls_left(served: Running) -> int:
    """Return how many calls a daemon says it has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/health", timeout=5) as answer:
        return int(json.load(answer)["calls"])


# --- Starts


def seconds_to_ready() -> float:
    """Start the daemon with a supervisor's socket, and return how long it takes until it says that it is ready."""
    address = f"@smartflo-bench-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:])
        sock.settimeout(START_SECONDS)
        command = PLATFORM.command(free_port())
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environment(), "NOTIFY_SOCKET": address},
        )
        try:
            while b"READY=1" not in sock.recv(4096):
                pass
            return time.perf_counter() - began
        finally:
            stop(process)


def seconds_to_version() -> float:
    """Return how long `--version` takes."""
    began = time.perf_counter()
    subprocess.run([OURS.with_name("smartflo-bridge"), "--version"], capture_output=True, check=True, env=environment())
    return time.perf_counter() - began


def starts() -> dict[str, Outcome]:
    """Measure a start, and the shortest command: P20, medians."""
    ready = median(seconds_to_ready() for _ in range(STARTS))
    version = median(seconds_to_version() for _ in range(STARTS))
    return {"P20": Outcome(f"{ready:.2f}; {version:.2f}", (ready, version))}


# --- Two processes

_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="calls")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Hands a socket over as systemd does: as descriptor 3, to this very process."""


@contextmanager
def sharing(count: int) -> Iterator[tuple[int, list[int]]]:
    """Run daemons that share one listening socket, on one core; give the port and their processes."""
    processes: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock, (CACHE / "server.log").open("wb") as log:
        port = int(sock.getsockname()[1])
        try:
            for number in range(count):
                program = daemon({**FRAME_BY_FRAME}).command(free_port())
                command = ["taskset", "--cpu-list", str(SERVER_CORE), str(OURS), "-c", _HAND_OVER]
                command += [str(sock.fileno()), *program]
                processes.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=log, cwd=HANDLERS, env=environment(), pass_fds=[sock.fileno()]
                    )
                )
                await_port(port, processes[number], "ours, sharing")
            time.sleep(1)
            yield port, [process.pid for process in processes]
        finally:
            for process in processes:
                stop(process)


def share_port(rounds: int, seconds: float, journal: Journal) -> dict[str, Outcome]:
    """Compare two processes behind one port with one, at the same load and on the same core: P15."""
    us: dict[int, list[float]] = {1: [], 2: []}
    shares = []
    for _ in range(rounds):
        for count, figures in us.items():
            with sharing(count) as (port, pids):
                seen = run_load(Load(PROCESSES_CALLS, seconds=seconds), port, pids)
            journal.note(f"ours, {count} proc.", seen)
            figures.append(seen.us_per_frame)
            if count == 2:
                shares.append(max(server["cpu_seconds"] for server in seen.report["servers"]) / seen.cpu_seconds)
    ratio = median(us[2]) / median(us[1])
    note = f"a shared listening socket; the busier one of the two had {median(shares):.0%} of the work"
    return {"P15": Outcome(f"{ratio:.2f}", (ratio,), note)}
