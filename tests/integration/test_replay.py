"""Captures of real calls to the real daemon, and the three uses of `replay`: each command as an operator runs it."""

import asyncio
import json
import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from captures.support import VOICE, Captured, minute_of_talk
from integration.daemon import PROGRAM, Daemon, open_files, run_program
from integration.wire import plan
from smartflo_bridge.captures.format import Record, encode_line, message_record, read_capture
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import CallPlan, Ending, HangUp, Press, Speak
from smartflo_bridge.simulator.report import CallReport

TALK = [Speak(0.3, VOICE * 5), Speak(2.0, VOICE * 3), Press(3.2, "7"), HangUp(3.6)]
"""Two turns of the caller: their speech ends at 0.8 and 2.3 s."""


def call(daemon: Daemon, *actions, **parameters: str) -> CallReport:
    """Place a call to its end."""
    return asyncio.run(place_call(daemon.url, plan(*actions, **parameters)))


def captures_in(folder: Path, count: int = 1) -> list[Path]:
    """Return the captures of calls that are over."""
    files = sorted(folder.iterdir())
    assert len(files) == count
    return files


def capture(tmp_path: Path, *actions, handler: str = "repliers:quick", **keys) -> Path:
    """Have one call captured by a daemon, and return the file when the daemon has ended."""
    folder = tmp_path / "captures"
    with Daemon(tmp_path, handler=handler, capture_dir=str(folder), **keys) as daemon:
        call(daemon, *(actions or TALK))
    return captures_in(folder)[0]


def replay(*arguments, exit_code: int = 0) -> str:
    """Run the command; return what it says."""
    run = run_program("replay", *arguments)
    assert run.returncode == exit_code, run.stdout + run.stderr
    return run.stdout + run.stderr


def start_of(file: Path) -> dict[str, Any]:
    """Return the `start` of a capture."""
    return next(json.loads(record.wire) for record in read_capture(file)[1] if b'"start"' in (record.wire or b""))


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> Path:
    """Return the capture of one call that `quick` has answered."""
    return capture(tmp_path_factory.mktemp("talk"))


# --- Without a URL


def test_calls_of_all_kinds_fold_exactly(tmp_path):
    """Keys, interrupts, marks, hang-ups from both sides, lost connections, failing handlers: as captured by the daemon."""
    folders = [tmp_path / "plain", tmp_path / "compressed"]
    failing = {"expects": ["^handler failed "], "tracebacks": 1}
    with (
        Daemon(tmp_path, handler="ivr", capture_dir=str(folders[1]), capture_compress=True) as menu,
        Daemon(tmp_path, handler="answers:answer", hang_up="end", capture_dir=str(folders[0]), **failing) as handlers,
    ):
        calls = [
            (menu, plan(Press(0.5, "1"), Press(1.0, "2"), Speak(1.0, VOICE * 5), Press(2.0, "9"), HangUp(9.0))),
            (menu, plan(HangUp(0.5, Ending.CLOSE))),
            (menu, plan(HangUp(0.5, Ending.DROP))),
            (handlers, plan(HangUp(9.0), role="hang_up", seed="a", seconds="1")),
            (handlers, plan(Press(0.3, "1"), HangUp(9.0), role="fail")),
            (handlers, plan(HangUp(0.8), role="flood", times="40")),
            (handlers, plan(HangUp(2.0), role="speak", seed="b")),
        ]

        async def place_all() -> None:
            await asyncio.gather(*(place_call(daemon.url, one) for daemon, one in calls))

        asyncio.run(place_all())
    plain, compressed = captures_in(folders[0], 4), captures_in(folders[1], 3)
    assert all(file.name.endswith(".capture.jsonl") for file in plain)
    assert all(file.name.endswith(".capture.jsonl.gz") for file in compressed)
    for file in plain + compressed:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        said = replay(file)
        assert "\nidentical: " in said
        assert "cut" not in said


