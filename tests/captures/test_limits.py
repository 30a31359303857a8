"""Limits of captures: their size, their age, what waits for the disk; and what is left of one that was cut."""

import gzip
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.support import VOICE, Captured, folded, media_message
from core.support import message, start_message
from smartflo_bridge.captures import capture, retention
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.file import MAX_BEFORE_START_BYTES, CaptureFile, create
from smartflo_bridge.captures.format import CaptureError, Record, cut_record, encode_line, message_record, read_capture
from smartflo_bridge.captures.retention import CAPTURES, prune
from smartflo_bridge.core.commands import Play
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings

DAY = 86_400.0
NAMES = ["x.capture.jsonl", "x.capture.jsonl.gz"]


def a_call(seconds: int = 2, voice: Callable[[int], bytes] = lambda _: VOICE) -> Captured:
    """Return a call in which both talk; `voice` is asked for 800 bytes at a time."""
    call = Captured()
    call.start()
    for number in range(seconds * 10):
        call.say(media_message(voice(800), number))
        call.give(Play(voice(800), 0))
        call.run(0.1)
    call.say(message("stop"))
    call.end()
    return call


def warnings(caplog):
    """Return the log's lines above INFO."""
    return [record.getMessage() for record in caplog.records if record.levelname != "INFO"]


def tap_call(writer: CaptureWriter, call: Captured) -> None:
    """Show a call to a tap."""
    tap = writer.tap()
    for record in call.records:
        if record.dir == "in":
            tap.message_in(record.t, record.wire)
        elif record.dir == "out":
            tap.message_out(record.t, record.wire)
        elif record.dir == "do":
            tap.given(record.t, record.command or record.signal)
        else:
            tap.ended(record.t, call.session)


def only_file(directory):
    """Return the only file of a directory."""
    (file,) = directory.iterdir()
    return file


# --- A file that was cut


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_cut_file_is_readable_up_to_the_cut(tmp_path_factory, name, data):
    """Wherever it was cut: whole lines before are there and fold, plain or compressed, and nothing is raised."""
    call = a_call()
    file = call.write(tmp_path_factory.mktemp("cut") / name)
    whole = file.read_bytes()
    first_line = len(encode_line(call.header))
    cut = data.draw(st.integers(first_line, len(whole)))
    file.write_bytes(whole[:cut])
    try:
        header, records = read_capture(file)
    except CaptureError:
        assert name.endswith(".gz"), "compressed, even the header may be behind the cut"
        return
    records = list(records)
    assert header == call.header
    assert records == call.records[: len(records)]
    assert folded(file).difference is None
    if not name.endswith(".gz"):
        left = len(b"".join(map(encode_line, (header, *records, *call.records[len(records) : len(records) + 1]))))
        assert left > cut or cut >= len(whole) - 1, "a whole line was left out"


@pytest.mark.parametrize("name", NAMES)
def test_what_was_flushed_is_all_there(tmp_path, name):
    """A process that is killed right after a flush has lost nothing, though the file was never closed."""
    call = a_call(1)
    file = tmp_path / name
    stream = create(file)
    stream.write(encode_line(call.header))
    for number, record in enumerate(call.records, 1):
        stream.write(encode_line(record))
        stream.flush()
        if number % 10 == 0:
            assert len(list(read_capture(file)[1])) == number
    stream.close()


def test_rubbish_behind_a_compressed_cut_is_passed_over(tmp_path):
    """A machine that lost power may leave a block of zeros at the end."""
    call = a_call(1)
    file = call.write(tmp_path / "x.capture.jsonl.gz")
    file.write_bytes(file.read_bytes()[:-8] + bytes(4096))
    assert len(list(read_capture(file)[1])) >= len(call.records) - 1


def test_a_damaged_line_is_no_cut(tmp_path):
    """A line that is whole and no record is said to be damaged: what follows it would be missed in silence."""
    call = a_call(1)
    file = call.write(tmp_path / "x.capture.jsonl")
    lines = file.read_bytes().split(b"\n")
    lines[5] = b'{"t":1,"dir"'
    file.write_bytes(b"\n".join(lines))
    _, records = read_capture(file)
    with pytest.raises(CaptureError, match=r"x\.capture\.jsonl: line 6 is damaged, or of a later version"):
        list(records)


