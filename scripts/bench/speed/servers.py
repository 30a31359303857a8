"""The servers that are measured: how each is started, and a context in which it runs on a core of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speed.install import ANCHORS, CACHE, EPOLL_ECHO, HERE, NODE_MODULES, OTHERS, OURS, PIPECAT
from speed.load import SERVER_CORE

START_SECONDS = 60.0  # pipecat imports a great deal
STOP_SECONDS = 10.0
HANDLERS = HERE / "handlers"

# Each 20 ms frame is answered with one, as by the others.
FRAME_BY_FRAME: dict[str, object] = {"packet-seconds": 0.02}
DAEMON: dict[str, object] = {
    "handler": "echo",
    "health-port": 0,
    "max-calls": 20_000,
    "max-new-calls-per-second": 100_000,  # what is measured is what it can do, not what it would let in
    "shed-lag-seconds": 60.0,
    "trusted-proxies": ["127.0.0.1"],  # so that the generator may shake all its hands at once
    "lame-duck-seconds": 0,
    "drain-seconds": 1,
    "log-level": "warning",
}


@dataclass(frozen=True)
class Server:
    """Something that answers calls.

    Attributes:
        name: in the tables.
        needs: what of `install` it depends on.
        command: what starts it on a port.
    """

    name: str
    needs: str
    command: Callable[[int], list[str]]


def daemon(keys: dict[str, object] | None = None, name: str = "ours", python: Path = OURS) -> Server:
    """Return the daemon, with keys of its configuration that differ from `DAEMON`; None takes one away."""

    def command(port: int) -> list[str]:
        file = CACHE / f"daemon-{port}.toml"
        file.write_text(toml({**DAEMON, **(keys or {}), "port": port}))
        return [str(python.with_name("smartflo-bridge")), "serve", "--config", str(file)]

    return Server(name, python.parents[1].name, command)


def toml(keys: dict[str, object]) -> str:
    """Write a configuration: keys, then the tables among them; what is None is left out."""
    plain = "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if not isinstance(value, dict | None)
    )
    tables = [f"[{key}]\n{toml(value)}" for key, value in keys.items() if isinstance(value, dict)]
    return plain + "".join(tables)


def python_anchor(name: str, python: Path, file: str) -> Server:
    """Return an anchor in Python."""
    needs = "pipecat" if python == PIPECAT else "others"
    return Server(name, needs, lambda port: [str(python), "-W", "ignore", str(ANCHORS / file), str(port)])


OURS_20_MS = daemon(FRAME_BY_FRAME)
PLAIN = python_anchor("plain", OTHERS, "plain.py")
BARE = python_anchor("bare", OTHERS, "bare.py")
FASTAPI = python_anchor("FastAPI", OTHERS, "fastapi_echo.py")
PICOWS = python_anchor("picows", OTHERS, "picows_echo.py")
PIPECAT_ECHO = python_anchor("pipecat", PIPECAT, "pipecat_echo.py")
NODE = Server(
    "Node ws", "node", lambda port: ["node", str(ANCHORS / "node_ws.mjs"), str(NODE_MODULES.parent), str(port)]
)
C_EPOLL = Server("C, epoll", "c", lambda port: [str(EPOLL_ECHO), str(port)])
ALL = (OURS_20_MS, BARE, PLAIN, FASTAPI, PICOWS, NODE, C_EPOLL)


@dataclass
class Running:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def environment() -> dict[str, str]:
    """Return the environment of a server: the same for all, and nothing that would make it noisy."""
    dropped = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "PYTHONPATH", "PYTHONDEVMODE")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def await_port(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    """Return when a server takes connections.

    Raises:
        RuntimeError: it has ended, or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    msg = f"{name} does not listen on port {port}: see {CACHE / 'server.log'}"
    raise RuntimeError(msg)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, by force if it does not want to."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(server: Server, core: int = SERVER_CORE) -> Iterator[Running]:
    """Run a server on its core, fresh for each measurement; what it says goes to `.bench/server.log`."""
    port = free_port()
    with (CACHE / "server.log").open("wb") as log:
        command = ["taskset", "--cpu-list", str(core), *server.command(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=HANDLERS, env=environment())
    try:
        await_port(port, process, server.name)
        time.sleep(0.2)  # it has said hello to the connection that tried
        yield Running(server.name, port, process)
    finally:
        stop(process)


def python_version(python: Path) -> str:
    """Return the version of a Python; of this one if it is not there."""
    if not python.exists():
        return sys.version.split()[0]
    return subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