def test_the_accounts_of_a_slow_handler_fold_too(tmp_path):
    """What a handler was too slow for was never in its session's inputs; now it is."""
    with Daemon(
        tmp_path,
        handler="answers:answer",
        inbound_seconds=0.2,
        capture_dir=str(tmp_path / "captures"),
        expects=["^a handler blocks its thread "],
    ) as daemon:
        call(daemon, Press(0.2, "1"), Speak(0.2, VOICE * 30), HangUp(3.5), role="block")
    (file,) = captures_in(tmp_path / "captures")
    assert "\nidentical: " in replay(file)
    drops = list(read_capture(file)[1])[-1].ledger["inbound_drops"]
    assert drops["slow_handler"] > 0


def test_a_difference_is_shown_and_has_exit_code_1(talk, tmp_path):
    """When, what was said, what would be said now, and what went before; no number, key or audio, so it can be shown."""
    lines = talk.read_bytes().splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if b'"dir":"out"' in line][3]
    changed = lines[at].replace(b'"chunk":4', b'"chunk":5').replace(b'"payload":"', b'"payload":"AAAA')
    file = tmp_path / "changed.capture.jsonl"
    file.write_bytes(b"".join([*lines[:at], changed, *lines[at + 1 :]]))
    said = replay(file, exit_code=1)
    t = json.loads(lines[at])["t"]
    assert f"differs at {t / 1e9:.6f} s, line {at + 1}\n" in said
    assert '"chunk":5' in said.split("captured  ")[1].split("\n")[0]
    assert '"chunk":4' in said.split("now       ")[1].split("\n")[0]
    assert "audio     the same up to byte 0\n" in said
    assert "do   play, 2400 bytes, epoch 0\n" in said
    plain = CallPlan()
    for secret in (plain.from_number, plain.to_number, "AAAA", "digit"):
        assert secret not in said


def test_a_capture_of_a_killed_daemon_is_cut_and_identical(tmp_path):
    """Nothing that was flushed is lost, plain or compressed, and what there is folds."""
    for compresses in (False, True):
        folder = tmp_path / f"captures-{compresses}"
        daemon = Daemon(tmp_path, capture_dir=str(folder), capture_compress=compresses, exit_code=-signal.SIGKILL)
        with daemon:
            asyncio.run(_kill_in_the_middle(daemon))
        (file,) = captures_in(folder)
        said = replay(file)
        assert "the capture was cut: it ends at " in said
        records = list(read_capture(file)[1])
        assert records[-1].t > 0.8e9
        assert {record.dir for record in records} == {"in", "out", "do"}


async def _kill_in_the_middle(daemon: Daemon) -> None:
    calling = asyncio.create_task(place_call(daemon.url, plan(HangUp(30.0))))
    await asyncio.sleep(1.2)
    daemon.signal(signal.SIGKILL)
    await calling


def test_a_minute_folds_in_less_than_a_second(tmp_path):
    """60 s of talk on both sides, as the command says; the start of the program is not in it."""
    said = replay(minute_of_talk().write(tmp_path / "minute.capture.jsonl"))
    assert "59.9 s of call, folded in 0." in said


def test_what_is_no_capture_is_one_sentence(tmp_path):
    """No traceback; exit code 1."""
    file = tmp_path / "x.capture.jsonl"
    file.write_text("rubbish")
    assert replay(file, exit_code=1) == f"smartflo-bridge: {file}: not a capture: its first line is no header\n"
    assert "No such file" in replay(tmp_path / "none", exit_code=1)


# --- To a live server


def test_a_caller_calls_again_and_is_answered_as_quickly(talk, tmp_path):
    """The same server again: the same turns, within the budget; and its marks were echoed, so they count as played."""
    with Daemon(tmp_path, handler="repliers:quick", max_calls=2) as daemon:
        said = replay(talk, daemon.url, "--budget-ms", "150")
        (end,) = daemon.ended()
    assert end["termination"] == "completed"
    assert end["marks"] == "played:2"
    rows = {line[:20].strip(): line[20:].split() for line in said.splitlines()}
    assert rows["close code"] == ["1000", "1000"]
    assert rows["mark"] == ["2", "2"]
    turns = [row for name, row in rows.items() if name.startswith("turn ")]
    assert len(turns) == 2
    for before, _, after, _, growth, _ in turns:
        assert 200 < int(before) < 600
        assert abs(int(after) - int(before)) <= 150
        assert int(growth) == pytest.approx(int(after) - int(before), abs=1)


