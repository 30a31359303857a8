"""Recordings of real calls: what the daemon writes is what the platform's side said and heard, and outlives the daemon."""

import asyncio
import shutil
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from smartflo_bridge.calls.call import Call
from smartflo_bridge.config import Config
from smartflo_bridge.core.audio import pcm_to_ulaw, ulaw_to_pcm
from smartflo_bridge.server.service import serving
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.mix import write_wav
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.progress import AudioPassed, Progress
from smartflo_bridge.simulator.report import CallReport

BOUND_SECONDS = 30.0
JITTER_SAMPLES = 160
"""Ours is laid where it was sent, the simulator has it where it came: what a busy machine puts between the two."""

LATE_SECONDS = 1.0
"""What a busy machine may be behind by."""

Samples = npt.NDArray[np.float64]


def hiss(seconds: float, seed: int) -> bytes:
    """Return loud noise: no two pieces of it are alike, so a correlation has one peak."""
    noise = np.random.default_rng(seed).normal(0, 3000, round(seconds * 8000))
    return pcm_to_ulaw(noise.clip(-30_000, 30_000).astype("<i2").tobytes())


def channels(path: Path) -> tuple[Samples, Samples]:
    """Read both voices of a WAV file."""
    with wave.open(str(path)) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def offset(ours: Samples, theirs: Samples) -> int:
    """Return by how many samples `ours` is behind `theirs`, where they correlate best."""
    length = 1 << (len(ours) + len(theirs)).bit_length()
    product = np.fft.irfft(np.fft.rfft(ours, length) * np.conj(np.fft.rfft(theirs, length)), length)
    best = int(np.argmax(product))
    return best - length if best > length // 2 else best


async def answer(call: Call) -> None:
    """Say something, be interrupted by a key, say something else, and be recorded only in part."""
    await call.play(hiss(4, 1), encoding="ulaw")
    await call.digits(1)
    await call.play(hiss(1, 2), encoding="ulaw")
    await call.mark()
    call.mute_recording()
    await call.play(hiss(0.5, 3), encoding="ulaw")
    await call.mark()
    call.unmute_recording()
    await call.play(hiss(0.5, 4), encoding="ulaw")
    await call.mark()
    async for _ in call:
        pass


def test_a_recording_equals_the_wire(tmp_path: Path) -> None:
    """The caller's side sample by sample, ours but for the network's jitter, both silent where it was muted."""
    config = Config(port=0, health_port=0, record_dir=str(tmp_path / "recordings"), lame_duck_seconds=0)
    plan = CallPlan(actions=(Speak(0.0, hiss(5.0, 9)), Press(1.5, "1"), HangUp(5.05)))

    async def call() -> CallReport:
        async with asyncio.timeout(BOUND_SECONDS), serving(config, tmp_path, answer) as service:
            return await place_call(f"ws://127.0.0.1:{service.port}{config.path}", plan)

    report = asyncio.run(call())
    write_wav(tmp_path / "mix.wav", caller=report.spoken, bridge=report.heard)
    (recording,) = (tmp_path / "recordings").iterdir()
    left, right = channels(recording)
    caller, bridge = channels(tmp_path / "mix.wav")

    assert offset(left, caller) == 0
    assert abs(offset(right, bridge)) < JITTER_SAMPLES
    kept = min(len(left), len(caller))
    muted = np.flatnonzero((left[:kept] == 0) & (caller[:kept] != 0))
    first, last = muted[0], muted[-1]
    assert 0.4 < (last - first) / 8000 < 0.9 + LATE_SECONDS  # 0.5 s, the chunk that was being spoken, the echoes' way
    assert not left[first:last].any()
    assert not right[first + 800 : last - 800].any()
    assert np.array_equal(left[:first], caller[:first])
    assert np.array_equal(left[last + 1 : kept], caller[last + 1 : kept])
    for seed, seconds in ((1, 1.4), (2, 1.0), (4, 0.5)):
        utterance = np.frombuffer(ulaw_to_pcm(hiss(4, 1) if seed == 1 else hiss(seconds, seed)), "<i2").astype(float)
        for side in (right, bridge):
            at = offset(side, utterance[: round(seconds * 8000)])
            assert np.array_equal(side[at : at + round(seconds * 7900)], utterance[: round(seconds * 7900)])
    unheard = np.frombuffer(ulaw_to_pcm(hiss(0.5, 3)), "<i2").astype(float)
    assert np.abs(np.correlate(right, unheard[:800])).max() < 0.5 * np.dot(unheard[:800], unheard[:800])


def test_a_recording_outlives_a_killed_daemon(tmp_path: Path) -> None:
    """Half a second may be missing; the rest plays, for the standard library and for sox."""
    config = tmp_path / "smartflo.toml"
    config.write_text('handler = "echo"\nport = 0\nhealth-port = 0\nrecord-dir = "recordings"\n')
    program = "from smartflo_bridge.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--config", str(config)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as daemon:

        def kill_after_3_s(progress: Progress) -> None:
            if isinstance(progress, AudioPassed) and progress.at_seconds > 3:
                daemon.kill()

        try:
            url = f"ws://127.0.0.1:{_port_of(daemon)}/vendor-stream"
            report = asyncio.run(place_call(url, CallPlan(actions=(Speak(0.0, hiss(10, 9)),)), kill_after_3_s))
        finally:
            daemon.kill()
    (recording,) = (tmp_path / "recordings").iterdir()
    left, right = channels(recording)
    assert len(left) / 8000 > 2.5 - LATE_SECONDS
    assert np.array_equal(left, np.frombuffer(ulaw_to_pcm(report.spoken), "<i2")[: len(left)])
    assert right.any()
    if shutil.which("sox"):
        said = subprocess.run(["sox", recording, "-n", "stat"], capture_output=True, text=True, check=True).stderr
        assert "WARN" not in said


def _port_of(daemon: subprocess.Popen[str]) -> int:
    assert daemon.stderr is not None
    until = time.monotonic() + BOUND_SECONDS
    while time.monotonic() < until:
        text = daemon.stderr.readline()
        if "listening" in text:
            return int(text.split("address=127.0.0.1:")[1].split()[0])
    pytest.fail("the daemon does not listen")
