"""Faults 33 to 42, as far as tests/integration/test_stopping.py and test_gate.py do not have them: the machine's side.

Signals with callers who do not read, no more file descriptors, a log that nobody takes, a disk that is full, a wall clock
that jumps, a configuration that changes.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from faults.support import account_of, counted_call, neighbours, run
from integration.daemon import HANDLERS, PROGRAM, WAIT_SECONDS, Daemon, run_program, until, write_config
from integration.wire import dialled

DRAIN_SECONDS = 2.0
EXIT_SECONDS = 5.0  # reliability, G8
STUCK = 20
FEW_FILES = 48
HOUR_SECONDS = 3600


def limited(*limits: str) -> list[str]:
    """Return a command that starts a daemon under resource limits."""
    return ["prlimit", *limits, "{program}", "serve", "--config", "{file}"]


def test_33_sigterm_with_twenty_stuck_callers(tmp_path: Path) -> None:
    """Calls that end inside the window lose nothing; the exit comes within the drain and 5 s, whoever does not read."""

    async def main(daemon: Daemon) -> None:
        async with AsyncExitStack() as stack:
            stuck = [await stack.enter_async_context(dialled(daemon.url)) for _ in range(STUCK)]
            for platform in stuck:
                platform.connection.transport.pause_reading()
                await platform.start(role="flood", times="1000")
            await daemon.log.seen("call started", STUCK)
            call = await stack.enter_async_context(counted_call(daemon.url, "own"))
            talking = asyncio.ensure_future(call.talk(1.5))
            await until(lambda: call.heard)
            daemon.signal(signal.SIGTERM)
            began_at = time.monotonic()
            await talking
            await call.stop()
            assert await asyncio.to_thread(daemon.wait, DRAIN_SECONDS + EXIT_SECONDS) == 0
            assert time.monotonic() - began_at < DRAIN_SECONDS + EXIT_SECONDS
        assert daemon.end_of(call.platform.sid)["termination"] == "completed"
        for sid in (call.platform.sid, *(platform.sid for platform in stuck)):
            account_of(tmp_path, sid)

    with Daemon(
        tmp_path,
        handler="answers:answer",
        capture_dir=str(tmp_path),
        drain_seconds=DRAIN_SECONDS,
        write_deadline_seconds=60,
    ) as daemon:
        run(main(daemon))


def test_35_sigterm_during_a_handshake(tmp_path: Path) -> None:
    """Who has said half of a request is served for the rest of it, and nobody holds up the exit."""
    with Daemon(tmp_path, handler="answers:answer", drain_seconds=60) as daemon:
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=WAIT_SECONDS) as half:
            half.sendall(b"GET /vendor-stream HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.2)  # it is in its handshake now, which nothing announces
            daemon.signal(signal.SIGTERM)
            while _accepts(daemon.port):
                time.sleep(0.02)
            half.sendall(
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            answer = half.recv(4096)
        assert answer[:12] == b"HTTP/1.1 101", answer
        assert daemon.wait(EXIT_SECONDS) == 0


def test_35_sigterm_before_it_is_ready(tmp_path: Path) -> None:
    """Whenever it comes while the daemon starts, the process ends at once: killed, or by its own drain."""
    file = write_config(tmp_path, port=0, health_port=0, lame_duck_seconds=0, drain_seconds=0)
    for wait_seconds in (0.05, 0.15, 0.3, 0.5, 0.8):
        process = subprocess.Popen([str(PROGRAM), "serve", "--config", str(file)], stderr=subprocess.PIPE, text=True)
        time.sleep(wait_seconds)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=EXIT_SECONDS)
        assert process.returncode in (0, -signal.SIGTERM), said
        assert "Traceback" not in said


def test_37_stopped_for_five_seconds(tmp_path: Path) -> None:
    """Calls whose limits ran out while the whole process stood still are not cut for it: what they said is taken first."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            daemon.signal(signal.SIGSTOP)
            await asyncio.sleep(5.0)  # that is how long it stands still
            daemon.signal(signal.SIGCONT)

    keys = {"idle_seconds": 3.0, "write_deadline_seconds": 2.0, "inbound_seconds": 8.0, "ping_seconds": 1.0}
    with Daemon(tmp_path, handler="answers:answer", **keys) as daemon:
        run(main(daemon))


