"""The README does what it says, in a fresh copy of the checkout, as somebody new would do it.

One test for each section that has blocks, and it runs all of them but those on the list of `support.NOT_RUN`. The first
run of `scripts/start` installs from the package index.
"""

import audioop
import shutil
import socket
import subprocess
import wave
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from docs.support import (
    NOT_RUN,
    ROOT,
    Daemon,
    Topic,
    blocks_of,
    call,
    running,
    sections_without_test,
    shell,
    without_blocks,
)
from smartflo_bridge import pcm_to_ulaw
from smartflo_bridge.config import config_from
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import Press, Speak
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.version import __version__

DOCUMENT = "README.md"
BLOCKS = [block for block in blocks_of(DOCUMENT) if (DOCUMENT, block.heading, block.place) not in NOT_RUN]
INSTALL_SECONDS = 120

LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "dist", "build")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout, without what it has gathered; ports that are free take the place of the usual ones."""
    copy = tmp_path_factory.mktemp("clone") / "smartflo-bridge"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    config = copy / "smartflo.toml"
    config.write_text(config.read_text().replace("\nport = 8000", "\nport = 0").replace("port = 8001", "port = 0"))
    return copy


@pytest.fixture(scope="module")
def started(checkout: Path) -> Iterator[Daemon]:
    """Run the README's first command, and leave it running."""
    first = next(block for block in BLOCKS if block.heading == "Start")
    with running(first.text, checkout, INSTALL_SECONDS) as served:
        yield served


@pytest.fixture(scope="module")
def wheel(checkout: Path, started: Daemon) -> Iterator[Future[str]]:
    """Build and install the wheel while calls go on: both take their time."""
    (block,) = (block for block in BLOCKS if block.heading == "Install from a wheel")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(shell, block.text, checkout, INSTALL_SECONDS)


@pytest.fixture
def workplace(checkout: Path) -> Path:
    """Run the README's blocks in the checkout."""
    return checkout


def test_every_section_with_blocks_has_a_test() -> None:
    """None can be added without one; and what does not run exists, and says so where it stands."""
    assert sections_without_test(BLOCKS, globals()) == set()
    for document, heading, place in NOT_RUN:
        assert any((block.heading, block.place) == (heading, place) for block in blocks_of(document))
        (section,) = (part for part in without_blocks(document).split("\n## ") if part.startswith(f"{heading}\n"))
        assert "this block is not run by the tests" in section.replace("\n", " ")


def test_start(topic: Topic, started: Daemon) -> None:
    """From a fresh copy to a daemon that waits for calls, by one command."""
    topic.take("sh")
    topic.in_log(started)


def test_the_first_call(topic: Topic, started: Daemon, wheel: Future[str]) -> None:
    """It goes as shown, and what was said is in the file: the greeting, the time, the menu, the goodbye."""
    topic.run_console(started)
    with wave.open(str(topic.folder / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        assert file.getnframes() / 8000 == pytest.approx(14.5, abs=1)
        bridge = audioop.tomono(file.readframes(file.getnframes()), 2, 0, 1)
    heard = pcm_to_ulaw(bridge).replace(b"\xff", b"")
    parts = [prompt("greeting")[:24000], prompt("time"), prompt("menu")[:16000], prompt("goodbye")]
    places = [heard.find(part.replace(b"\xff", b"")) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_a_handler_of_your_own(topic: Topic) -> None:
    """It says a key back, and says goodbye at 9."""
    block = topic.take("python")
    assert block.text.startswith("# mine.py\n")
    assert block.text.count("\n") <= 15
    (topic.folder / "mine.py").write_text(block.text)
    keys = topic.config()
    assert config_from(keys).handler == "mine:answer"
    (topic.folder / "mine.toml").write_text(f'handler = "{keys["handler"]}"\nport = 0\nhealth-port = 0\n')
    with running(topic.take("sh").text, topic.folder) as served:
        report = call(served, Press(0.3, "7"), Press(1.9, "9"), linger_seconds=15.0)
    assert report.ended_by is EndedBy.BRIDGE
    assert prompt("playback") + prompt("number-7") in report.heard
    assert prompt("goodbye") in report.heard


def test_an_agent_without_an_account(topic: Topic, started: Daemon) -> None:
    """The parrot greets, says back what it hears, is interrupted, and says goodbye at 9."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agent = topic.take("toml").text.replace("8765", str(port))
    (topic.folder / "parrot.toml").write_text("port = 0\nhealth-port = 0\n" + agent)
    bot, serve = topic.take("sh").text.replace("8765", str(port)).splitlines()
    parrot = subprocess.Popen(["bash", "-c", f"exec {bot.removesuffix(' &')}"], cwd=topic.folder)
    try:
        with running(serve, topic.folder) as served:
            said = Speak(1.5, built_in_voice()[:16000])
            report = call(served, said, Press(8.0, "9"), linger_seconds=15.0)
    finally:
        parrot.kill()
        parrot.wait()
    assert report.broken == {}, report.violations
    assert report.ended_by is EndedBy.BRIDGE
    assert report.heard.startswith(prompt("greeting")[:8000], report.heard.index(prompt("greeting")[:800]))
    assert prompt("greeting") not in report.heard  # it was interrupted
    assert prompt("playback") in report.heard
    assert built_in_voice()[4000:12000] in report.heard
    assert prompt("goodbye") in report.heard


def test_install_from_a_wheel(topic: Topic, wheel: Future[str]) -> None:
    """The file is built, and what it installs runs without the checkout."""
    topic.take("sh")
    wheel.result(INSTALL_SECONDS)
    assert __version__ in shell("../smartflo/bin/smartflo-bridge --version", topic.folder)
