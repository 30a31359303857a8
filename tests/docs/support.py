"""The documents as the tests see them: their blocks, and what runs a block as its reader would.

A `Topic` is one section with its blocks; a test takes them one by one, and the fixture fails it if it leaves one. Commands
run in bash, in a folder of the test's own, with the installed `smartflo-bridge`, on ports that are free.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smartflo_bridge.config import load_config
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import Action, CallPlan
from smartflo_bridge.simulator.report import CallReport

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    "CHANGELOG.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
PROGRAMS = Path(sys.executable).parent
"""Where the installed `smartflo-bridge` is, and the Python that goes with it."""

WAIT_SECONDS = 20.0

NOT_RUN = {
    (
        "README.md",
        "Under systemd",
        0,
    ): "needs root, and systemd as the first process; the units are judged by test_systemd",
    ("README.md", "Start", 2): "runs this very suite",
}
"""The only blocks of commands that no test runs: document, section, place in it, and why. Their text must say so too."""

_TIMING = ("gaps ", "simulator ", "lead ")
"""Rows of a call's summary that depend on how busy the machine is; only that they are there is checked."""


# --- Reading


@dataclass(frozen=True)
class Block:
    """A fenced block. `place` counts the blocks of its section from 0."""

    document: str
    heading: str
    place: int
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.language}, {self.heading!r})"


def headings_of(document: str) -> list[str]:
    """Return the headings of a document, blocks left out."""
    return re.findall(r"^#+ (.+)$", without_blocks(document), re.MULTILINE)


def without_blocks(document: str) -> str:
    """Return the prose of a document."""
    return re.sub(r"^```.*?^```$", "", (ROOT / document).read_text(), flags=re.DOTALL | re.MULTILINE)