def test_38_no_more_file_descriptors(tmp_path: Path) -> None:
    """Calls that live go on; who comes meanwhile is turned away or waits; the log stays readable; then all is well."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            crowd = []
            for _ in range(3 * FEW_FILES):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", daemon.port))
                crowd.append(sock)
            await until(lambda: len(daemon.open_files()) >= FEW_FILES - 1)
            await asyncio.sleep(2.0)  # so long there is none left
            for sock in crowd:
                sock.close()
            await until(lambda: len(daemon.open_files()) < FEW_FILES // 2)
            async with counted_call(daemon.url, "own") as call:
                await call.talk(0.3)
                await call.stop()
        (alarm,) = daemon.log.find(" WARNING file descriptors run out")  # within 10 s, however long it lasts
        assert f" allowed={FEW_FILES} " in alarm[1]
        assert len(daemon.log.find(" (WARNING|ERROR) ")) <= 2

    command = limited(f"--nofile={FEW_FILES}")
    with Daemon(tmp_path, handler="answers:answer", open_seconds=30, command=command, expects=["."]) as daemon:
        run(main(daemon))


@pytest.mark.parametrize("way", ["nobody reads it", "its reader is gone", "closed"])
def test_40_a_log_that_nobody_takes(tmp_path: Path, way: str) -> None:
    """Standard error is a full pipe, a broken one, or closed: calls are served all the same, and the exit comes in time."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = write_config(
        tmp_path, handler="answers:answer", port=port, health_port=0, lame_duck_seconds=0, drain_seconds=1
    )
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    if way == "nobody reads it":
        with suppress(BlockingIOError):
            while True:
                os.write(write_end, b"x" * 4096)
        os.set_blocking(write_end, True)  # it is the pipe's, so the daemon's too
    elif way == "its reader is gone":
        os.close(read_end)
    command = [str(PROGRAM), "serve", "--config", str(file)]
    closing = ["sh", "-c", 'exec "$0" "$@" 2>&-'] if way == "closed" else []
    process = subprocess.Popen([*closing, *command], cwd=HANDLERS, stdin=subprocess.DEVNULL, stderr=write_end)
    os.close(write_end)

    async def main() -> None:
        await until(lambda: _accepts(port), 20)
        for number in range(3):
            async with counted_call(f"ws://127.0.0.1:{port}/vendor-stream", f"{number}") as call:
                await call.talk(0.3)
                await call.stop()

    try:
        run(main())
        process.send_signal(signal.SIGTERM)
        assert process.wait(1 + EXIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        if way != "its reader is gone":
            os.close(read_end)


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_40_a_disk_that_is_full(tmp_path: Path) -> None:
    """A capture that cannot be written is cut, and said once; the call that it was of loses nothing."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            await asyncio.sleep(1.0)  # of talk: more than the files may hold
        assert len(daemon.log.find("capture cut short")) == 3

    command = limited("--fsize=8192")
    with Daemon(
        tmp_path, handler="answers:answer", capture_dir=str(tmp_path / "captures"), command=command, expects=["capture"]
    ) as daemon:
        run(main(daemon))


JUMPING_CLOCK = """
import signal, time
real, jump = time.time, [0.0]
time.time = lambda: real() + jump[0]
time.time_ns = lambda: int(time.time() * 1e9)
signal.signal(signal.SIGWINCH, lambda *_: jump.__setitem__(0, jump[0] + 3600))
signal.signal(signal.SIGUSR2, lambda *_: jump.__setitem__(0, jump[0] - 7200))
"""


def test_41_the_wall_clock_jumps(tmp_path: Path) -> None:
    """An hour ahead and two back, in the middle of calls: only the log's stamps show it."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK)

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            for number in (signal.SIGWINCH, signal.SIGUSR2):
                daemon.signal(number)
                await asyncio.sleep(1.0)  # of talk under another time
                async with counted_call(daemon.url, "own") as call:
                    await call.talk(0.2)
                    await call.stop()
        hours = {text[:13] for text in daemon.log.all()}
        assert len(hours) >= 3, "the clock did not jump"

    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with Daemon(
        tmp_path, handler="answers:answer", idle_seconds=5.0, max_call_seconds=600, environment={"PYTHONPATH": path}
    ) as daemon:
        run(main(daemon))


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_42_the_configuration_changes_under_a_daemon(tmp_path: Path, what: str) -> None:
    """Nothing happens, a SIGHUP later neither; the next start finds what is there then."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            if what == "changed":
                file.write_text("nonsense = 1\n")
            else:
                file.unlink()
            daemon.signal(signal.SIGHUP)
            await daemon.log.seen("SIGHUP ignored")
        said = run_program("serve", "--config", file)
        assert said.returncode == 2
        assert said.stderr.count("\n") == 1
        assert str(file) in said.stderr

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        (file,) = tmp_path.glob("*.toml")
        run(main(daemon))


def test_42_a_credential_is_missing(tmp_path: Path) -> None:
    """Under systemd too: it does not start, and one line names the key and the file."""
    file = write_config(tmp_path, token_file="stream.token", port=0, health_port=0)
    said = run_program("serve", "--config", file, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    assert said.returncode == 2
    assert re.fullmatch(r"smartflo-bridge: token-file: .*stream\.token: No such file or directory\n", said.stderr)
