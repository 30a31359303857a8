"""Writing captures: the file of a call, what is in it, who may read it, and what its name is made of."""

import os
import stat
import threading

import pytest

from calls.support import Dialled, speech
from memory_peer import SID
from smartflo_bridge.captures import capture
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.file import MAX_BEFORE_START_BYTES
from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.core.commands import HangUp, Interrupt, PlaceMark, Play
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import HandlerDone, Malformed, Opened
from virtual_clock import virtual


@pytest.fixture
def directory(tmp_path):
    """Name a directory that is not there yet."""
    return tmp_path / "deep" / "captures"


@pytest.fixture
def writer(directory):
    """Make a writer, and end it."""
    writer = CaptureWriter(directory, SessionSettings())
    yield writer
    writer.close()


def files(writer):
    """Let the writer finish; return its files."""
    writer.close()
    return sorted(writer.directory.iterdir())


def captured(writer):
    """Return the header and the records of the only capture."""
    (file,) = files(writer)
    header, records = read_capture(file)
    return header, list(records)


@virtual
async def test_a_call_is_one_file_of_all_that_was_said(writer):
    """Messages both ways as they were, commands, signals, and the end: what a tap was shown, nothing else."""

    async def answer(call):
        await call.play(speech(0.3), encoding="ulaw")
        await call.digits(1, 5)
        await call.interrupt()
        await call.hang_up()

    dialled = Dialled(answer, taps=(writer.tap(),))
    dialled.platform.speak(speech(0.1, "caller"))
    dialled.peer.push(b"rubbish")
    dialled.peer.push(b"\xff\xfe")
    dialled.platform.press("1")
    session = await dialled.over()
    header, records = captured(writer)
    assert header.settings == dialled.setup.settings
    assert [(record.t, record.dir) for record in records] == [(at_ns, kind) for at_ns, kind, _ in dialled.tap.shown]
    for record, (_, kind, shown) in zip(records, dialled.tap.shown, strict=True):
        match kind:
            case "in" | "out":
                assert record.wire == shown
            case "do":
                assert (record.command or record.signal) == shown
            case _:
                assert record.termination == "hung_up"
                assert record.ledger["received_bytes"] == session.ledger.received_bytes == 800
                assert record.ledger["anomalies"] == {"malformed": 2}
    given = {type(record.command or record.signal) for record in records if record.dir == "do"}
    assert {Opened, Play, PlaceMark, Interrupt, HangUp, HandlerDone} <= given
    assert Malformed not in given


@virtual
async def test_only_we_may_read_it(writer):
    """The audio of a call is the caller's: the file is 0600, a directory that we made 0700, whatever the umask."""
    old = os.umask(0)
    try:
        dialled = Dialled(taps=(writer.tap(),))
        await dialled.begun()
        await dialled.hung_up_on()
        (file,) = files(writer)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(writer.directory.stat().st_mode) == 0o700


@virtual
async def test_its_name_says_when_and_which(writer):
    """Time and stream, so that `ls` is a list of calls."""
    dialled = Dialled(taps=(writer.tap(),))
    await dialled.begun()
    await dialled.hung_up_on()
    (file,) = files(writer)
    header, _ = read_capture(file)
    stamp, sid, rest = file.name.split("-")
    assert stamp == header.began.replace("-", "").replace(":", "").removesuffix("Z")
    assert sid == SID
    assert rest.endswith(".capture.jsonl")


@pytest.mark.parametrize(
    "sid",
    ["../../etc/passwd", "/", "..", ".", "a\nb", "a\x00b", "-rf *", "ü" * 40, "x" * 128, "CON", " ", "$(reboot)"],
)
@virtual
async def test_an_unusual_stream_makes_a_usual_name(writer, sid):
    """An id comes from outside: the file stands in its directory under a name that no shell minds."""
    dialled = Dialled(sid=sid, taps=(writer.tap(),))
    await dialled.begun()
    await dialled.hung_up_on()
    (file,) = files(writer)
    assert len(file.name) < 120
    assert file.name.isascii()
    assert not set(file.name) & set("/\\ \n\x00$*()'\"&;|<>")
    assert file.name.endswith(".capture.jsonl")
    assert file.name[0].isdigit()


