"""The daemons that are soaked: started on free ports, asked for their vitals, and their logs read as they come."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 30.0
KEYS: dict[str, object] = {
    "port": 0,
    "health-port": 0,
    "max-calls": 400,  # the load and those that it begins while others are still ending
    "lame-duck-seconds": 0.0,
    "drain-seconds": 10.0,
}
_LINE = re.compile(r"(\S+ \S+) (\w+) +(.*)")
_QUIET_WARNINGS = ("agent away", "agent lost")


@dataclass
class Log:
    """What a daemon has said so far.

    Attributes:
        vitals: the newest, and when.
        ended: the calls that are over, by stream, each with the time of its line, until somebody takes them.
        warnings: by their words.
        errors: lines that nobody expects: errors, tracebacks, and warnings that no lost agent explains.
    """

    vitals: tuple[float, dict[str, float]] = (0.0, {})
    ended: dict[str, tuple[float, dict[str, str]]] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    listening: dict[str, str] = field(default_factory=dict)

    def take(self, text: str) -> None:
        """Take one line."""
        found = _LINE.fullmatch(text)
        level = found[2] if found else "?"
        if found is None or level not in ("INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG"):
            self.errors.append(text)
            return
        at, said = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp(), found[3]  # noqa: DTZ007 - local, as time.time is
        if level == "WARNING" and said.startswith(_QUIET_WARNINGS):
            self.warnings[" ".join(said.split()[:2])] += 1
        elif level != "INFO":
            self.errors.append(text)
        elif said.startswith("call ended "):
            end = pairs(said)
            self.ended[end["stream_sid"]] = at, end
        elif said.startswith("vitals "):
            self.vitals = at, {name: float(value) for name, value in pairs(said).items()}
        elif said.startswith("listening "):
            self.listening = pairs(said)


def pairs(said: str) -> dict[str, str]:
    """Return the `name=value` pairs of a log line."""
    return {name: value for name, sign, value in (word.partition("=") for word in shlex.split(said)) if sign}


class Daemon:
    """One instance.

    Args:
        name: in the tables.
        folder: for its configuration and its log.
        core: that it runs on.
        table: of its configuration, beside `KEYS`.
    """

    def __init__(self, name: str, folder: Path, core: int, table: str) -> None:
        self.name = name
        self.log = Log()
        self._file = folder / f"{name}.log"
        self._rest = ""
        config = folder / f"{name}.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in KEYS.items()) + table)
        environment = {
            key: value for key, value in os.environ.items() if key not in ("JOURNAL_STREAM", "NOTIFY_SOCKET")
        }
        with self._file.open("wb") as log:
            program = Path(sys.executable).with_name("smartflo-bridge")
            command: list[str | Path] = ["taskset", "--cpu-list", str(core), program, "serve", "--config", config]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._reading = self._file.open()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The call port."""
        return int(self.log.listening["address"].rpartition(":")[2])

    @property
    def ports(self) -> tuple[int, int]:
        """The call port and the health port."""
        return self.port, int(self.log.listening["health_port"])

    def await_ready(self) -> None:
        """Return when it listens.

        Raises:
            RuntimeError: it has ended, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.log.listening:
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"{self.name} does not start: see {self._file}"
                raise RuntimeError(msg)
            time.sleep(0.05)
            self.read()

    def read(self) -> None:
        """Take the lines that it has written since the last time."""
        *lines, self._rest = (self._rest + self._reading.read()).split("\n")
        for text in lines:
            self.log.take(text)

    def ask(self) -> None:
        """Ask for its vitals."""
        self._process.send_signal(signal.SIGUSR1)

    @property
    def is_running(self) -> bool:
        """False if it has ended by itself."""
        return self._process.poll() is None

    def stop(self) -> int | None:
        """Ask it to end; return its exit code, or None if it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
        self.read()
        self._reading.close()
        return code
