"""The command `call`, against a small bridge in a thread: what is shown, what is written, and the exit code."""

import asyncio
import base64
import json
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from websockets.asyncio.server import ServerConnection, serve

from smartflo_bridge.cli.call import command
from smartflo_bridge.cli.call_progress import CallLine
from smartflo_bridge.cli.load_progress import LoadDisplay
from smartflo_bridge.simulator.lateness import LatenessProbe
from smartflo_bridge.simulator.progress import (
    Answered,
    AudioPassed,
    CallOver,
    Cleared,
    EndAsked,
    EndedBy,
    FirstAudio,
    KeyPressed,
    MarkEchoed,
    MarkPlaced,
    Progress,
)
from smartflo_bridge.simulator.rules import Rule, Violation

LOUD = bytes([0x10, 0x90]) * 400  # 100 ms at nearly full scale


async def _serve_one(connection: ServerConnection) -> None:
    """Play 200 ms and a mark; clear at a key; close badly at key 8; and close well after `stop`."""
    async for message in connection:
        said = json.loads(message)
        sid = said.get("streamSid")
        match said["event"]:
            case "start":
                payload = base64.b64encode(LOUD).decode()
                for chunk in (1, 2):
                    media = {"payload": payload, "chunk": chunk}
                    await connection.send(json.dumps({"event": "media", "streamSid": sid, "media": media}))
                await connection.send(json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "u1"}}))
            case "dtmf" if said["dtmf"]["digit"] == "8":
                await connection.close(1011, "out of order")
            case "dtmf":
                await connection.send(json.dumps({"event": "clear", "streamSid": sid}))
            case "stop":
                return


@pytest.fixture
def url() -> Iterator[str]:
    """Run a bridge beside the test, and return where."""
    found: list[str] = []
    is_up, loop = threading.Event(), asyncio.new_event_loop()
    is_over = asyncio.Event()

    async def run() -> None:
        async with serve(_serve_one, "127.0.0.1", 0) as server:
            found.append(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/vendor-stream")
            is_up.set()
            await is_over.wait()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=[run()])
        thread.start()
        assert is_up.wait(5)
        yield found[0]
        loop.call_soon_threadsafe(is_over.set)
        thread.join(5)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Write 200 ms of a caller's voice."""
    path = tmp_path / "caller.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"\x00\x30\x00\xd0" * 800)
    return path


def call(*arguments: object) -> Result:
    """Run the command, with the short cadence."""
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_one_call_is_shown_as_it_runs_and_summed_up(url: str, voice: Path, tmp_path: Path) -> None:
    """Not on a terminal: a line for each thing that happens, then the summary, and a stereo file."""
    out = tmp_path / "call.wav"
    result = call(url, "--wav", voice, "--press", "1@0.3s", "--linger", "200ms", "--cadence-ms", 20, "--out", out)
    assert result.exit_code == 0, result.output
    for line in ("caller speaks", "bridge speaks", "caller presses 1", "mark u1 echoed", "clear, 0 ms dropped"):
        assert f" s  {line}\n" in result.output
    for line in (
        "ended by the caller, close code 1000",
        "keys        1\n",
        "marks       1 placed, 1 echoed\n",
        "clears      1, 0 ms of audio dropped\n",
        "gaps        none\n",
        "payloads    2, 0 misaligned\n",
        f"wrote {out}\n",
    ):
        assert line in result.output
    with wave.open(str(out)) as file:
        assert file.getnchannels() == 2
        assert file.getnframes() / 8000 == pytest.approx(0.5, abs=0.4)


def test_several_calls_are_counted_and_written_one_by_one(url: str, voice: Path, tmp_path: Path) -> None:
    """Three at once, each with its own file."""
    result = call(url, "--wav", voice, "--calls", 3, "--seconds", "0.5", "--out", tmp_path / "call.wav")
    assert result.exit_code == 0, result.output
    assert "calls       3: 3 answered, 3 ended well, 0 failed\n" in result.output
    assert "marks       3 placed, 3 echoed\n" in result.output
    assert sorted(path.name for path in tmp_path.glob("call-*.wav")) == ["call-1.wav", "call-2.wav", "call-3.wav"]


def test_the_built_in_voice_and_a_time_to_hang_up(url: str) -> None:
    """Without a file the package's own caller speaks, and is cut short."""
    result = call(url, "--hang-up-at", "0.3s", "--param", "queue=sales")
    assert result.exit_code == 0, result.output
    assert "call        0.3 s, ended by the caller" in result.output


def test_a_call_that_ends_badly_has_exit_code_1(url: str, voice: Path) -> None:
    """The bridge closed with a failure's code, and its reason is shown."""
    result = call(url, "--wav", voice, "--press", "8@0.1s")
    assert result.exit_code == 1
    assert "ended by the bridge, close code 1011 (out of order)" in result.output


