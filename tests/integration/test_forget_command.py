"""`smartflo-bridge forget`: after a call, all that is kept of its caller is named, and then gone; live calls go on."""

import asyncio
from pathlib import Path

import pytest

from integration.daemon import Daemon, run_program, write_config
from integration.wire import dialled

NUMBER = "919800000001"


async def call_from(daemon: Daemon, number: str, *, stays: float = 0.0) -> None:
    """Have a call from a number that says something and is over."""
    async with dialled(daemon.url) as platform:
        await platform.say("start", start={"streamSid": platform.sid, "callSid": "c1", "from": number, "to": "1800"})
        for _ in range(10):
            await platform.speak()
        await daemon.log.seen(f"call started stream_sid={platform.sid} ")
        await asyncio.sleep(stays)
        await platform.stop()
        await platform.closed()
    await asyncio.to_thread(daemon.end_of, platform.sid)


def test_a_caller_is_forgotten(tmp_path: Path) -> None:
    """A dry run names the same files as the real one and deletes none; another caller's stay; the log has no number."""
    captures, recordings = tmp_path / "captures", tmp_path / "recordings"
    keys = {"capture_dir": str(captures), "record_dir": str(recordings)}
    with Daemon(tmp_path, handler="silence", secrets=[NUMBER, "919800000002"], **keys) as daemon:
        asyncio.run(call_from(daemon, NUMBER))
        asyncio.run(call_from(daemon, NUMBER))
        asyncio.run(call_from(daemon, "919800000002"))
    assert (len(list(captures.iterdir())), len(list(recordings.iterdir()))) == (3, 3)
    for file in (*captures.iterdir(), *recordings.iterdir()):
        assert file.stat().st_mode & 0o777 == 0o600
        assert NUMBER not in file.name
    for folder in (captures, recordings):
        assert folder.stat().st_mode & 0o777 == 0o700
    config = write_config(tmp_path, **keys)
    dry = run_program("forget", "--config", config, "--dry-run", "+91 98000 00001")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("would delete ") == 4
    assert dry.stdout.endswith("\n4 files found\n")
    assert (len(list(captures.iterdir())), len(list(recordings.iterdir()))) == (3, 3)
    done = run_program("forget", "--config", config, "-", given="9800000001\n")
    assert done.stdout == dry.stdout.replace("would delete", "deleted").replace("found", "deleted")
    assert "9800000001" not in done.stdout
    assert (len(list(captures.iterdir())), len(list(recordings.iterdir()))) == (1, 1)
    assert run_program("forget", "--config", config, NUMBER).stdout == "0 files deleted\n"
    assert run_program("forget", "--in", captures, "919800000002").stdout.endswith("\n1 file deleted\n")


def test_a_caller_is_forgotten_during_a_call(tmp_path: Path) -> None:
    """The call ends as ever, and leaves nothing."""

    async def main(daemon: Daemon) -> None:
        calling = asyncio.create_task(call_from(daemon, NUMBER, stays=1.5))
        await daemon.log.seen("call started")
        await asyncio.sleep(0.8)  # half a second of audio is written at a time
        done = await asyncio.to_thread(run_program, "forget", "--in", str(tmp_path / "kept"), NUMBER)
        assert done.returncode == 0, done.stderr
        await calling
        assert daemon.ended()[0]["termination"] == "completed"

    kept = str(tmp_path / "kept")
    with Daemon(tmp_path, handler="silence", capture_dir=kept, record_dir=kept) as daemon:
        asyncio.run(main(daemon))
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["anonymous"], 2, "NUMBER: has no digits"),
        (["919800000001"], 2, "neither capture-dir nor record-dir is configured"),
        (["--in", "/nonexistent", "919800000001"], 1, "/nonexistent: No such file or directory"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """One line says so."""
    done = run_program("forget", "--config", write_config(tmp_path), *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(f"smartflo-bridge: {words}")
    assert done.stderr.count("\n") == 1
