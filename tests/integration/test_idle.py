"""What a connection costs that has been let in and says nothing: reliability, G4. A thousand; ten thousand in a long run."""

import asyncio
import os
import re
import resource
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.daemon import Daemon, on_uvloop
from integration.test_gate import WHOLE
from integration.test_tls import make_certificate

CONNECTIONS = 10_000 if os.environ.get("SMARTFLO_TEST_LONG") else 1000
AT_ONCE = 50
MAX_KIB = 20.0
"""14 were seen."""

TLS_CONNECTIONS = 300
MAX_TLS_KIB = 60.0
"""43 were seen."""


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


def hold(tmp_path: Path, count: int, tls: ssl.SSLContext | None = None, **keys: object) -> float:
    """Have so many idle connections to a daemon, all of which it must hold; return what each takes, in KiB."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(daemon: Daemon) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port, ssl=tls)
        writers.append(writer)
        writer.write(WHOLE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    async def main(daemon: Daemon) -> float:
        before = private_kib(daemon.pid)
        for _ in range(count // AT_ONCE):
            await asyncio.gather(*(connect(daemon) for _ in range(AT_ONCE)))
        each = (private_kib(daemon.pid) - before) / count
        assert daemon.sockets() >= count
        for writer in writers:
            writer.transport.abort()
        return each

    patience = {"start_deadline_seconds": 300, "idle_seconds": 300, "send_connected": "never"}
    limits = {"max_calls": count + 1, "max_new_calls_per_second": 100_000}
    with many_files(), Daemon(tmp_path, handler="silence", **patience, **limits, **keys) as daemon:
        each = on_uvloop(main(daemon), 240.0)
    print(f"{count} idle connections: {each:.1f} KiB each")
    return each


def test_idle_connections_cost_little(tmp_path: Path) -> None:
    """All are held, and each takes some pages."""
    assert hold(tmp_path, CONNECTIONS) < MAX_KIB


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_idle_connections_of_tls_cost_more(tmp_path: Path) -> None:
    """With the buffers and the state of TLS, in this process: a proxy's would be its own."""
    cert, key = make_certificate(tmp_path, "first")
    key.chmod(0o600)
    tls = ssl.create_default_context(cafile=str(cert))
    tls.check_hostname = False
    assert hold(tmp_path, TLS_CONNECTIONS, tls, tls_cert_file=str(cert), tls_key_file=str(key)) < MAX_TLS_KIB