def test_the_stream_is_another_one_unless_it_is_to_be_the_same(talk, tmp_path):
    """A server that serves the captured stream still is not called with it; `--keep-ids` calls with the very ids."""
    sid = start_of(talk)["streamSid"]
    with Daemon(tmp_path, handler="repliers:mute") as daemon:
        replay(talk, daemon.url, "--speed", "max")
        replay(talk, daemon.url, "--speed", "max", "--keep-ids")
        ends = daemon.ended(2)
    assert ends[0]["stream_sid"] != sid == ends[1]["stream_sid"]


SLOWER = ("turn 1 is answered", "turn 2 is answered", "the first audio comes")


@pytest.mark.parametrize(
    ("handler", "sentences"),
    [
        ("repliers:slow", [rf"{what} [4-8]\d\d ms later" for what in SLOWER]),
        (
            "repliers:mute",
            ["turn 1 is not answered any more", "turn 2 is not answered any more", "no audio comes any more"],
        ),
    ],
)
def test_a_server_that_got_slower_is_beyond_the_budget(talk, tmp_path, handler, sentences):
    """Exit code 1, and each reason."""
    with Daemon(tmp_path, handler=handler) as daemon:
        said = replay(talk, daemon.url, "--budget-ms", "250", exit_code=1)
    for sentence in sentences:
        assert re.search(f"^beyond the budget: {sentence}$", said, re.MULTILINE), said


def test_a_hurried_caller_takes_less_time(talk, tmp_path):
    """3.6 s of call in 0.9, and what may be made of it is said."""
    with Daemon(tmp_path, handler="repliers:quick") as daemon:
        began = time.monotonic()
        said = replay(talk, daemon.url, "--speed", "4")
        assert time.monotonic() - began < 3
    assert "the caller was hurried" in said


def test_nobody_there_is_one_sentence(talk):
    """Without the token."""
    said = replay(talk, "ws://127.0.0.1:1/s3cret", exit_code=1)
    assert said == "smartflo-bridge: no connection to 127.0.0.1:1: connection refused; is the bridge running?\n"


# --- Serving


def test_a_captured_bridge_answers_a_new_caller(talk, tmp_path):
    """The caller hears what the first one heard, at the same time after the start."""
    command = ("{program}", "replay", str(talk), "--serve", "--config", "{file}")
    with Daemon(tmp_path, command=command, capture_dir=str(tmp_path / "again")) as daemon:
        report = call(daemon, *TALK)
    assert report.faults == {}
    assert report.heard.strip(b"\xff") != b""
    (file,) = captures_in(tmp_path / "again")
    first, again = (said_in(capture) for capture in (talk, file))
    assert [text for _, text in first] == [text for _, text in again]
    for (at, _), (at_again, _) in zip(first, again, strict=True):
        assert at_again == pytest.approx(at, abs=0.15)


def said_in(file: Path) -> list[tuple[float, str]]:
    """Return what the bridge said in a capture, without the stream, and how long after the start."""
    records = list(read_capture(file)[1])
    start = next(record.t for record in records if b'"start"' in (record.wire or b""))
    return [
        ((record.t - start) / 1e9, json.dumps(json.loads(record.wire) | {"streamSid": ""}))
        for record in records
        if record.dir == "out"
    ]


# --- Anonymising