def test_other_programs_read_a_compressed_one(tmp_path):
    """It is an ordinary gzip file, and about half as long."""
    call = a_call(10)
    plain, small = (call.write(tmp_path / name) for name in NAMES)
    assert gzip.decompress(small.read_bytes()) == plain.read_bytes()
    assert small.stat().st_size < 0.6 * plain.stat().st_size


# --- Size


@pytest.mark.parametrize("compresses", [False, True])
def test_a_file_is_cut_short_at_its_limit(tmp_path, caplog, compresses):
    """It holds all up to there, says that it was cut and why, folds, and there is one warning."""
    call = a_call(10, os.urandom)
    writer = CaptureWriter(tmp_path, SessionSettings(), max_megabytes=0.02, compresses=compresses)
    tap_call(writer, call)
    writer.close()
    file = only_file(tmp_path)
    records = list(read_capture(file)[1])
    assert records[:-1] == call.records[: len(records) - 1]
    assert records[-1] == cut_record(call.records[len(records) - 1].t, "capture-max-megabytes")
    assert 20_000 < file.stat().st_size < 26_000 + 40_000 * compresses  # what the compressor still held comes behind
    assert warnings(caplog) == ["capture cut short reason=capture-max-megabytes"]
    result = folded(file)
    assert (result.difference, result.is_complete) == (None, False)


def test_below_its_limit_a_file_is_whole(tmp_path, caplog):
    """The last line is the end."""
    call = a_call(3)
    writer = CaptureWriter(tmp_path, SessionSettings(), max_megabytes=1)
    tap_call(writer, call)
    writer.close()
    assert list(read_capture(only_file(tmp_path))[1]) == call.records
    assert warnings(caplog) == []


def test_nothing_is_queued_behind_the_cut(tmp_path):
    """A call that lasts for hours after its limit costs no more."""
    file = CaptureFile(tmp_path, SessionSettings(), max_bytes=1, compresses=False)
    file.write(message_record(0, "in", start_message()))
    file.write(Record(1, "in", text="x"))
    assert file.is_over
    writer = CaptureWriter(tmp_path / "other", SessionSettings())
    writer.put(file, Record(2, "in"), b"y")
    assert writer._put_bytes == 0
    writer.close()


# --- What waits


def test_what_waits_for_the_disk_is_bounded(tmp_path, caplog, monkeypatch):
    """Behind a disk that hangs captures are cut short: each keeps what came before, whole, and says so."""
    monkeypatch.setattr(capture, "MAX_WAITING_BYTES", 50_000)
    goes_on = threading.Event()
    write = CaptureFile.write

    def hang(self, record):
        goes_on.wait(10)
        write(self, record)

    monkeypatch.setattr(CaptureFile, "write", hang)
    call = a_call(10)
    writer = CaptureWriter(tmp_path, SessionSettings())
    tap_call(writer, call)
    assert 50_000 < writer._put_bytes < 55_000
    goes_on.set()
    writer.close()
    records = list(read_capture(only_file(tmp_path))[1])
    assert records[:-1] == call.records[: len(records) - 1]
    assert (records[-1].dir, records[-1].reason) == ("cut", "the disk is too slow")
    assert warnings(caplog) == ['capture cut short reason="the disk is too slow"']
    assert writer._put_bytes == writer._written_bytes
    tap_call(writer, call)


def test_a_connection_that_only_talks_gets_no_file(tmp_path, caplog):
    """What is kept until a stream has a name is bounded; a `start` behind it comes too late for a whole capture."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    tap = writer.tap()
    for number in range(MAX_BEFORE_START_BYTES // 50):
        tap.message_in(number, message("connected", x="y" * 50))
    tap.message_in(99_999, start_message())
    tap.ended(100_000, Session(SessionSettings()))
    writer.close()
    assert list(tmp_path.iterdir()) == []
    assert warnings(caplog) == ['no capture of a connection reason="it says too much before its start"']


@pytest.mark.parametrize(
    "start", [b'{\n "event": "start",\n "streamSid": "MZ7"\n}', b' {"event":"start","streamSid":"MZ7"} ']
)
def test_a_start_on_several_lines_opens_a_file(tmp_path, start):
    """However it is written, a stream that starts is captured, and its message comes back byte for byte."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    tap = writer.tap()
    tap.message_in(1, start)
    writer.close()
    file = only_file(tmp_path)
    assert "MZ7" in file.name
    assert [record.wire for record in read_capture(file)[1]] == [start]


