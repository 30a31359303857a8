"""What a connection costs that has been let in and says nothing: reliability, G4. A thousand; ten thousand in a long run."""

import asyncio
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.daemon import Daemon, on_uvloop
from integration.test_gate import WHOLE

CONNECTIONS = 10_000 if os.environ.get("SMARTFLO_TEST_LONG") else 1000
AT_ONCE = 50
MAX_KIB = 20.0
"""14 were seen."""


def private_kib(pid: int) -> int:
    """Return how much memory is a process's own; shared libraries and what was never written to do not count."""
    pages = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_Dirty: +(\d+) kB", pages, re.MULTILINE))


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process, and those that it starts, open as many files as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_idle_connections_cost_little(tmp_path: Path) -> None:
    """All are held, and each takes some pages."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(daemon: Daemon) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writers.append(writer)
        writer.write(WHOLE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    async def main(daemon: Daemon) -> None:
        before = private_kib(daemon.pid)
        for _ in range(CONNECTIONS // AT_ONCE):
            await asyncio.gather(*(connect(daemon) for _ in range(AT_ONCE)))
        each = (private_kib(daemon.pid) - before) / CONNECTIONS
        print(f"{CONNECTIONS} idle connections: {each:.1f} KiB each")
        assert each < MAX_KIB
        assert daemon.sockets() >= CONNECTIONS
        for writer in writers:
            writer.transport.abort()

    patience = {"start_deadline_seconds": 300, "idle_seconds": 300, "send_connected": "never"}
    limits = {"max_calls": CONNECTIONS + 1, "max_new_calls_per_second": 100_000}
    with many_files(), Daemon(tmp_path, handler="silence", **patience, **limits) as daemon:
        on_uvloop(main(daemon), 240.0)
