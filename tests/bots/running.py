"""Other people's bots as processes of their own, in an environment that is made once, below `.cache/`."""

import asyncio
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
    """Make the environment if it is not there; return its Python. Skips where it cannot be made."""
    key = hashlib.sha256(f"{PIPECAT} {sys.version}".encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"pipecat-{key}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PIPECAT]
        try:
            done = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
            why = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        except subprocess.TimeoutExpired:
            why = [f"pip took more than {INSTALL_SECONDS:g} s"]
        if why:
            pytest.skip(f"pipecat-ai cannot be installed from the package index: {why[0]}")
        (folder / "installed").write_text(f"{PIPECAT}\n")
    return python


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
