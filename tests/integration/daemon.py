"""The bridge under test: the real daemon as a process of its own, or in this process where a test looks inside.

A `Daemon` is started on free ports with a supervisor's socket to report to, and is ready when it says so. What it logs
and reports is collected; when it is stopped, its exit code is checked, and that its log has nothing that nobody expects
and nothing that must never be in a log.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from privacy import private_in
from smartflo_bridge.calls.home import Handler
from smartflo_bridge.config import config_from
from smartflo_bridge.server.service import Service, serving

PROGRAM = Path(sys.executable).with_name("smartflo-bridge")
HANDLERS = Path(__file__).with_name("handlers")
"""Where the handlers of `answers.py` are: the working directory of a daemon that serves them."""

KEYS: Mapping[str, object] = {
    "port": 0,
    "health_port": 0,
    "lame_duck_seconds": 0,
    "drain_seconds": 5,
    "max_new_calls_per_second": 1000,  # tests are in a hurry
    "shed_lag_seconds": 10.0,  # a busy machine's loop is late
    "log_level": "debug",  # the most talkative there is: what never may be in a log is looked for in all of it
    "lead_seconds": 0.5,  # the default rides out 0.1 s: too little for a test of something else on a busy machine
}
"""What is different from the defaults in a daemon under test, unless the test says otherwise."""

DEFAULT_LEAD_SECONDS = 0.2

SECRET_FILES = ("token_file", "token_secret_file", "resolver_token_file")

MIN_SECRET_CHARACTERS = 8

MAX_INFO_LINES = 3
"""Of one call, beside one for each kind of oddity that the platform sends: reliability, G14."""

START_SECONDS = 20.0  # as in the unit: imports on a slow disk
STOP_SECONDS = 15.0  # a drain of 5 s, the parting, the aborts, and a busy machine
WAIT_SECONDS = 10.0

_HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)")
_PAIR = re.compile(r"""(\w+)=("(?:[^"\\]|\\.)*"|\S+)""")
T = TypeVar("T")


class Lines:
    """What a process has said so far, each line with its time; any thread may wait for more."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, str]] = []
        self._news = threading.Condition()

    def add(self, text: str) -> None:
        """Add a line, and wake who waits for it."""
        with self._news:
            self._lines.append((time.monotonic(), text))
            self._news.notify_all()

    def all(self) -> list[str]:
        """Return what has been said so far."""
        with self._news:
            return [text for _, text in self._lines]

    def find(self, pattern: str) -> list[tuple[float, str]]:
        """Return the lines in which the pattern occurs, with their times."""
        with self._news:
            return [(at, text) for at, text in self._lines if re.search(pattern, text)]

    def wait_for(self, pattern: str, count: int = 1, seconds: float = WAIT_SECONDS) -> list[str]:
        """Return the first `count` lines with the pattern once there are so many; fail if they do not come."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.find(pattern)) >= count, seconds):
                heard = "\n".join(self.all())
                msg = f"{count} x {pattern!r} did not come within {seconds} s; only:\n{heard}"
                raise AssertionError(msg)
            return [text for _, text in self.find(pattern)][:count]

    async def seen(self, pattern: str, count: int = 1, seconds: float = WAIT_SECONDS) -> list[str]:
        """Do the same without holding up the loop."""
        return await asyncio.to_thread(self.wait_for, pattern, count, seconds)


