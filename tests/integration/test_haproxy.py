"""HAProxy in front, as operators run it: calls through it, checks that leave no trace, and a drain that it notices."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon import WAIT_SECONDS, Daemon, until, write_secret
from integration.handlers.answers import speech
from integration.machine import again_if_starved
from integration.wire import check_speech, plan, sid_of
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.plan import CallPlan, HangUp

CHECK_MS = 200
DOWN_SECONDS = 1.0  # two failed checks, and what a busy machine may add
LAME_DUCK_SECONDS = 2.0
CHECKED_SECONDS = 3.0  # 15 checks of each kind

CONFIGURATION = """
global
    stats socket {stats} mode 600
defaults
    mode {mode}
    {option}
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    timeout tunnel 1h
frontend platform
    bind fd@{fd}
    default_backend bridges
backend bridges
    default-server inter {inter}ms fall 2 rise 1
    server ready 127.0.0.1:{port} check port {health_port}
# Not how it should be done, but done: they may leave no trace either.
backend others
    default-server inter {inter}ms fall 2 rise 1
    server bare 127.0.0.1:{port} check
    server raw 127.0.0.1:{health_port} check
backend asking
    option httpchk GET /health
    http-check expect status 200
    default-server inter {inter}ms fall 2 rise 1
    server http 127.0.0.1:{port} check
"""

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")


class Proxy:
    """A running HAProxy.

    Args:
        port: that it listens on.
        stats: where it tells of itself.
    """

    def __init__(self, port: int, stats: Path) -> None:
        self.url = f"ws://127.0.0.1:{port}/vendor-stream"
        self._stats = stats

    def states(self) -> dict[str, str]:
        """Return what it thinks of each server: `UP`, `DOWN`, or on the way."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self._stats))
            except (FileNotFoundError, ConnectionRefusedError):
                return {}
            sock.sendall(b"show stat\n")
            table = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        head, *rows = [line.split(",") for line in table.lstrip("# ").splitlines() if line]
        name, status = head.index("svname"), head.index("status")
        return {row[name]: row[status] for row in rows if row[name] not in ("FRONTEND", "BACKEND")}


@contextlib.contextmanager
def proxy(folder: Path, daemon: Daemon, mode: str) -> Iterator[Proxy]:
    """Run HAProxy before a daemon."""
    file = folder / "haproxy.cfg"
    # pytest's own names are too long for a socket's address.
    with tempfile.TemporaryDirectory() as short, socket.create_server(("127.0.0.1", 0)) as sock:
        stats = Path(short) / "stats"
        sock.set_inheritable(True)
        file.write_text(
            CONFIGURATION.format(
                stats=stats,
                mode=mode,
                option="option forwardfor" if mode == "http" else "",
                fd=sock.fileno(),
                inter=CHECK_MS,
                port=daemon.port,
                health_port=daemon.health_port,
            )
        )
        with (folder / "haproxy.log").open("wb") as log:
            process = subprocess.Popen(["haproxy", "-db", "-f", file], pass_fds=[sock.fileno()], stdout=log, stderr=log)
        try:
            yield Proxy(sock.getsockname()[1], stats)
            assert process.poll() is None, (folder / "haproxy.log").read_text()
        finally:
            process.kill()
            process.wait(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("trusted", "client"), [(["127.0.0.1"], "127.0.0.9"), (["127.0.0.0/29"], "127.0.0.9"), ([], "127.0.0.1")]
)
def test_who_knocked_is_told_by_a_trusted_proxy(tmp_path: Path, trusted: list[str], client: str) -> None:
    """The log has the address of who had no token, and not what that one claimed to be; an untrusted proxy is who knocked."""
    write_secret(tmp_path / "stream.token", "right-right-right-right")
    secrets = ["right-right", "wrong-wrong", "6.6.6.6"]
    keys = {"token_file": "stream.token", "trusted_proxies": trusted}
    with (
        Daemon(tmp_path, handler="answers:answer", secrets=secrets, **keys) as daemon,
        proxy(tmp_path, daemon, "http") as running,
        contextlib.closing(socket.socket()) as sock,
    ):
        sock.settimeout(WAIT_SECONDS)
        sock.bind(("127.0.0.9", 0))
        sock.connect(("127.0.0.1", int(running.url.split(":")[2].split("/")[0])))
        sock.sendall(
            b"GET /vendor-stream/wrong-wrong-wrong HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 401 ")
        (said,) = daemon.log.wait_for("stream refused ")
        assert said.endswith(f"stream refused client={client} why=token")


@pytest.mark.parametrize("mode", ["tcp", "http"])
@again_if_starved
def test_haproxy_in_front(tmp_path: Path, mode: str) -> None:
    """Calls are as good through it; its checks leave no line; on a drain it sends no more calls, and the live one goes on."""

    async def main(daemon: Daemon, proxy: Proxy) -> None:
        await until(lambda: set(proxy.states().values()) == {"UP"} and len(proxy.states()) == 4)
        before = len(daemon.log.all())
        report = await place_call(proxy.url, plan(HangUp(CHECKED_SECONDS), role="speak", seed="through", seconds="2.5"))
        check_speech(report, speech("through", 2.5))
        assert len(report.heard.strip(b"\xff")) == 2.5 * 8000
        assert report.close_code == 1000
        assert (await asyncio.to_thread(daemon.end_of, sid_of(report)))["termination"] == "completed"
        assert len(daemon.log.all()) - before == 2, "it says that the call started and ended, and no more"

        live = asyncio.create_task(place_call(proxy.url, plan(HangUp(4.0), role="speak", seed="live", seconds="3.5")))
        await daemon.log.seen("call started", 2)
        daemon.signal(signal.SIGTERM)
        await until(lambda: proxy.states()["ready"].startswith("DOWN"), DOWN_SECONDS)
        with pytest.raises(CallFailed):
            await place_call(proxy.url, CallPlan(wait_seconds=3.0))
        direct = await place_call(daemon.url, plan(HangUp(0.3), role="speak", seed="late", seconds="0.2"))
        check_speech(direct, speech("late", 0.2))
        report = await live
        check_speech(report, speech("live", 3.5))
        assert len(report.heard.strip(b"\xff")) == 3.5 * 8000
        assert report.close_code == 1000
        assert daemon.end_of(sid_of(report))["termination"] == "completed"

    with Daemon(tmp_path, handler="answers:answer", lame_duck_seconds=LAME_DUCK_SECONDS, drain_seconds=30) as daemon:
        with proxy(tmp_path, daemon, mode) as running:
            asyncio.run(main(daemon, running))
        assert daemon.wait() == 0
