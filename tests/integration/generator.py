"""Many calls at once, from a process of its own, so that whoever places them does not slow down the bridge.

    python -m integration.generator URL CALLS SECONDS SPEECH_SECONDS

Each call asks `answers.speak` for speech that is like no other's, and listens to it on a playout clock without a jitter
buffer. Prints a line of JSON a call when all are over. `place` runs it from a test.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import uvloop

from integration.handlers.answers import speech
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import CallPlan, HangUp
from smartflo_bridge.simulator.progress import AudioPassed, Progress

TESTS = Path(__file__).parent.parent


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller makes of the call."""

    stream_sid: str
    close_code: int | None
    first_audio_seconds: float | None
    gaps: list[float]
    """How long each was, in seconds, those after marks included."""
    misaligned: int
    faults: int
    heard_all: bool
    """All of the speech, and nothing but it."""
    lost_nothing: bool
    """All of the speech, each byte once and in order, whatever gaps were between: a busy machine makes those."""
    marks: int
    marks_echoed: int
    chunks_sent: int
    frames_received: int
    lateness_seconds: float
    """The generator's own worst."""


async def place_one(url: str, number: int, seconds: float, speech_seconds: float) -> Result:
    """Place one call. Raises CallFailed if nobody answers it."""
    seed = f"call {number}"
    parameters = {"role": "speak", "seed": seed, "seconds": str(speech_seconds)}
    chunks = 0

    def count(progress: Progress) -> None:
        nonlocal chunks
        chunks += isinstance(progress, AudioPassed)

    report = await place_call(url, CallPlan(actions=(HangUp(seconds),), custom_parameters=parameters), count)
    return Result(
        stream_sid=report.ids.stream_sid,
        close_code=report.close_code,
        first_audio_seconds=report.first_audio_seconds,
        gaps=[gap.seconds for gap in (*report.gaps, *report.pauses)],
        misaligned=report.misaligned_payloads,
        faults=sum(report.faults.values()),
        lost_nothing=report.heard.replace(b"\xff", b"") == speech(seed, speech_seconds),
        heard_all=report.heard.strip(b"\xff") == speech(seed, speech_seconds),
        marks=report.counts.marks,
        marks_echoed=report.counts.marks_echoed,
        chunks_sent=chunks,
        frames_received=report.counts.payload_bytes // 160,
        lateness_seconds=report.send_lateness_seconds,
    )


async def _place_all(url: str, calls: int, seconds: float, speech_seconds: float) -> list[Result]:
    return await asyncio.gather(*(place_one(url, number, seconds, speech_seconds) for number in range(calls)))


def place(url: str, *, calls: int, seconds: float, speech_seconds: float) -> list[Result]:
    """Place so many calls at once, from another process, and return what they were like."""
    command = [sys.executable, "-m", "integration.generator", url, *map(str, (calls, seconds, speech_seconds))]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=seconds + 30, check=False)
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line, type=Result) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    _url, *_numbers = sys.argv[1:]
    _calls, _seconds, _speech_seconds = map(float, _numbers)
    for _result in uvloop.run(_place_all(_url, int(_calls), _seconds, _speech_seconds)):
        print(msgspec.json.encode(_result).decode())