class Supervisor:
    """A fake systemd: a NOTIFY_SOCKET that collects what it is told. It forgets to check who tells it.

    Args:
        address: as systemd gives it: a path, or `@name` for one that is in no directory.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.told = Lines()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._sock.fileno() >= 0:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._sock.close()

    def _listen(self) -> None:
        while state := self._sock.recv(4096):
            self.told.add(state.decode())


class Daemon:
    """`smartflo-bridge serve` on free ports of loopback, from being ready to its exit.

    Attributes:
        log: its log so far.
        told: what it has told its supervisor.
        supervisor: of it alone.
        port: that it takes calls on.
        health_port: that it is probed on.
        keys: of its configuration.

    Args:
        folder: for its configuration.
        handler: as in the configuration; those of `handlers/answers.py` are found. An `agent` among the keys is in its place.
        expects: patterns of lines above INFO that this daemon may log.
        tracebacks: how many it may log.
        exit_code: with which it has to end.
        secrets: text that may not be in its log, beside what never may.
        environment: what is added to its environment.
        pass_fds: file descriptors that it inherits.
        command: what starts it, where it is not started plainly; `{program}` and `{file}` are filled in.
        noise: a pattern of lines that are not the daemon's, but that command's.
        address: of its supervisor's socket; by default, a path.
        keys: of the configuration, with underscores.
    """

    def __init__(
        self,
        folder: Path,
        *,
        handler: str = "ivr",
        expects: Sequence[str] = (),
        tracebacks: int = 0,
        exit_code: int = 0,
        secrets: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        command: Sequence[str] = ("{program}", "serve", "--config", "{file}"),
        noise: str | None = None,
        address: str | None = None,
        **keys: object,
    ) -> None:
        self.log = Lines()
        self.port = 0
        self.health_port = 0
        self._folder = folder
        self._expects = expects
        self._tracebacks = tracebacks
        self._exit_code = exit_code
        self._secrets = secrets
        self._environment = dict(environment or {})
        self._pass_fds = pass_fds
        self._command = command
        self._noise = noise
        self._folder_of_socket = tempfile.TemporaryDirectory()  # pytest's own names are too long for a socket's address
        self.supervisor = Supervisor(address or f"{self._folder_of_socket.name}/notify")
        self.told = self.supervisor.told
        self.keys = {**KEYS, **keys}
        answered_by = {} if "agent" in self.keys else {"handler": handler}
        self._file = write_config(folder, **answered_by, **self.keys)

    @property
    def url(self) -> str:
        """Where calls are placed."""
        return f"ws://127.0.0.1:{self.port}/vendor-stream"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        """Start it, and wait until it says that it is ready; fail if it never does."""
        self._spawn()
        try:
            self._await_ready()
            (listening,) = self.log.wait_for("listening ")
            said = pairs(listening)
            self.port, self.health_port = int(said["address"].rpartition(":")[2]), int(said["health_port"])
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop it if it still runs; check how it ended, unless the test has failed already."""
        try:
            if self._process.poll() is None:
                self.signal(signal.SIGTERM)
            exit_code = self.wait()
        finally:
            self._kill()
        if error is None:
            assert exit_code == self._exit_code, "\n".join(self.log.all())
            self.check_log()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Return its exit code once it has ended."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            said = "\n".join(self.log.all())
            msg = f"the daemon did not exit within {seconds} s; it said:\n{said}"
            raise AssertionError(msg) from None
        self._reader.join(WAIT_SECONDS)
        return code

    def open_files(self) -> list[str]:
        """Return what it has open; see `open_files`."""
        return open_files(self.pid)

    def sockets(self) -> int:
        """Return how many sockets it has open."""
        return sum(name.startswith("socket:") for name in self.open_files())

    async def vitals(self) -> dict[str, float]:
        """Ask it with SIGUSR1 how it is, and return what it says."""
        before = len(self.log.find(" vitals "))
        self.signal(signal.SIGUSR1)
        said = (await self.log.seen(" vitals ", before + 1))[-1]
        return {name: float(value) for name, value in pairs(said).items()}

    def ended(self, count: int = 1, seconds: float = WAIT_SECONDS) -> list[dict[str, str]]:
        """Return what its end lines say, once there are so many, in their order."""
        return [pairs(text) for text in self.log.wait_for(" call ended ", count, seconds)]

    def end_of(self, stream_sid: str, seconds: float = WAIT_SECONDS) -> dict[str, str]:
        """Return what the end line of one stream says, once it is there."""
        (text,) = self.log.wait_for(rf" call ended stream_sid={re.escape(stream_sid)} ", 1, seconds)
        return pairs(text)

    def check_log(self) -> None:
        """Fail if there is anything in the log that nobody expects, or that never may be."""
        lines = self.log.all()
        said = "\n".join(lines)
        assert said.count("Traceback (most recent call last)") <= self._tracebacks, said
        for text in lines:
            head = _HEAD.fullmatch(text)
            if head is None and self._noise and re.match(self._noise, text):
                continue
            if head is None:
                assert self._tracebacks, f"not a log line: {text!r} in:\n{said}"
            elif head[1] not in ("DEBUG", "INFO"):
                assert any(re.search(pattern, head[2]) for pattern in self._expects), f"not expected: {text}"
        check_few_lines(lines)
        assert " balanced=no" not in said, said
        check_privacy(said, [*self._secrets, *self._secrets_in_files()])

    def _secrets_in_files(self) -> Iterator[str]:
        """Yield the tokens and secrets that it was given, those that can be told from a word."""
        for key in SECRET_FILES:
            file = self._folder / str(self.keys.get(key, ""))
            if file.is_file():
                yield from (text for text in file.read_text().split() if len(text) >= MIN_SECRET_CHARACTERS)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.told.find("^READY=1$"):
            exit_code = self._process.poll()
            if exit_code is not None or time.monotonic() > deadline:
                self._kill()
                said = "\n".join(self.log.all())
                msg = f"the daemon did not become ready; exit code {exit_code}; it said:\n{said}"
                raise AssertionError(msg)
            time.sleep(0.01)

    def _spawn(self) -> None:
        fill = {"program": str(PROGRAM), "file": str(self._file)}
        inherited = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        inherited["NOTIFY_SOCKET"] = self.supervisor.address
        self._process = subprocess.Popen(
            [part.format(**fill) for part in self._command],
            cwd=HANDLERS,
            env=inherited | self._environment,
            pass_fds=self._pass_fds,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for text in stream:
                self.log.add(text.rstrip("\n"))

    def _kill(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(WAIT_SECONDS)
        self.supervisor.close()
        self._folder_of_socket.cleanup()


def write_config(folder: Path, **keys: object) -> Path:
    """Write a configuration; keys are spelled with underscores here."""
    file = folder / f"{secrets.token_hex(4)}.toml"
    file.write_text("".join(f"{name.replace('_', '-')} = {_toml(value)}\n" for name, value in keys.items()))
    return file


def _toml(value: object) -> str:
    """Return a value as TOML has it: as JSON does, but for tables."""
    if not isinstance(value, Mapping):
        return json.dumps(value)
    return "{" + ", ".join(f"{name.replace('_', '-')} = {_toml(each)}" for name, each in value.items()) + "}"


def write_secret(file: Path, text: str) -> Path:
    """Write a file with secrets, which only its owner can read; others are refused."""
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def open_files(pid: int) -> list[str]:
    """Return what the file descriptors of a process are, sorted: `socket:[...]`, `pipe:[...]` or a path."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since, as the one that lists them
            names.append(str(link.readlink()))
    return sorted(names)


def pairs(text: str) -> dict[str, str]:
    """Return the `name=value` pairs of a log line."""
    return {name: json.loads(value) if value.startswith('"') else value for name, value in _PAIR.findall(text)}


def counts(value: str | None) -> dict[str, int]:
    """Return the numbers of a pair such as `marks=played:3,discarded:1`; none if there is no such pair."""
    named = (part.partition(":") for part in (value or "").split(",") if part)
    return {name: int(number) for name, _, number in named}


def check_few_lines(lines: Sequence[str]) -> None:
    """Fail if a log tells more of a call at INFO than it should."""
    told: Counter[tuple[str, str | None]] = Counter()
    for text in lines:
        said = pairs(text)
        if re.match(r"\S+ \S+ INFO ", text) and "stream_sid" in said:
            sid, kind = said["stream_sid"], said.get("kind")
            told[sid, kind] += 1
            assert told[sid, kind] <= (MAX_INFO_LINES if kind is None else 1), text
            if " call ended " in text:  # another may have its id
                told = Counter({of: count for of, count in told.items() if of[0] != sid})


def check_privacy(said: str, more: Sequence[str] = ()) -> None:
    """Fail if a log has a phone number, a payload, or something else that the test keeps secret."""
    for text in more:
        assert text not in said, f"{text!r} is in the log"
    assert private_in(said) is None


def run_program(
    *arguments: str | Path,
    command: Sequence[str] = (str(PROGRAM),),
    pass_fds: Sequence[int] = (),
    given: str | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run `smartflo-bridge` to its end where nothing is to be served; `given` is its input, `environment` is added to its own."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=HANDLERS,
        env=os.environ | environment,
        pass_fds=pass_fds,
        input=given,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


# --- In this process


def on_uvloop(main: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
    """Run a coroutine as the daemon runs: on uvloop; bounded."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


@asynccontextmanager
async def bridge(handler: Handler | None = None, /, **keys: object) -> AsyncIterator[Service]:
    """Serve in this process, on free ports; keys as in `write_config`. It may log nothing above INFO."""
    table = {name.replace("_", "-"): value for name, value in ({**KEYS, **keys}).items()}
    with quiet_log():
        async with serving(config_from(table), Path.cwd(), handler) as service:
            yield service


@contextmanager
def quiet_log() -> Iterator[None]:
    """Fail if anything is logged above INFO."""
    loud: list[str] = []

    class _Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loud.append(self.format(record))

    ear = _Ear(logging.WARNING)
    logging.getLogger().addHandler(ear)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(ear)
    assert not loud, loud


def url_of(service: Service) -> str:
    """Return where calls to a bridge in this process are placed."""
    return f"ws://127.0.0.1:{service.port}/vendor-stream"


async def until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait for something that nothing announces; fail if it does not come."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
