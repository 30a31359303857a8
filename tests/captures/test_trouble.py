"""A disk in trouble costs captures, one warning each, and never a call."""

import asyncio
import os
import queue
import threading
from pathlib import Path

import pytest

from calls.support import Dialled, speech
from smartflo_bridge.captures import capture, file
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.file import create
from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.settings import SessionSettings
from virtual_clock import virtual


@pytest.fixture
def writer(tmp_path):
    """Make a writer, and end it."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    yield writer
    writer.close()


def warnings(caplog):
    """Return the log's lines above INFO."""
    return [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def a_long_call(writer, sid="MZ1"):
    """Make a call of some hundred lines that must not suffer; return what was dialled."""

    async def speak(call):
        await call.play(speech(10.0), encoding="ulaw")
        assert (await call.mark()).was_played

    dialled = Dialled(speak, sid=sid, taps=(writer.tap(),))
    await dialled.platform.talk(speech(9.0, "caller"))
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert dialled.platform.heard(0, 10.0) == speech(10.0)
    return dialled


@pytest.fixture
def _disk_is_full(monkeypatch):
    """Let every capture be opened on a device that takes nothing."""
    real_open = os.open

    def open_full(path, flags, *args, **kwargs):
        if str(path).endswith(".capture.jsonl"):
            return real_open("/dev/full", os.O_WRONLY)
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_full)


@pytest.mark.usefixtures("_disk_is_full")
@virtual
async def test_a_full_disk_ends_the_capture_and_not_the_call(writer, caplog):
    """One warning, with the reason; the call does not notice."""
    await a_long_call(writer)
    writer.close()
    assert warnings(caplog) == ['capture cut short reason="No space left on device"']


@pytest.mark.usefixtures("_disk_is_full")
@virtual
async def test_each_call_has_its_own_warning(writer, caplog):
    """A second call on the full disk is warned of as well, once."""
    await a_long_call(writer, "MZ1")
    await a_long_call(writer, "MZ2")
    writer.close()
    assert len(warnings(caplog)) == 2


@virtual
async def test_a_file_that_cannot_be_made_ends_the_capture_and_not_the_call(writer, caplog, monkeypatch):
    """Too many open files, a directory that is gone: the same."""

    def refuse(path, flags, *args, **kwargs):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    await a_long_call(writer)
    writer.close()
    assert warnings(caplog) == ['capture cut short reason="Too many open files"']


@virtual
async def test_a_disk_that_fills_in_the_middle_leaves_what_was_written(writer, tmp_path, caplog, monkeypatch):
    """The file is readable up to the place where the disk was full, and the next call's capture is whole again."""

    class Filling:
        """A file that takes so many bytes, and then none."""

        def __init__(self, file):
            self._file, self._room = file, 20_000

        def write(self, data):
            if self._room < len(data):
                self._file.write(data[: self._room])
                self._room = 0
                raise OSError(28, "No space left on device")
            self._room -= len(data)
            return self._file.write(data)

        def flush(self):
            self._file.flush()

        def close(self):
            self._file.close()

    # By the file's name, not by the time: the writer's thread opens a file whenever it gets to it.
    monkeypatch.setattr(file, "create", lambda path: Filling(create(path)) if "-MZ1-" in path.name else create(path))
    await a_long_call(writer, "MZ1")
    await a_long_call(writer, "MZ2")
    writer.close()
    assert warnings(caplog) == ['capture cut short reason="No space left on device"']
    cut, whole = (list(read_capture(_file_of(tmp_path, sid))[1]) for sid in ("MZ1", "MZ2"))
    assert len(cut) > 5
    assert cut[-1].dir != "end"
    assert whole[-1].dir == "end"


def _file_of(directory: Path, sid):
    return next(path for path in directory.iterdir() if sid in path.name)


@virtual
async def test_a_disk_that_hangs_costs_lines_and_not_the_call(tmp_path, caplog, monkeypatch):
    """What waits for the disk is bounded: beyond, the capture is cut short, and the call goes on."""
    monkeypatch.setattr(capture, "MAX_WAITING_BYTES", 100_000)
    goes_on = threading.Event()
    write = capture.CaptureFile.write

    def hang(self, record):
        goes_on.wait(10)
        write(self, record)

    monkeypatch.setattr(capture.CaptureFile, "write", hang)
    writer = CaptureWriter(tmp_path, SessionSettings())
    await a_long_call(writer)
    assert writer._queue.qsize() <= 101
    goes_on.set()
    writer.close()
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("capture cut short reason=")


@virtual
async def test_the_end_of_the_bridge_does_not_wait_for_a_hanging_disk(tmp_path, monkeypatch):
    """`close` gives the disk its time and no more."""
    goes_on = threading.Event()
    monkeypatch.setattr(capture.CaptureFile, "write", lambda *_: goes_on.wait(10))
    writer = CaptureWriter(tmp_path, SessionSettings())
    dialled = Dialled(taps=(writer.tap(),))
    await dialled.begun()
    await dialled.hung_up_on()
    writer.close(timeout_seconds=0.05)
    assert writer._thread.is_alive()
    goes_on.set()
    writer._thread.join(10)
    assert not writer._thread.is_alive()


@virtual
async def test_the_queue_is_emptied_before_the_writer_ends(tmp_path):
    """What was said before the end of the bridge is written, of all calls."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    calls = [Dialled(sid=f"MZ{number}", taps=(writer.tap(),)) for number in range(20)]
    for dialled in calls:
        for number in range(50):
            dialled.platform.speak(speech(0.1, number))
    await asyncio.sleep(1)
    for dialled in calls:
        await dialled.hung_up_on()
    assert isinstance(writer._queue, queue.SimpleQueue)
    writer.close(10)
    files = list(tmp_path.iterdir())
    assert len(files) == 20
    for path in files:
        records = list(read_capture(path)[1])
        assert sum(record.dir == "in" for record in records) == 53
        assert records[-1].dir == "end"
