"""The load generator of the benchmarks: it believes an honest echo, and sees what is wrong with others.

What it counts decides what the benchmarks say of us and of others, so each of its counters is made to count.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from bench.echoes import SPEED, Answer, audio_of, compiled, echo, send_media, served

CALLS = 4
FRAMES = 50
"""Of each call: a second of 20 ms."""
TROUBLES = ("failed", "gone_early", "lost", "duplicated", "disordered", "corrupt", "unexpected")

pytestmark = [
    pytest.mark.once,  # the generator is a program in C, and the servers that it is tried on are this file's own
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed (Debian: gcc libc6-dev)"),
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the generator; a warning of the compiler is an error."""
    program = tmp_path_factory.mktemp("generator") / "generator"
    sources = sorted(SPEED.glob("generator*.c"))
    return compiled(program, *sources)


def run(generator: Path, answer: Answer, *arguments: str) -> dict[str, Any]:
    """Let the generator judge a server for a second; return its report."""
    with served(answer) as port:
        command = [generator, f"--port={port}", f"--calls={CALLS}", f"--pid={os.getpid()}", "--settle-seconds=0.1"]
        command += ["--warm-up-seconds=0.2", "--seconds=0.8", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def troubles(report: dict[str, Any]) -> dict[str, int]:
    """Return the counters of what is wrong that are not 0."""
    return {name: report[name] for name in TROUBLES if report[name]}


def test_an_honest_echo_is_believed(generator: Path) -> None:
    """All frames are sent and come back, with a latency for each that was measured, and with processor time."""
    report = run(generator, echo)
    assert troubles(report) == {}
    assert report["frames_sent"] == report["frames_back"] == CALLS * FRAMES
    assert report["open_at_end"] == CALLS
    assert report["latency_us"]["count"] == pytest.approx(CALLS * 40, abs=CALLS)
    assert 0 < report["latency_us"]["p50"] <= report["latency_us"]["p99"] <= report["latency_us"]["max"]
    assert report["servers"][0]["cpu_seconds"] > 0
    assert report["generator"]["late_us"]["count"] == report["latency_us"]["count"]


def test_an_echo_may_cut_its_audio_as_it_likes(generator: Path) -> None:
    """Silence before it, several frames in one message, and half of the platform's chunk in another, are no fault."""
    held: dict[ServerConnection, bytes] = {}

    async def recut(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        if event["event"] != "media":
            return
        ulaw = held.get(connection, b"\xff" * 480) + audio_of(event)
        ready = len(ulaw) // 480 * 480 if number < 9 else len(ulaw)
        held[connection] = ulaw[ready:]
        await send_media(connection, ulaw[:ready])

    report = run(generator, recut, "--bytes=800")
    assert troubles(report) == {}
    assert report["frames_back"] == CALLS * FRAMES // 5
    assert report["silence_units"] == CALLS * 3


async def lose(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
    """Leave out a frame."""
    if number != 7:
        await echo(connection, event, number)


async def double(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
    """Send a frame twice."""
    await echo(connection, event, number)
    if number == 7 and audio_of(event):
        await echo(connection, event, number)


class Swap:
    """Send a frame after the one that follows it."""

    def __init__(self) -> None:
        self._held: dict[ServerConnection, dict[str, Any]] = {}

    async def __call__(self, connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        """Answer one event."""
        if number == 7 and audio_of(event):
            self._held[connection] = event
            return
        await echo(connection, event, number)
        if number == 8 and connection in self._held and audio_of(event):
            await echo(connection, self._held.pop(connection), number)


async def spoil(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
    """Change one byte in the middle of a frame's sound."""
    ulaw = audio_of(event)
    if number == 7 and ulaw:
        ulaw = ulaw[:100] + bytes([ulaw[100] ^ 1]) + ulaw[101:]
    if ulaw:
        await send_media(connection, ulaw)


async def cut_short(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
    """Send what is not a whole number of frames."""
    ulaw = audio_of(event)
    if ulaw:
        await send_media(connection, ulaw[:-1] if number == 7 else ulaw)


async def leave(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
    """Close in the middle of the call."""
    await echo(connection, event, number)
    if number == 45:
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lose, {"lost": CALLS}),
        (double, {"duplicated": CALLS}),
        (Swap(), {"disordered": CALLS}),
        (spoil, {"lost": CALLS, "corrupt": CALLS}),
        (cut_short, {"lost": CALLS, "unexpected": CALLS}),
    ],
)
def test_what_is_wrong_is_counted(generator: Path, answer: Answer, seen: dict[str, int]) -> None:
    """A frame of each call that is lost, doubled, late, changed or torn is counted as what it is, and nothing else."""
    assert troubles(run(generator, answer)) == seen


def test_tones_are_believed_as_noise_is(generator: Path) -> None:
    """With tones for sounds an honest echo is believed, and the change of one byte is seen."""
    assert troubles(run(generator, echo, "--smooth")) == {}
    assert troubles(run(generator, spoil, "--smooth")) == {"lost": CALLS, "corrupt": CALLS}


@pytest.mark.quiet
def test_audio_that_was_at_another_rate_is_counted(generator: Path) -> None:
    """Other bytes in other pieces are counted by their number; what is short of it is lost, what is beyond it unexpected."""

    async def convert(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        ulaw = audio_of(event)
        if ulaw and number % 3 == 2:
            await send_media(connection, bytes(100))
            await send_media(connection, bytes(380))

    async def say_more(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        await echo(connection, event, number)
        if number == 48 and event["event"] == "media":
            await send_media(connection, bytes(320))

    report = run(generator, convert, "--count")
    assert troubles(report) == {"lost": CALLS * (FRAMES % 3)}
    assert 35_000 < report["latency_us"]["p99"] < 200_000  # the first of three has waited for the other two
    assert run(generator, say_more, "--count")["unexpected"] > 0


def test_another_call_s_audio_is_no_echo(generator: Path) -> None:
    """Who sends a caller what another one said is found out, though the sound is the same."""
    first: list[ServerConnection] = []

    async def cross(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        first[:] = first or [connection]
        await echo(first[0], event, number)

    report = run(generator, cross)
    assert report["corrupt"] == report["lost"] == (CALLS - 1) * FRAMES


def test_a_call_that_is_closed_is_counted(generator: Path) -> None:
    """A server that leaves has lost the call, besides what it did not send any more."""
    report = run(generator, leave)
    assert report["gone_early"] == CALLS
    assert report["open_at_end"] == 0
    assert report["failed"] == 0


def test_the_time_to_a_clear_is_measured(generator: Path) -> None:
    """From the key to the clear that follows it; here the server thinks for 30 ms."""

    async def think(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        if event["event"] == "dtmf":
            await asyncio.sleep(0.03)
            await connection.send('{"event": "clear", "streamSid": "MZ"}')

    report = run(generator, think, "--press-ms=250", "--listen")
    assert report["presses"] >= 2 * CALLS
    assert report["clears"] == report["presses"]
    assert 30_000 <= report["clear_us"]["p50"] < 200_000


@pytest.mark.quiet
def test_gaps_and_lateness_are_those_of_the_schedule(generator: Path) -> None:
    """Packets of 20 ms, one of them 100 ms late and the rest in time: one gap a call, and its jitter is the worst."""

    async def speak(connection: ServerConnection, event: dict[str, Any], _: int) -> None:
        if event["event"] != "start":
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(60):
            due = began + number * 0.02 + (0.1 if number == 40 else 0)
            await asyncio.sleep(max(0.0, due - loop.time()))
            await send_media(connection, bytes(320 if number == 0 else 160))

    report = run(generator, speak, "--listen")
    assert report["gaps"] >= CALLS
    assert 60_000 <= report["longest_gap_us"] < 200_000
    assert 95_000 <= report["jitter_us"]["max"] < 220_000
    assert report["jitter_us"]["p50"] < 20_000


def test_a_flood_keeps_so_many_frames_under_way(generator: Path) -> None:
    """With a window, frames follow replies and not the clock: more come back than in real time, and none is lost."""
    report = run(generator, echo, "--window=4")
    assert report["frames_back"] > 1.5 * CALLS * FRAMES
    assert {name: count for name, count in troubles(report).items() if name != "lost"} == {}
    assert report["lost"] <= 4 * CALLS  # under way when the time was over


def test_a_slow_server_is_kept_busy_and_not_buried(generator: Path) -> None:
    """With a limit on what is under way, frames that are due wait for replies: none is lost, and fewer are sent."""
    slow = asyncio.Semaphore(1)

    async def plod(connection: ServerConnection, event: dict[str, Any], number: int) -> None:
        async with slow:  # 100 frames a second for all calls, of 200
            await asyncio.sleep(0.01)
            await echo(connection, event, number)

    report = run(generator, plod, "--most-under-way=2")
    assert troubles(report) == {}
    assert 2 * CALLS < report["frames_sent"] < 0.75 * CALLS * FRAMES
    assert report["frames_back"] == report["frames_sent"]


def test_whoever_is_not_there_has_failed(generator: Path) -> None:
    """A port that nobody listens on is a failure of each call, and no reason to hang."""
    with served(echo) as port:
        pass
    done = subprocess.run(
        [generator, f"--port={port}", "--calls=3", "--warm-up-seconds=0.1", "--seconds=0.1", "--settle-seconds=0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout)["failed"] == 3