@virtual
async def test_calls_of_one_moment_have_files_of_their_own(writer):
    """Two streams of one name in one second do not write into one file."""
    for _ in range(3):
        dialled = Dialled(taps=(writer.tap(),))
        await dialled.begun()
        await dialled.hung_up_on()
    assert len(files(writer)) == 3


@pytest.mark.parametrize(
    "start",
    [
        b'{"event":"start","streamSid":"MZ1"}',
        b'{"event":"start","start":{"streamSid":"MZ1"}}',
        b'{\n  "event": "start",\n  "streamSid": "MZ1"\n}',
        b'{"event":"start","streamSid":"MZ1"}\n',
        b' {"event":"start","streamSid":"MZ1"} ',
    ],
)
@virtual
async def test_every_form_of_start_opens_the_file(writer, start):
    """However the platform writes it, and wherever it puts the id: a call that is served is captured."""
    dialled = Dialled(starts=False, taps=(writer.tap(),))
    dialled.peer.push(start)
    call = await dialled.begun()
    assert call.stream_sid == "MZ1"
    dialled.peer.lose()
    await dialled.over()
    (file,) = files(writer)
    assert "MZ1" in file.name
    _, records = read_capture(file)
    records = list(records)
    assert start in [record.wire for record in records]
    assert records[0].signal == Opened(), "what came before the start is there too"
    assert records[-1].dir == "end"


@virtual
async def test_a_connection_without_a_start_leaves_no_file(writer):
    """Probes and rubbish do not fill the disk."""
    dialled = Dialled(starts=False, taps=(writer.tap(),))
    for _ in range(10):
        dialled.peer.say("connected")
    dialled.peer.lose()
    await dialled.over()
    assert files(writer) == []


@virtual
async def test_what_waits_for_a_start_is_bounded(writer):
    """A peer that talks without ever starting costs little memory, and no file."""
    dialled = Dialled(starts=False, taps=(writer.tap(),))
    for _ in range(MAX_BEFORE_START_BYTES // 20):
        dialled.peer.say("connected")
    dialled.peer.lose()
    await dialled.over()
    assert files(writer) == []


@virtual
async def test_lines_are_with_the_operating_system_at_once(writer, directory, monkeypatch):
    """A process that is killed loses at most what was just said: while the call lives, its file is there up to here."""
    is_written = threading.Event()
    flush = capture.CaptureFile.flush

    def watched_flush(self):
        flush(self)
        if any(b'"dtmf"' in file.read_bytes() for file in directory.iterdir()):
            is_written.set()

    monkeypatch.setattr(capture.CaptureFile, "flush", watched_flush)
    dialled = Dialled(taps=(writer.tap(),))
    dialled.platform.press("1")
    await dialled.begun()
    assert is_written.wait(10)
    await dialled.hung_up_on()


@pytest.mark.parametrize("blocked_by", ["a file", "no permission to make", "no permission to write"])
def test_a_directory_that_cannot_be_had_is_a_sentence(tmp_path, blocked_by, monkeypatch):
    """The daemon does not start, and says which directory and why."""
    directory = tmp_path / "captures"
    if blocked_by == "a file":
        directory.write_text("")
    elif blocked_by == "no permission to make":
        monkeypatch.setattr("pathlib.Path.mkdir", _refuse)
    else:
        directory.mkdir()
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError) as error:
        CaptureWriter(directory, SessionSettings())
    assert str(error.value).startswith(f"capture-dir: {directory}: ")


def _refuse(*_args, **_kwargs):
    raise PermissionError(13, "Permission denied")