@pytest.mark.parametrize("calls", [1, 2])
def test_a_call_that_nobody_answers_has_exit_code_1(calls: int, voice: Path, tmp_path: Path) -> None:
    """One sentence, the same for one and for many; no file is written."""
    result = call("ws://127.0.0.1:1/s3cret", "--wav", voice, "--calls", calls, "--out", tmp_path / "call.wav")
    assert result.exit_code == 1
    assert "no connection to 127.0.0.1:1: connection refused; is the bridge running?\n" in result.output
    assert "s3cret" not in result.output
    assert set(tmp_path.glob("*.wav")) == {voice}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["http://localhost/s3cret"], "write ws://host:port/path"),
        (["ws://localhost", "--press", "1"], "write 1@4s"),
        (["ws://localhost", "--press", "1@soon"], "write 20s, 1.5s or 500ms"),
        (["ws://localhost", "--param", "name"], "write name=value"),
        (["ws://localhost", "--wav", __file__], "cannot be played: it is no WAV file"),
        (["ws://localhost", "--out", "/nowhere/call.wav"], "there is no folder /nowhere"),
        (["ws://localhost", "--cadence-ms", "0"], "10<=x<=1000"),
        (["ws://localhost", "--rate", "fast"], "write 20/s"),
        (["ws://localhost", "--json", "/nowhere/report.json"], "there is no folder"),
        (["ws://localhost", "--allow", "rudeness"], "there is no rule 'rudeness'; there are malformed_message,"),
        (["ws://localhost", "--scenario", "nothing"], "there is no scenario 'nothing'"),
        (
            ["ws://localhost", "--scenario", "greeting", "--press", "1@1s"],
            "--press does not go together with --scenario",
        ),
        ([], "Missing argument 'URL'"),
    ],
)
def test_wrong_arguments_have_exit_code_2(arguments: list[str], sentence: str) -> None:
    """Each says what is allowed; a URL's token is not repeated."""
    result = call(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "s3cret" not in result.output


EVERYTHING: list[Progress] = [
    Answered(0.0),
    AudioPassed(0.1, LOUD, b"\xff" * 800),
    FirstAudio(0.1),
    MarkPlaced(0.1, "u1"),
    KeyPressed(0.15, "1"),
    Cleared(0.16, 0.0),
    MarkEchoed(0.16, "u1"),
    Violation(0.17, Rule.NOT_BASE64, "the payload is not strict base64"),
    AudioPassed(0.2, LOUD, LOUD),
    EndAsked(0.3),
    AudioPassed(0.4, b"\xff" * 800, LOUD),
    CallOver(0.4, EndedBy.BRIDGE),
]


def test_on_a_terminal_one_line_is_rewritten_in_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most five times a second, within 80 columns; the last state stays."""
    monkeypatch.setenv("COLUMNS", "80")
    show = CallLine()
    for progress in EVERYTHING:
        show(progress)
    shown = capsys.readouterr().out
    lines = [line.partition("\x1b")[0].rstrip("\n") for line in shown.split("\r")[1:]]
    assert lines == [
        "  0.1 s  caller [##### ] bridge [      ]  marks 0/0  clears 0  keys -",
        "  0.4 s  caller [      ] bridge [##### ]  marks 1/1  clears 1  broken 1  keys 1",
    ]
    assert shown.endswith("\n")


def test_many_calls_are_one_count(capsys: pytest.CaptureFixture[str]) -> None:
    """Rewritten in place on a terminal, a line every five seconds elsewhere; the calls' times are one time."""
    probe = LatenessProbe()
    probe.late_ms.update({0: 99, 7: 2})
    show = LoadDisplay(2, probe, rewrites=True)
    for progress in EVERYTHING:
        show.watch(1.0)(progress)
    show.leave()
    shown = capsys.readouterr().out
    assert shown.count("\r") == 2
    assert shown.split("\r")[2].startswith(
        "   1.4 s  2 calls: 1 up, 0 over  first audio p50 100 p95 100 ms  rules broken 1  own lateness p99 7 ms"[:79]
    )
    quiet = LoadDisplay(2, probe, rewrites=False)
    for at_seconds in (1.0, 5.0, 5.1, 10.2):
        quiet.watch(0.0)(AudioPassed(at_seconds, LOUD, LOUD))
    assert capsys.readouterr().out.splitlines() == [
        "   5.0 s  2 calls: 0 up, 0 over  no audio yet  rules broken 0  own lateness p99 7 ms",
        "  10.2 s  2 calls: 0 up, 0 over  no audio yet  rules broken 0  own lateness p99 7 ms",
    ]