@pytest.mark.parametrize("name", ["nobody.capture.jsonl", "nobody.capture.jsonl.gz"])
@pytest.mark.parametrize("options", [[], ["--anonymise-audio"]])
def test_an_anonymised_capture_is_nobody_s(talk, tmp_path, name, options):
    """No number, id or key of the call is in it; it folds, and only its owner may read it."""
    out = tmp_path / name
    said = replay(talk, "--anonymise", out, *options)
    assert said.startswith(f"wrote {out}: ")
    assert ("noise" in said) == bool(options)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    header, records = read_capture(out)
    assert header.anonymised
    text = b"".join(encode_line(record) for record in records).decode()
    start = start_of(talk)["start"]
    for member in ("streamSid", "accountSid", "callSid", "from", "to"):
        assert start[member] not in text
    assert '"digit":"7"' not in text
    assert "identical: " in replay(out)


def test_two_runs_have_nothing_in_common(talk, tmp_path):
    """The key of one run is forgotten with it."""
    for name in ("a", "b"):
        replay(talk, "--anonymise", tmp_path / name)
    assert start_of(tmp_path / "a")["start"]["from"] != start_of(tmp_path / "b")["start"]["from"]


def test_nothing_is_written_over(talk, tmp_path):
    """Least of all the capture itself."""
    before = talk.read_bytes()
    assert replay(talk, "--anonymise", talk, exit_code=1) == f"smartflo-bridge: {talk}: File exists\n"
    assert talk.read_bytes() == before


def test_what_cannot_be_anonymised_leaves_no_file(tmp_path):
    """Half of an anonymised capture might be taken for a whole one."""
    made = Captured()
    made.start()
    made.records.append(message_record(1, "in", VOICE))
    file = made.write(tmp_path / "x.capture.jsonl")
    with file.open("ab") as stream:
        stream.write(b"rubbish\n")
    assert "is damaged" in replay(file, "--anonymise", tmp_path / "out", exit_code=1)
    assert not (tmp_path / "out").exists()


# --- Limits


def test_the_daemon_keeps_captures_within_their_limits(tmp_path):
    """A file is cut short at its size and the call goes on; an old one is gone when the daemon has started."""
    folder = tmp_path / "captures"
    folder.mkdir()
    old = folder / "old.capture.jsonl"
    old.touch()
    week_ago = time.time() - 7 * 86_400
    os.utime(old, (week_ago, week_ago))
    limits = {"capture_max_megabytes": 0.05, "capture_keep_days": 6.5}
    with Daemon(tmp_path, capture_dir=str(folder), expects=["^capture cut short "], **limits) as daemon:
        daemon.log.wait_for("old captures deleted files=1")
        report = call(daemon, HangUp(2.0))
        assert report.gaps == ()
        daemon.ended()
        assert not [name for name in open_files(daemon.pid) if "capture" in name]
    (file,) = captures_in(folder)
    assert 50_000 < file.stat().st_size < 80_000
    records = list(read_capture(file)[1])
    assert isinstance(records[-1], Record)
    assert (records[-1].dir, records[-1].reason) == ("cut", "capture-max-megabytes")
    assert "the capture was cut" in replay(file)


# --- The command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--budget-ms", "5"], "--budget-ms goes with a URL"),
        (["--speed", "2"], "--speed goes with a URL"),
        (["--keep-ids"], "--keep-ids goes with a URL"),
        (["--anonymise-audio"], "--anonymise-audio goes with --anonymise"),
        (["--config", "x.toml"], "--config goes with --serve"),
        (["ws://localhost", "--serve"], "a URL and --serve do not go together"),
        (["ws://localhost", "--anonymise", "x"], "a URL and --anonymise do not go together"),
        (["ws://localhost", "--speed", "0.5"], "neither a number of at least 1 nor"),
        (["ws://localhost", "--speed", "inf"], "neither a number of at least 1 nor"),
    ],
)
def test_wrong_arguments_have_exit_code_2(talk, arguments, sentence):
    """Each says what is allowed."""
    assert sentence in replay(talk, *arguments, exit_code=2)


def test_the_script_is_the_command():
    """`scripts/replay FILE [URL]` hands all on."""
    script = Path(__file__).parents[2] / "scripts" / "replay"
    assert script.read_text().endswith('exec "$bridge" replay "$@"\n')
    assert PROGRAM.name == "smartflo-bridge"
