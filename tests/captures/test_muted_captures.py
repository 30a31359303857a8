"""A capture of a call that was muted: no card number anywhere in it, and it still folds to the byte."""

import base64
import itertools

import msgspec
from click.testing import CliRunner

from calls.support import Dialled
from captures.support import VOICE, Captured, folded, media_message
from core.support import SID, message
from made_captures import loud
from smartflo_bridge.captures.anonymise import Anonymiser
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.fold import fold
from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.captures.happenings import happenings
from smartflo_bridge.captures.story import tell_story
from smartflo_bridge.cli.main import main
from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.core.commands import MuteRecording, Play
from smartflo_bridge.core.settings import SessionSettings
from virtual_clock import virtual

CARD = "4929"
SPOKEN = bytes(range(0x20, 0x60)) * 125
READ_BACK = bytes(range(0xA0, 0xE0)) * 125
ELSE = loud(1.0)


def holds(file_text: bytes, ulaw: bytes) -> bool:
    """Tell whether any 48 bytes of audio, which repeats itself after 64, stand somewhere in base64."""
    return any(base64.b64encode(ulaw[at : at + 48]) in file_text for at in range(64))


async def take_a_card(call) -> None:
    """Ask for a number, muted; read it back, and go on when it has only been queued."""
    await call.play(ELSE, encoding="ulaw")
    assert (await call.mark()).was_played
    call.mute_recording()
    assert await call.digits(4, timeout_seconds=10) == CARD
    await call.play(READ_BACK, encoding="ulaw")
    call.unmute_recording()
    await call.play(ELSE, encoding="ulaw")
    assert (await call.mark()).was_played


@virtual
async def test_a_card_number_is_nowhere_in_a_capture(tmp_path):
    """Spoken, keyed, read back: the handler has it, the wire has it, the file does not; what was not muted is there."""
    writer = CaptureWriter(tmp_path, SessionSettings())
    dialled = Dialled(take_a_card, taps=(writer.tap(),))
    await dialled.platform.talk(ELSE)
    await dialled.platform.talk(ELSE[:2400])
    for digit, at in zip(CARD, itertools.count(0, 2000), strict=False):
        await dialled.platform.talk(SPOKEN[at : at + 2000].ljust(2400, SILENCE))
        dialled.platform.press(digit)
    await dialled.platform.talk(ELSE * 4)
    await dialled.over()
    writer.close()
    (file,) = tmp_path.iterdir()
    text = file.read_bytes()
    assert READ_BACK in dialled.platform.heard(0, 20.0)
    assert not holds(text, SPOKEN)
    assert not holds(text, READ_BACK)
    assert f'"digit":"{CARD[0]}"'.encode() not in text
    assert text.count(b'"digit":"muted"') == 4
    assert holds(text, ELSE)
    result = folded(file)
    assert (result.difference, result.is_complete) == (None, True)
    assert result.messages > 30


def a_muted_call() -> Captured:
    """Return a call with a muted stretch from 1 to 2 s, in which both speak and a key is pressed."""
    call = Captured()
    call.start()
    for number in range(40):
        if number in (10, 20):
            call.give(MuteRecording(is_muted=number == 10))
            call.give(Play(VOICE * 2, 0))
        if number == 15:
            call.say(message("dtmf", streamSid=SID, dtmf={"digit": "4"}))
        call.run(0.1)
        call.say(media_message(VOICE))
    call.say(message("stop", streamSid=SID))
    call.end()
    return call


def test_the_picture_of_a_muted_call_says_so(tmp_path):
    """Two notes, silence between them, a key without its digit, and no rule broken by what is missing."""
    call = a_muted_call()
    story = tell_story(call.header, call.records)
    told = [one.text for one in happenings(story) if one.kind in ("note", "key")]
    assert "The handler muted the call: what follows was not captured" in told
    assert "The handler unmuted the call" in told
    assert "The caller pressed ?" in told
    assert set(story.caller.track.ulaw[8080:15_900]) == {0xFF}
    assert [(round(span.start, 1), round(span.end, 1)) for span in story.caller.speech] == [(0.0, 1.0), (2.0, 4.0)]
    assert not story.broken
    file = call.write(tmp_path / "x.capture.jsonl")
    assert CliRunner().invoke(main, ["report", str(file)]).exit_code == 0


def test_a_muted_capture_can_be_anonymised_and_still_folds(tmp_path):
    """With the audio kept or replaced: the muted key keeps its mark."""
    call = a_muted_call()
    file = call.write(tmp_path / "x.capture.jsonl")
    for replaces_audio in (False, True):
        header, records = read_capture(file)
        anonymiser, records = Anonymiser(header, bytes(16), replaces_audio=replaces_audio), list(records)
        anonymiser.note_keys(records)
        new = list(anonymiser.records(records))
        assert fold(anonymiser.header, new).difference is None
        assert any(b'"digit":"muted"' in (record.wire or b"") for record in new)


def test_a_leak_would_be_found():
    """A capture in which one muted message stands as it was sent does not fold."""
    call = a_muted_call()
    at = next(
        index
        for index, record in enumerate(call.records)
        if record.dir == "out" and 1_000_000_000 < record.t < 2_000_000_000
    )
    leaked = call.records[at].wire.replace(base64.b64encode(SILENCE * 160)[:40], base64.b64encode(VOICE)[:40], 1)
    call.records[at] = msgspec.structs.replace(call.records[at], message=msgspec.Raw(leaked))
    assert fold(call.header, call.records).difference is not None