# --- Age


def old_file(directory, name, days):
    """Make a file that was written so many days ago."""
    file = directory / name
    file.write_bytes(b"")
    os.utime(file, (time.time() - days * DAY,) * 2)
    return file


def test_old_captures_are_deleted_and_nothing_else(tmp_path):
    """Not what is younger, not other files, not what a link points to, nothing in folders."""
    folder = tmp_path / "old.capture.jsonl"
    folder.mkdir()
    outside = old_file(tmp_path.parent, "kept.capture.jsonl", 99)
    (tmp_path / "link.capture.jsonl").symlink_to(outside)
    gone = [old_file(tmp_path, f"1.{name}", 31) for name in NAMES]
    kept = [
        old_file(tmp_path, "2.x.capture.jsonl", 29),
        old_file(tmp_path, "notes.txt", 99),
        old_file(tmp_path, "x.jsonl.gz", 99),
        old_file(folder, "3.x.capture.jsonl", 99),
        outside,
    ]
    assert prune(tmp_path, CAPTURES, 30 * DAY, time.time()) == 2
    assert not any(file.exists() for file in gone)
    assert all(file.exists() for file in kept)


def test_a_file_that_another_bridge_deletes_is_no_trouble(tmp_path, monkeypatch):
    """Two bridges may share a directory."""
    old_file(tmp_path, "a.capture.jsonl", 99)
    old_file(tmp_path, "b.capture.jsonl", 99)
    scandir = os.scandir

    class Gone:
        """A look at the directory after which one file has been deleted by somebody else."""

        def __init__(self, path):
            self._entries = scandir(path)

        def __enter__(self):
            entries = sorted(self._entries, key=lambda entry: entry.name)
            Path(entries[0].path).unlink()
            return entries

        def __exit__(self, *_):
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Gone)
    assert prune(tmp_path, CAPTURES, 30 * DAY, time.time()) == 1


def test_the_writer_deletes_at_its_start_and_every_hour(tmp_path, caplog, monkeypatch):
    """On a thread of its own, and says how many."""
    caplog.set_level("INFO")
    monkeypatch.setattr(retention, "PRUNE_SECONDS", 0.05)
    first = old_file(tmp_path, "a.capture.jsonl", 2)
    writer = CaptureWriter(tmp_path, SessionSettings(), keep_days=1)
    wait_until(lambda: pruned(caplog) == 1)
    assert not first.exists()
    second = old_file(tmp_path, "b.capture.jsonl", 2)
    young = old_file(tmp_path, "c.capture.jsonl", 0.5)
    wait_until(lambda: pruned(caplog) == 2)
    writer.close()
    assert not second.exists()
    assert young.exists()


def test_a_directory_that_cannot_be_looked_through_is_a_warning(tmp_path, caplog, monkeypatch):
    """The bridge goes on."""
    is_refused = threading.Event()

    def refuse(*_):
        is_refused.set()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(retention, "prune", refuse)
    writer = CaptureWriter(tmp_path, SessionSettings())
    assert is_refused.wait(10)
    wait_until(lambda: warnings(caplog))  # the thread that was refused has still to say so
    writer.close()
    assert warnings(caplog) == ['old captures could not be deleted reason="Permission denied"']


def pruned(caplog):
    """Return how often the log says that one capture was deleted: a file is gone a moment before that is said."""
    return [record.getMessage() for record in caplog.records].count("old captures deleted files=1")


def wait_until(is_so):
    """Wait until something is so; fail if it never is."""
    ends = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


# --- Who may read it


@pytest.mark.parametrize("compresses", [False, True])
def test_only_its_owner_may_read_a_file(tmp_path, compresses):
    """Compressed or not, whatever the umask."""
    before = os.umask(0)
    try:
        writer = CaptureWriter(tmp_path / "new", SessionSettings(), compresses=compresses)
        tap_call(writer, a_call(1))
        writer.close()
    finally:
        os.umask(before)
    file = only_file(tmp_path / "new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.name.endswith(".capture.jsonl.gz" if compresses else ".capture.jsonl")


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    """Not even by the same name."""
    file = tmp_path / "x.capture.jsonl"
    file.write_text("something")
    with pytest.raises(FileExistsError):
        create(file)
    assert file.read_text() == "something"
