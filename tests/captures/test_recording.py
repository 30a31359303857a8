"""Recordings as files: the tap is shown a call with numbers for time, its thread writes, and others read the file."""

import logging
import resource
import shutil
import stat
import subprocess
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from smartflo_bridge.captures import recording
from smartflo_bridge.captures.recording import RecordingTap, RecordingWriter
from smartflo_bridge.core import outgoing
from smartflo_bridge.core.audio import SILENCE, pcm_to_ulaw
from smartflo_bridge.core.commands import MuteRecording, Play
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.incoming import Media, MediaEvent, StartEvent, StopEvent
from smartflo_bridge.core.outgoing import encode_outgoing_event
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import PeerLost, Tick

SESSION = Session(SessionSettings())
CALLER, OURS = b"\x10", b"\x90"


def ns(seconds: float) -> int:
    """Return a tap's time."""
    return round(seconds * 1e9)


def start(tap: RecordingTap, sid: str = "MZ1") -> None:
    """Begin the stream at 0 s."""
    tap.message_in(0, b'{"event":"connected"}')
    tap.message_in(0, msgspec.json.encode(StartEvent(stream_sid=sid)))


def hear(tap: RecordingTap, first: int, last: int, sid: str | None = "MZ1") -> None:
    """Have 100 ms chunks of the caller come, by their numbers."""
    for number in range(first, last):
        event = MediaEvent(stream_sid=sid, media=Media(CALLER * 800, number + 1, (number + 1) * 100))
        tap.message_in(ns((number + 1) / 10), msgspec.json.encode(event))


def say(tap: RecordingTap, at: float, frames: int) -> None:
    """Have us say something."""
    media = outgoing.Media(OURS * 160 * frames, 1)
    tap.message_out(ns(at), encode_outgoing_event(outgoing.MediaEvent("MZ1", media)))


def until_written(writer: RecordingWriter) -> None:
    """Wait for the thread to have done what it was given so far."""
    done = threading.Event()
    writer.put(recording._Recording(writer.directory), lambda now, shown: done.set(), 0)
    assert done.wait(10)


def voices(path: Path) -> tuple[bytes, bytes]:
    """Read a recording as the standard library does: caller, us."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        both = pcm_to_ulaw(file.readframes(file.getnframes()))
    return both[::2], both[1::2]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file become larger: like a full disk, the system refuses to write on."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RecordingWriter]:
    """Write into a directory that is not there yet."""
    made = RecordingWriter(tmp_path / "calls" / "recordings")
    yield made
    made.close()


def test_a_call_becomes_a_stereo_file(writer: RecordingWriter) -> None:
    """Caller left, us right, silence where nothing was; the name has the stream in it."""
    tap = writer.tap()
    start(tap, "MZ/../1")
    hear(tap, 0, 10, sid=None)
    say(tap, 1.0, 5)
    hear(tap, 10, 20, sid=None)
    tap.message_in(ns(2.0), msgspec.json.encode(StopEvent()))
    tap.ended(ns(2.1), SESSION)
    writer.close()
    (path,) = writer.directory.iterdir()
    assert path.match("*-MZ_.._1-????.wav")
    assert voices(path) == (CALLER * 16_000, SILENCE * 8000 + OURS * 800 + SILENCE * 7200)


def test_only_its_owner_can_read_it(writer: RecordingWriter) -> None:
    """The directory and the file."""
    tap = writer.tap()
    start(tap)
    hear(tap, 0, 10)
    until_written(writer)
    (path,) = writer.directory.iterdir()
    assert stat.S_IMODE(writer.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_whole_at_every_moment(writer: RecordingWriter) -> None:
    """Half a second behind the call, for the standard library and for sox."""
    tap = writer.tap()
    start(tap)
    for number in range(30):
        hear(tap, number, number + 1)
        until_written(writer)
        for path in writer.directory.iterdir():
            caller, _ = voices(path)
            assert len(caller) == (number * 800) // 4000 * 4000
            assert path.stat().st_size == 44 + 4 * len(caller)
            if number % 7 == 0 and shutil.which("sox"):
                said = subprocess.run(["sox", path, "-n", "stat"], capture_output=True, text=True, check=True).stderr
                assert "WARN" not in said


def test_muting_takes_effect_in_its_place(writer: RecordingWriter) -> None:
    """Among the messages, in their order, for both voices."""
    tap = writer.tap()
    start(tap)
    hear(tap, 0, 10)
    tap.given(ns(1.0), MuteRecording(is_muted=True))
    say(tap, 1.0, 5)
    hear(tap, 10, 20)
    tap.given(ns(2.0), MuteRecording(is_muted=False))
    say(tap, 2.0, 5)
    hear(tap, 20, 30)
    tap.ended(ns(3.0), SESSION)
    writer.close()
    (path,) = writer.directory.iterdir()
    caller, ours = voices(path)
    assert caller == CALLER * 8000 + SILENCE * 8000 + CALLER * 8000
    assert ours == SILENCE * 16_000 + OURS * 800 + SILENCE * 7200


def test_a_clear_and_the_end_of_the_connection_cut_what_plays(writer: RecordingWriter) -> None:
    """The caller heard neither the rest of the one nor of the other."""
    tap = writer.tap()
    start(tap)
    hear(tap, 0, 10)
    say(tap, 1.0, 10)
    tap.message_out(ns(1.05), encode_outgoing_event(outgoing.ClearEvent("MZ1")))
    hear(tap, 10, 20)
    say(tap, 2.0, 10)
    tap.given(ns(2.1), PeerLost())
    tap.ended(ns(9.0), SESSION)
    writer.close()
    (path,) = writer.directory.iterdir()
    assert voices(path)[1] == SILENCE * 8000 + OURS * 400 + SILENCE * 7600 + OURS * 800


def test_what_is_not_of_the_stream_is_not_heard(writer: RecordingWriter) -> None:
    """Before it starts, of another one, malformed, after its stop, of a second start; signals and commands."""
    tap = writer.tap()
    hear(tap, 0, 5)
    say(tap, 0.1, 5)
    tap.given(0, MuteRecording(is_muted=True))
    tap.given(0, MuteRecording(is_muted=False))
    start(tap)
    start(tap, "MZ2")
    hear(tap, 0, 10)
    hear(tap, 5, 10, sid="MZ2")
    tap.message_in(ns(1.0), b'{"event":"media"')
    tap.message_in(ns(1.0), b'{"event":"dtmf","dtmf":{"digit":"4"}}')
    tap.message_out(ns(1.0), encode_outgoing_event(outgoing.MarkEvent("MZ1", outgoing.Mark("m1"))))
    tap.given(ns(1.0), Play(OURS * 160, 0))
    tap.given(ns(1.0), Tick())
    tap.message_in(ns(1.0), msgspec.json.encode(StopEvent(stream_sid="MZ1")))
    hear(tap, 10, 20)
    tap.ended(ns(2.0), SESSION)
    writer.close()
    (path,) = writer.directory.iterdir()
    assert voices(path) == (CALLER * 8000, SILENCE * 8000)


def test_audio_under_the_inner_of_two_ids_is_heard(writer: RecordingWriter) -> None:
    """As the session takes it, where the platform's `start` names two streams."""
    tap = writer.tap()
    tap.message_in(0, b'{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ2"}}')
    hear(tap, 0, 10, sid="MZ2")
    tap.ended(ns(1.0), SESSION)
    writer.close()
    (path,) = writer.directory.iterdir()
    assert voices(path)[0] == CALLER * 8000


