"""The exact replay: a capture gives, message for message, what was said; what differs is found where it first differs."""

import time

import msgspec
import pytest
from hypothesis import given

from captures.calls_at_random import calls
from captures.support import VOICE, Captured, folded, media_message, minute_of_talk, write
from core.support import HANG_UP, message
from smartflo_bridge.captures.fold import CONTEXT, fold
from smartflo_bridge.captures.format import CaptureError, Record, cut_record, message_record, read_capture
from smartflo_bridge.core.commands import PlaceMark, Play
from smartflo_bridge.core.signals import Tick


def a_call() -> Captured:
    """Return a call of some five seconds that was hung up on by the caller."""
    call = Captured()
    call.say(message("connected"))
    call.start()
    call.give(Play(VOICE * 20, 0))
    call.give(PlaceMark(1, "end"))
    for number in range(40):
        call.say(media_message(VOICE, number + 3))
        call.run(0.1)
    call.say(message("stop"))
    call.end()
    return call


@given(calls())
def test_every_capture_folds_exactly(call):
    """Whatever happened in a call, and whether or not it has ended: all messages, and all that the end tells."""
    result = fold(call.header, call.records)
    assert result.difference is None
    assert result.messages == len(call.said)
    assert result.inputs == sum(record.dir in ("in", "do") for record in call.records)
    assert result.is_complete == call.session.is_over


@pytest.mark.parametrize("name", ["x.capture.jsonl", "x.capture.jsonl.gz"])
@given(call=calls())
def test_every_capture_folds_exactly_from_its_file(tmp_path_factory, call, name):
    """The same with the file in between, plain and compressed."""
    file = call.write(tmp_path_factory.mktemp("fold") / name)
    header, records = read_capture(file)
    assert header == call.header
    assert [record.wire for record in records if record.dir == "out"] == call.said
    assert folded(file).difference is None


def test_a_changed_message_is_found():
    """Where it stands, what it was, what it is now, and what had been given before."""
    call = a_call()
    at = [index for index, record in enumerate(call.records) if record.dir == "out"][7]
    changed = call.records[at].wire.replace(b'"chunk":8', b'"chunk":9')
    call.records[at] = message_record(call.records[at].t, "out", changed)
    difference = fold(call.header, call.records).difference
    assert difference.captured == changed
    assert difference.now == changed.replace(b'"chunk":9', b'"chunk":8')
    assert difference.line == at + 2, "the header is line 1"
    assert difference.at_ns == call.records[at].t
    before = [record for record in call.records[:at] if record.dir in ("in", "do")]
    assert list(difference.inputs) == before[-CONTEXT:]


def test_a_message_that_is_not_said_any_more_is_found():
    """The capture has one more than there is now."""
    call = a_call()
    extra = message_record(call.records[-2].t, "out", b'{"event":"clear","streamSid":"MZ0a1"}')
    call.records.insert(-1, extra)
    difference = fold(call.header, call.records).difference
    assert (difference.captured, difference.now) == (extra.wire, None)


def test_a_message_that_was_not_said_is_found():
    """There is one more now than the capture has; its time is that of the input which brought it about."""
    call = a_call()
    at = [index for index, record in enumerate(call.records) if record.dir == "out"][3]
    gone = call.records.pop(at)
    difference = fold(call.header, call.records).difference
    assert (difference.captured, difference.now) == (None, gone.wire)
    assert difference.at_ns == gone.t
    assert difference.line == at + 2


@pytest.mark.parametrize(
    ("member", "then", "now"),
    [
        ("termination", "hung_up", "completed"),
        ("code", 1011, 1000),
        ("reason", "because", ""),
    ],
)
def test_another_end_is_found(member, then, now):
    """How the call ended, and with which close code, is part of what was done."""
    call = a_call()
    call.records[-1] = msgspec.structs.replace(call.records[-1], **{member: then})
    difference = fold(call.header, call.records).difference
    assert difference.captured == msgspec.json.encode({member: then})
    assert difference.now == msgspec.json.encode({member: now})


def test_another_count_in_the_ledger_is_found():
    """The accounts are exact too; a count that the capture's software did not know is no difference."""
    call = a_call()
    ledger = dict(call.records[-1].ledger)
    del ledger["gaps"]
    call.records[-1] = msgspec.structs.replace(call.records[-1], ledger=ledger)
    assert fold(call.header, call.records).difference is None
    call.records[-1] = msgspec.structs.replace(call.records[-1], ledger=ledger | {"sent_bytes": 1})
    difference = fold(call.header, call.records).difference
    assert (difference.captured, difference.now) == (b'{"sent_bytes":1}', b'{"sent_bytes":%d}' % ledger["sent_bytes"])


def test_a_message_at_the_end_that_was_not_said_is_found():
    """What the last input brings about is missed when the end comes."""
    call = Captured()
    call.start()
    call.give(Play(VOICE, 0))
    call.give(HANG_UP)
    call.run(3)
    call.end()
    while call.records[-2].dir != "out":
        call.records.pop(-2)
    gone = call.records.pop(-2)
    difference = fold(call.header, call.records).difference
    assert (difference.captured, difference.now) == (None, gone.wire)


def test_a_cut_capture_is_identical_up_to_the_cut():
    """Inputs whose messages were cut off are no difference; nor is a line that says that it was cut."""
    call = a_call()
    for end in range(len(call.records)):
        result = fold(call.header, call.records[:end])
        assert result.difference is None
        assert not result.is_complete
    result = fold(call.header, [*call.records[:50], cut_record(call.records[50].t, "capture-max-megabytes")])
    assert (result.difference, result.is_complete) == (None, False)


def test_a_line_of_no_known_kind_cannot_be_folded():
    """It may have been an input: to pass over it would be to say that it changes nothing."""
    call = a_call()
    call.records.insert(1, Record(call.records[0].t, "new"))
    with pytest.raises(CaptureError, match="neither input nor output, but 'new'"):
        fold(call.header, call.records)


def test_other_settings_make_a_difference():
    """The header's settings are those of the fold: with others, the same inputs give something else."""
    call = a_call()
    settings = msgspec.structs.replace(call.header.settings, packet_seconds=0.04)
    header = msgspec.structs.replace(call.header, settings=settings)
    assert fold(header, call.records).difference is not None


def test_a_tick_is_not_made_up():
    """A tick that came late is late in the fold as well: the capture's, not the deadline, says when time was told."""
    call = Captured()
    call.start()
    call.give(Play(VOICE * 4, 0))
    call.now += 1.0
    call.give(Tick())
    call.run(1)
    assert call.session.ledger.sent_bytes == 3200
    assert fold(call.header, call.records).difference is None
    early = [record for record in call.records if record.dir == "out" and 0 < record.t < 1e9]
    assert early == []


def test_a_minute_is_folded_in_less_than_a_second(tmp_path):
    """60 s of audio both ways, at the platform's cadence, from a compressed file."""
    file = minute_of_talk().write(tmp_path / "x.capture.jsonl.gz")
    began = time.perf_counter()
    result = folded(file)
    seconds = time.perf_counter() - began
    assert (result.difference, round(result.seconds)) == (None, 60)
    assert result.messages > 590
    assert seconds < 1


def test_a_difference_is_found_after_reading_only_so_far(tmp_path):
    """A file that is damaged behind the difference is not read to its damage."""
    call = a_call()
    call.records.insert(3, message_record(call.records[2].t, "out", b"{}"))
    file = write(tmp_path / "x.capture.jsonl", call.header, call.records)
    with file.open("ab") as stream:
        stream.write(b"rubbish\n")
    assert folded(file).difference.captured == b"{}"
