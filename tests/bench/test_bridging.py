"""The benchmark of legs: its far agent, which a client that looks closely accepts, and the tables."""

import asyncio
import base64
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bridging.document import TOO_MUCH, lines_of
from bridging.plan import Measured
from bridging.programs import DIRECT, Bridge, legs
from speed.load import Load, Seen
from speed.servers import Server, toml
from websockets.asyncio.client import ClientConnection, connect

from bench.echoes import SPEED, compiled

AUDIO = bytes(range(160))
FEW = "20 calls"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the agent."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (Debian: gcc libc6-dev)")
    return compiled(tmp_path_factory.mktemp("agent") / "agent", SPEED / "agent.c")


@asynccontextmanager
async def connected(agent: Path, path: str) -> AsyncIterator[ClientConnection]:
    """Run the agent, and connect to it with the library, which refuses a wrong `Sec-WebSocket-Accept`."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = await asyncio.create_subprocess_exec(agent, str(port))
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    connection = await connect(f"ws://127.0.0.1:{port}{path}", proxy=None)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
            async with connection:
                yield connection
    finally:
        process.terminate()
        await process.wait()


async def exchange(agent: Path, path: str, *messages: str | bytes) -> list[str | bytes]:
    """Say messages to the agent; return all that it says."""
    said: list[str | bytes] = []
    async with connected(agent, path) as connection:
        for message in messages:
            await connection.send(message)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    said.append(await connection.recv())
    return said


def test_the_agent_says_what_it_hears_as_twilio_s_bots_do(agent: Path) -> None:
    """Media comes back with the same audio, for the same stream; of other events nothing comes back."""
    connected_event = '{"event":"connected","protocol":"Call"}'
    media = {"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(AUDIO).decode()}}
    (said,) = asyncio.run(exchange(agent, "/twilio", connected_event, json.dumps(media)))
    assert json.loads(said) == media


def test_the_agent_says_what_it_hears_in_binary(agent: Path) -> None:
    """Binary audio comes back byte for byte, of 126 bytes and more or of fewer; text does not."""
    pieces = [AUDIO, AUDIO[:20], AUDIO * 12]
    assert asyncio.run(exchange(agent, "/raw", '{"type":"speech_start"}', *pieces)) == pieces


def test_the_agent_says_what_it_hears_as_the_realtime_api_does(agent: Path) -> None:
    """It greets with `session.created`, agrees to the update, and makes a delta of each append."""
    audio = base64.b64encode(AUDIO).decode()
    append = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
    said = asyncio.run(exchange(agent, "/openai", '{"type":"session.update","session":{}}', append))
    created, updated, delta = (json.loads(message) for message in said)
    assert created["type"] == "session.created"
    assert updated["session"]["audio"]["output"]["format"]["type"] == "audio/pcmu"
    assert (delta["type"], delta["delta"]) == ("response.output_audio.delta", audio)


def seen(cpu_seconds: float, p50_us: float, p99_us: float) -> Seen:
    """Make the report of 20 calls over 2 s."""
    report: dict[str, Any] = {
        "seconds": 2.0,
        "servers": [{"cpu_seconds": cpu_seconds, "rss_kib": 1000}],
        "latency_us": {"p50": p50_us, "p99": p99_us, "max": p99_us},
    }
    return Seen(Load(20, seconds=2.0), report)


def measured(*ours: Seen) -> Measured:
    """Make what was measured, of so many rounds; the agent alone takes 0.1 ms, and 0.2 ms at worst."""
    made = Measured()
    server = Server("none", "ours", lambda port: [str(port)])
    for name in ("ours: raw", "bare"):
        made.bridges[name] = Bridge(name, server, "mu-law")
    for one in ours:
        made.keep("ours: raw", FEW, one)
        made.keep("bare", FEW, seen(0.4, 300, 900))
        made.keep(DIRECT, FEW, seen(0.01, 100, 200))
    return made


def test_the_agent_s_own_time_is_subtracted() -> None:
    """Of three rounds the best counts for what is added, the median for the processor time of a call and for the ratio."""
    made = measured(seen(0.6, 400, 1200), seen(0.5, 500, 1700), seen(4.0, 9000, 9900))
    rows = lines_of(made, [FEW])
    assert rows[2] == "| **ours: raw** | mu-law | 0.30 / 1.10 | 15.0 (1.50) |"
    assert rows[3] == "| bare | mu-law | 0.20 / 0.80 | 10.0 (1.00) |"


def test_a_bridge_that_falls_behind_has_no_figures() -> None:
    """Where audio came back later and later in every round, nothing is told, and there is no ratio to it."""
    made = measured(seen(2.0, 500_000, 700_000), seen(2.0, 600_000, 900_000))
    assert lines_of(made, [FEW], memory={"bare": 41.2})[2] == f"| **ours: raw** | mu-law | {TOO_MUCH} | {TOO_MUCH} |  |"
    assert made.ratio("ours: raw", "bare", FEW) is None


def test_each_leg_says_what_its_agent_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was at another rate is not compared byte by byte; 8000 Hz of PCM16 and mu-law are."""
    monkeypatch.setattr("bridging.programs.CACHE", tmp_path)
    found = {bridge.name: (bridge.hears, bridge.is_exact) for bridge in legs(8765, 160)}
    assert found["ours: twilio"] == found["ours: openai"] == ("mu-law", True)
    assert found["ours: raw, pcm16;8000"] == ("PCM16 at 8000 Hz", True)
    assert found["ours: raw, pcm16;24000"] == ("PCM16 at 24000 Hz", False)


def test_a_configuration_has_its_tables_last() -> None:
    """A table ends where the file does, so all keys stand before it; a key that is taken away is not there."""
    text = toml({"agent": {"kind": "raw"}, "handler": None, "port": 1})
    assert text == 'port = 1\n[agent]\nkind = "raw"\n'