def test_a_call_without_audio_leaves_no_file(writer: RecordingWriter) -> None:
    """A probe, or a call that was refused."""
    silent = writer.tap()
    silent.ended(ns(1), SESSION)
    tap = writer.tap()
    start(tap)
    tap.ended(ns(1), SESSION)
    writer.close()
    assert list(writer.directory.iterdir()) == []


def test_a_full_disk_ends_recordings_and_says_so_once(
    writer: RecordingWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten calls, old and new; what was written stays readable, and a file without audio does not stay."""
    caplog.set_level(logging.DEBUG)
    taps = [writer.tap() for _ in range(10)]
    for tap in taps[:5]:
        start(tap)
        hear(tap, 0, 11)
    until_written(writer)
    with disk_of(50_000):
        for tap in taps[:5]:
            hear(tap, 11, 60)
        until_written(writer)
    with disk_of(20):
        for tap in taps[5:]:
            start(tap)
            hear(tap, 0, 60)
        until_written(writer)
    for tap in taps:
        tap.ended(ns(6), SESSION)
    until_written(writer)
    assert [record.getMessage() for record in caplog.records] == [
        'recordings are cut short until one is written again reason="File too large"'
    ]
    files = list(writer.directory.iterdir())
    assert len(files) == 5
    assert {len(voices(path)[0]) for path in files} == {12_000}


def test_with_room_on_the_disk_recordings_go_on(writer: RecordingWriter, caplog: pytest.LogCaptureFixture) -> None:
    """The next call is recorded, and the next trouble is said again."""
    for _ in range(2):
        with disk_of(20):
            failing = writer.tap()
            start(failing)
            hear(failing, 0, 10)
            until_written(writer)
        tap = writer.tap()
        start(tap)
        hear(tap, 0, 10)
        tap.ended(ns(1), SESSION)
        until_written(writer)
    assert len(list(writer.directory.iterdir())) == 2
    assert len(caplog.records) == 2


def test_a_disk_that_does_not_keep_up_cuts_a_recording(
    writer: RecordingWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its messages do not pile up; the file ends where it was."""
    release = threading.Event()
    writer.put(recording._Recording(writer.directory), lambda now, shown: release.wait(10), 0)
    monkeypatch.setattr(recording, "MAX_WAITING", 5)
    tap = writer.tap()
    start(tap)
    hear(tap, 0, 100)
    assert writer._queue.qsize() <= 5
    release.set()
    monkeypatch.undo()
    tap.ended(ns(10), SESSION)
    until_written(writer)
    assert [record.getMessage().partition("reason=")[2] for record in caplog.records] == ['"the disk is too slow"']


def test_a_directory_that_cannot_be_is_the_operators_mistake(tmp_path: Path) -> None:
    """Said at the start, not at the first call."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"record-dir: .*file/recordings: Not a directory"):
        RecordingWriter(tmp_path / "file" / "recordings")
