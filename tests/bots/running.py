"""Other people's bots as processes of their own, in an environment that is made once, below `.cache/`."""

import asyncio
import fcntl
import functools
import hashlib
import os
import socket
import subprocess
import sys
import venv
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.resampling import Resampler
from smartflo_bridge.handlers.ivr import prompt

ROOT = Path(__file__).parents[2]
PIPECAT = ("pipecat-ai[websocket]==1.14.0", "uvicorn==0.54.0")
INSTALL_SECONDS = 600.0
START_SECONDS = 60.0


@functools.cache
def environment_of_pipecat() -> Path:
    """Make the environment if it is not there; return its Python. Skips where it cannot be made.

    It is the far end of a connection: its Python is the one of the first tests that ask, and need not be theirs.
    """
    key = hashlib.sha256(f"{PIPECAT}".encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"pipecat-{key}"
    python = folder / "bin" / "python"
    with only_one(folder):
        if not ((folder / "installed").exists() and _runs(python)):
            venv.create(folder, with_pip=False, clear=True)
            # Not compiled: of some thousand modules a bot imports a tenth, and that keeps their bytecode.
            why = pip_installs("--python", python, "install", "--no-compile", *PIPECAT)
            if why:
                pytest.skip(f"pipecat-ai cannot be installed from the package index: {why}")
            (folder / "installed").write_text(f"{PIPECAT}\n")
    return python


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process of the tests makes this folder."""
    folder.parent.mkdir(exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pip_installs(*arguments: str | Path) -> str:
    """Have pip install something; return why it cannot."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"pip took more than {INSTALL_SECONDS:g} s"
    return (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""


def _runs(python: Path) -> bool:
    """Tell whether an environment's Python is still there: it may have been made with one that is gone since."""
    try:
        return subprocess.run([python, "-c", ""], timeout=START_SECONDS, check=False).returncode == 0
    except OSError:
        return False


def write_voice(folder: Path) -> Path:
    """Write a voice as a text-to-speech service delivers it, at 24 kHz; return the file."""
    resampler = Resampler(8000, 24000)
    pcm = resampler.convert(ulaw_to_pcm(prompt("menu"))) + resampler.flush()
    path = folder / "voice.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 24000, 0, "NONE", ""))
        out.writeframes(pcm)
    return path


@contextmanager
def pipecat_bot(sound: Path, log: Path, program: str = "pipecat_bot.py", *arguments: Path) -> Iterator[str]:
    """Run a bot of this folder; return where it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Nothing of the tests' own environment may be seen there.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    bot = [environment_of_pipecat(), ROOT / "tests" / "bots" / program, str(port), sound, *arguments]
    with log.open("w") as out:
        process = subprocess.Popen(bot, env=inherited, stdout=out, stderr=subprocess.STDOUT)
    try:
        asyncio.run(_is_up(port, process, log))
        yield f"ws://127.0.0.1:{port}/vendor-stream"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _is_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody answers at a port."""
    async with asyncio.timeout(START_SECONDS):
        while process.poll() is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the bot did not start: {await asyncio.to_thread(log.read_text)}")
