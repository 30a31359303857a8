"""The daemon makes only the system calls that its unit allows: one that does everything is watched by strace.

The unit itself needs a systemd as the first process, which tests have not. What is compared is its own list: `@system-service`
without `@privileged` and `@resources`, as this machine's systemd spells it out.
"""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from faults.support import run
from integration.daemon import WAIT_SECONDS, Daemon, write_secret
from integration.test_tls import client, install, make_certificate
from integration.wire import dialled

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "smartflo-bridge.service"

TOOLS = ["openssl", "strace", "systemd-analyze"]
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"one of {', '.join(TOOLS)} is not installed"
)


def members(group: str) -> set[str]:
    """Return the system calls in one of systemd's groups, those of the groups in it included."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    found = {line.strip() for line in said.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
    inner = {name for name in found if name.startswith("@")}
    return (found - inner).union(*map(members, inner))


def allowed() -> set[str]:
    """Return the system calls that the unit lets through."""
    names: set[str] = set()
    for value in re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(), re.MULTILINE):
        groups = set().union(*map(members, value.removeprefix("~").split()))
        names = names - groups if value.startswith("~") else names | groups
    return names


def traced(folder: Path, keys: str) -> Daemon:
    """Return a daemon with this configuration whose system calls are counted in the file `trace`."""
    file = folder / "smartflo.toml"
    file.write_text(keys.replace("{folder}", str(folder)))
    # The tracer is a grandchild, so that signals are for the daemon.
    tracing = ("strace", "-D", "-f", "-qq", "-c", "-U", "name,calls", "-o", str(folder / "trace"))
    return Daemon(folder, command=(*tracing, "{program}", "serve", "--config", str(file)))


def calls_in(trace: Path) -> set[str]:
    """Return the system calls that strace counted, once it has written them: it ends a little after the daemon."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (trace.exists() and re.search(r"^total +\d+\n\Z", trace.read_text(), re.MULTILINE)):
        assert time.monotonic() < deadline, "strace wrote nothing"
        time.sleep(0.05)
    return set(re.findall(r"^(\w+) +\d+$", trace.read_text(), re.MULTILINE)) - {"total"}


KEYS = """
port = 0
health-port = 0
lame-duck-seconds = 0
drain-seconds = 1
tls-cert-file = "tls.crt"
tls-key-file = "tls.key"
token-secret-file = "token.secret"
used-token-dir = "{folder}/used"
resolver-path = "/resolve"
resolver-token-file = "resolver.token"
public-url = "wss://localhost"
capture-dir = "{folder}/captures"
record-dir = "{folder}/recordings"
capture-compress = true
"""
"""Everything of the daemon that touches a file or the network."""


def asked(port: int, pair: tuple[Path, Path]) -> str:
    """Ask the dynamic endpoint, and return the path of the stream that it names."""
    url = f"https://localhost:{port}/resolve/{'r' * 32}"
    with urllib.request.urlopen(url, timeout=WAIT_SECONDS, context=client(pair)) as answer:
        return str(json.load(answer)["wss_url"]).removeprefix("wss://localhost")


async def run_a_life(daemon: Daemon, pair: tuple[Path, Path]) -> None:
    """Have a call come and go, a certificate renewed, and another call cut by the end of the drain."""
    for number in (1, 2):
        path = await asyncio.to_thread(asked, daemon.port, pair)
        async with dialled(f"wss://localhost:{daemon.port}{path}", ssl=client(pair)) as platform:
            await platform.start()
            await daemon.log.seen(" call started ", number)
            for _ in range(10):
                await platform.speak()
                await asyncio.sleep(0.1)  # as audio comes
            if number == 1:
                daemon.signal(signal.SIGHUP)
                await daemon.log.seen("certificate loaded")
                await platform.stop()
            else:
                daemon.signal(signal.SIGTERM)
            assert (await platform.closed())[0] == (1000 if number == 1 else 1001)
    assert await asyncio.to_thread(daemon.wait, 20) == 0


@pytest.mark.parametrize("who", ["handler", "agent"])
def test_only_the_system_calls_of_the_unit_are_made(tmp_path: Path, who: str) -> None:
    """Start, TLS, tokens, the dynamic endpoint, calls, captures, recordings, an agent by name, a reload, SIGTERM, a cut."""
    pair = make_certificate(tmp_path, "first")
    install(pair, tmp_path)
    write_secret(tmp_path / "token.secret", "t" * 40)
    write_secret(tmp_path / "resolver.token", "r" * 32)

    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, bytes):
                await connection.send(message)

    async def main() -> None:
        async with serve(answer, "localhost", 0) as server:
            port = server.sockets[0].getsockname()[1]
            table = {
                "handler": 'handler = "ivr"\n',
                "agent": f'[agent]\nkind = "raw"\nurl = "ws://localhost:{port}/"\n',
            }
            keys = table[who] + KEYS if who == "handler" else KEYS + table[who]
            daemon = traced(tmp_path, keys)
            await asyncio.to_thread(daemon.__enter__)
            try:
                await run_a_life(daemon, pair)
            finally:
                await asyncio.to_thread(daemon.__exit__, *sys.exc_info())  # which checks its log

    run(main())
    made = calls_in(tmp_path / "trace")
    assert {"accept4", "epoll_wait", "sendto"} & made, made
    assert made - allowed() == set()
    assert all(any((tmp_path / name).iterdir()) for name in ("used", "captures", "recordings"))
    assert {"openat", "socket", "bind", "listen"} <= made, "not all of it was traced"