def blocks_of(document: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    found: list[Block] = []
    heading, language, held, began = "", None, [], 0
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if language is not None:
            if line == "```":
                place = sum(block.heading == heading for block in found)
                found.append(Block(document, heading, place, language, "\n".join(held) + "\n", began))
                language = None
            else:
                held.append(line)
        elif line.startswith("```"):
            language, held, began = line[3:], [], number
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert language is None, f"{document}:{began}: a block without an end"
    return found


def slug(heading: str) -> str:
    """Return a heading as a link names it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def name_of_test(heading: str) -> str:
    """Return the name of the test that runs a section's blocks."""
    return "test_" + slug(heading).replace("-", "_")


def sections_without_test(blocks: list[Block], names: Container[str]) -> set[str]:
    """Return the tests that sections with blocks should have, and that are not among the names of a module."""
    return {name for block in blocks if (name := name_of_test(block.heading)) not in names}


# --- Running


@dataclass
class Topic:
    """A section's blocks, and a folder to run them in."""

    blocks: list[Block]
    folder: Path
    left: list[Block] = field(init=False)

    def __post_init__(self) -> None:
        self.left = list(self.blocks)

    def take(self, language: str) -> Block:
        """Return the next block of a language; it now counts as run."""
        block = next(block for block in self.left if block.language == language)
        self.left.remove(block)
        return block

    def needs(self, *programs: str) -> None:
        """Skip the test where something that its blocks call is not installed. CI skips nothing."""
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            self.left.clear()
            pytest.skip(f"not installed: {', '.join(missing)}")

    # --- Python

    def run_python(self) -> None:
        """Run a block as a program; each line it prints is the comment behind its `print`."""
        block = self.take("python")
        done = subprocess.run(
            [sys.executable, "-c", block.text], cwd=self.folder, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert done.stdout.splitlines() == promised_prints(block), block

    @contextmanager
    def handler(self, calls: int = 1) -> Iterator["Daemon"]:
        """Save a block under the name on its first line, serve it as that line says, and check what it prints a call.

        Numbers in what a handler prints may differ from those in its comments: they depend on the moment.
        """
        block = self.take("python")
        named = re.match(r"# (\w+\.py): handler = \"(\w+:\w+)\"\n", block.text)
        assert named, f"{block} names neither file nor handler"
        (self.folder / named[1]).write_text(block.text)
        with daemon(self.folder, handler=named[2]) as running:
            yield running
        printed = [line for line in running.said().splitlines() if not _LOG_HEAD.match(line)]
        check_lines(printed, promised_prints(block) * calls, block)

    # --- Commands

    def run_shell(self, on: "Daemon | None" = None, folder: Path | None = None, seconds: float = 60) -> str:
        """Run a block of commands; return what they say."""
        return shell(_addressed(self.take("sh").text, on), folder or self.folder, seconds)

    def run_console(self, on: "Daemon | None" = None) -> None:
        """Run the commands of a block, which begin with `$ `, and compare what each says with the lines behind it."""
        block = self.take("console")
        for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, promised = session.partition("\n")
            check_lines(shell(_addressed(command, on), self.folder).splitlines(), promised.splitlines(), block)

    def in_log(self, on: "Daemon") -> None:
        """Find the lines of a `text` block in a daemon's log."""
        block = self.take("text")
        for promised in block.text.splitlines():
            on.wait_for(_pattern(promised) + r"(?: gaps=\d+)?$")

    # --- Data

    def config(self) -> dict[str, Any]:
        """Check a `toml` block by the daemon's own reader, and return its keys."""
        block = self.take("toml")
        file = self.folder / "checked.toml"
        file.write_text(block.text)
        load_config(file)
        return tomllib.loads(block.text)

    def messages(self) -> list[bytes]:
        """Return the messages of a `json` block, one a line."""
        return [line.encode() for line in self.take("json").text.splitlines()]


def promised_prints(block: Block) -> list[str]:
    """Return the comments behind the `print`s of a block."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", block.text, re.MULTILINE)


def shell(commands: str, folder: Path, seconds: float = 60) -> str:
    """Run commands in bash; fail if one of them does; return what they say, errors too."""
    script = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(
        script,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of a reader who has activated the installation."""
    kept = {name: value for name, value in os.environ.items() if name not in ("JOURNAL_STREAM", "PYTHONWARNINGS")}
    path = f"{PROGRAMS}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {"PATH": path, "PYTHONUNBUFFERED": "1"}


def check_lines(said: list[str], promised: list[str], block: Block) -> None:
    """Compare lines: numbers and ids may differ, a line of `...` stands for any number of lines."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else _pattern(line) + "\n" for line in promised)
    text = "".join(f"{line}\n" for line in said)
    assert re.fullmatch(pattern, text), f"{block}\nsays:\n{text}promises:\n" + "\n".join(promised)


def _pattern(promised: str) -> str:
    if promised.startswith(_TIMING):
        return re.escape(promised.split(" ", maxsplit=1)[0]) + ".*"
    pattern = re.escape(promised)
    pattern = re.sub(r"MZ\w+", r"MZ\\w+", pattern)
    return re.sub(r"( |\\ )*\d+(\\\.\d+)?", r" *\\d+(?:\\.\\d+)?", pattern)


def _addressed(commands: str, on: "Daemon | None") -> str:
    """Put the ports that a daemon has in place of those that the document names."""
    if on is None:
        return commands
    return re.sub(r"\b8001\b", str(on.health_port), re.sub(r"\b8000\b", str(on.port), commands))


# --- Daemons and calls

_LOG_HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")


class Daemon:
    """A daemon that runs; what it says goes to a file."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.port = 0
        self.health_port = 0

    @property
    def url(self) -> str:
        """Where calls are placed."""
        return f"ws://localhost:{self.port}/vendor-stream"

    def said(self) -> str:
        """Return all it has said so far."""
        return self._log.read_text()

    def wait_for(self, pattern: str, seconds: float = WAIT_SECONDS) -> re.Match[str]:
        """Return the first match in what it says, once it is there."""
        deadline = time.monotonic() + seconds
        while (match := re.search(pattern, self.said(), re.MULTILINE)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} did not come; only:\n{self.said()}"
            time.sleep(0.02)
        return match


@contextmanager
def daemon(
    folder: Path, command: str = "smartflo-bridge serve --config smartflo.toml", **keys: object
) -> Iterator[Daemon]:
    """Serve in a folder, with these keys (underscores for hyphens) and free ports; stop as Ctrl-C does."""
    # A busy machine's loop is late, and that is not what a document is about.
    table = {"port": 0, "health-port": 0, "shed-lag-seconds": 10.0} | {
        name.replace("_", "-"): value for name, value in keys.items()
    }
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in table.items()]
    (folder / "smartflo.toml").write_text("".join(lines))
    with running(command, folder) as started:
        yield started


@contextmanager
def running(command: str, folder: Path, seconds: float = WAIT_SECONDS) -> Iterator[Daemon]:
    """Run the command that starts a daemon within so long, until the context ends; it must stop as it should."""
    log = folder / f"daemon-{secrets.token_hex(4)}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        started = Daemon(log)
        listening = started.wait_for(r"listening address=\S+:(\d+) .*health_port=(\d+)", seconds)
        started.port, started.health_port = int(listening[1]), int(listening[2])
        yield started
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0, started.said()
        assert " stopped calls_served=" in started.said().splitlines()[-1]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def call(on: Daemon, *actions: Action, linger_seconds: float = 1.0, **plan: Any) -> CallReport:
    """Place a simulated call to a daemon, and return what came of it once the daemon and its handler are done with it."""
    planned = CallPlan(actions=actions, linger_seconds=linger_seconds, **plan)
    report = asyncio.run(place_call(on.url, planned))
    on.wait_for(f"call ended stream_sid={report.ids.stream_sid} ")
    return report
