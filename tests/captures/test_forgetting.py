"""Deleting all that is kept of one caller: what belongs to a number is found, whatever its spelling, and nothing else."""

import os
import time
import wave

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.forgetting import files_about, is_same_number
from smartflo_bridge.captures.recording import RecordingWriter
from smartflo_bridge.captures.retention import RECORDINGS, prune
from smartflo_bridge.captures.wav import WavFile, numbers_in
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings

CALLER, OTHER, OURS = "+919800000001", "919800000002", "918000000099"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("+91 98000 00001", "919800000001", True),
        ("9800000001", "919800000001", True),
        ("09800000001", "+919800000001", True),
        ("00919800000001", "9800000001", True),
        ("919800000001", "919800000002", False),
        ("800000001", "919800000001", False),
        ("1800", "1800", True),
        ("1800", "918001800", False),
        ("", "", False),
        ("anonymous", "anonymous", False),
        ("000", "0", False),
    ],
)
def test_spellings_of_a_number(one, other, is_same):
    """With the country's code and without, with blanks and zeros; a short one is only itself."""
    assert is_same_number(one, other) is is_same
    assert is_same_number(other, one) is is_same


def start(sid, caller, called, **more):
    """Return a `start`; `more` goes outside of it."""
    details = {"streamSid": sid, "callSid": "c1", "from": caller, "to": called}
    return msgspec.json.encode({"event": "start", "streamSid": sid, "start": details} | more)


def keep(writer, sid, caller, called=OURS):
    """Have a call of a second captured or recorded, and wait for the file."""
    tap = writer.tap()
    tap.message_in(0, b'{"event":"connected"}')
    tap.message_in(1, start(sid, caller, called))
    for number in range(10):
        media = {"event": "media", "streamSid": sid, "media": {"payload": "f" * 1064 + "fw==", "chunk": number + 1}}
        tap.message_in((number + 1) * 100_000_000, msgspec.json.encode(media))
    tap.ended(1_100_000_000, Session(SessionSettings()))


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def kept(tmp_path, request):
    """Return a folder with captures and recordings of four calls: two from and to a caller, two of others."""
    for writer in (
        CaptureWriter(tmp_path, SessionSettings(), compresses=request.param),
        RecordingWriter(tmp_path),
    ):
        keep(writer, "MZfrom", CALLER)
        keep(writer, "MZto", OURS, CALLER)
        keep(writer, "MZother", OTHER)
        keep(writer, "MZnone", None, None)
        writer.close()
    assert len(list(tmp_path.iterdir())) == 8
    return tmp_path


def test_all_of_a_caller_is_found(kept):
    """Captures and recordings of calls from and to the number, and what was drawn of them; nothing of others."""
    drawn = []
    for file in list(kept.iterdir()):
        if ".capture." in file.name:
            for suffix in (".html", ".svg"):
                page = kept / (file.name.partition(".")[0] + suffix)
                page.touch()
                drawn.append(page)
    (kept / "notes.txt").write_text(CALLER)
    (kept / "own.wav").write_bytes(b"no WAV file")
    (kept / "broken.capture.jsonl").write_bytes(b"{")
    (kept / "link.capture.jsonl").symlink_to(next(file for file in kept.iterdir() if "MZfrom" in file.name))
    found = list(files_about("9800000001", kept))
    assert sorted(found) == sorted(set(found))
    assert {file.name.split("-")[1] for file in found} == {"MZfrom", "MZto"}
    assert len(found) == 2 * 2 + 2 * 2
    assert {file for file in drawn if "MZfrom" in file.name or "MZto" in file.name} <= set(found)
    assert len(list(files_about(OURS, kept))) == 3 * 2 + 3 * 2
    assert list(files_about("9811111111", kept)) == []


def test_numbers_that_stand_outside_of_the_start(tmp_path):
    """Some senders put them there."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    tap = writer.tap()
    tap.message_in(0, b'{"event":"start","streamSid":"MZ1","from":"919800000001","start":{}}')
    tap.ended(1, Session(SessionSettings()))
    writer.close()
    assert len(list(files_about(CALLER, tmp_path))) == 1


# --- The note in a recording


numbers = st.lists(
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=130), max_size=2
)


@given(said=numbers, frames=st.integers(1, 400))
def test_a_recording_with_a_note_is_a_wav_file(tmp_path_factory, said, frames):
    """The standard library reads the same audio, whatever the numbers; the note gives them back."""
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    file = WavFile(path, said)
    pcm = os.urandom(4 * frames)
    file.append(pcm[: 4 * (frames // 2)])
    file.append(pcm[4 * (frames // 2) :])
    file.close()
    with wave.open(str(path)) as read:
        assert read.readframes(frames + 1) == pcm
    assert numbers_in(path) == [number[:128] for number in said if number]
    assert path.stat().st_mode & 0o777 == 0o600
    assert int.from_bytes(path.read_bytes()[4:8], "little") == path.stat().st_size - 8


@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(tmp_path_factory, data):
    """Not behind a WAV file's first bytes either."""
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    for head in (b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xffINFOICMT"):
        path.write_bytes(head + data)
        assert isinstance(numbers_in(path), list)


# --- Age


def test_old_recordings_are_deleted_and_nothing_else(tmp_path):
    """By the names that we give them: other people's audio stays, however old."""
    names = {
        "20260101T000000-MZ0a1-ab12.wav": True,
        "20260101T000000-1758.4-2-ab12.wav": True,
        "20260101T000000-MZ0a1-ab12.wav.bak": False,
        "greeting.wav": False,
        "20260101T000000-MZ0a1-ab12.capture.jsonl": False,
    }
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    young = tmp_path / "20260102T000000-MZ0a1-ab13.wav"
    young.touch()
    assert prune(tmp_path, RECORDINGS, 86400, time.time()) == 2
    assert {file.name for file in tmp_path.iterdir()} == {young.name} | {
        name for name, goes in names.items() if not goes
    }


def test_the_writer_deletes_old_recordings(tmp_path, caplog):
    """And says how many; what it has just written is not among them."""
    caplog.set_level("INFO")
    old = tmp_path / "20260101T000000-MZ0a1-ab12.wav"
    old.touch()
    os.utime(old, (1, 1))
    writer = RecordingWriter(tmp_path, keep_days=1)
    keep(writer, "MZnew", CALLER)
    ends = time.monotonic() + 10
    while "old recordings deleted files=1" not in caplog.text and time.monotonic() < ends:
        time.sleep(0.01)
    writer.close()
    assert [file.name.split("-")[1] for file in tmp_path.iterdir()] == ["MZnew"]
