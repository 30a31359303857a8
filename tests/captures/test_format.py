"""The format of a capture: what was on the wire comes back byte for byte, and a file that was cut is read up to the cut."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.captures.format import (
    FORMAT_VERSION,
    CaptureError,
    Header,
    Record,
    encode_line,
    message_record,
    read_capture,
)
from smartflo_bridge.core.commands import AwaitRoom, HangUp, Interrupt, PlaceMark, Play
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Drained, HandlerDone, Malformed, Opened, PeerLost, Refused, Tick

HEADER = Header(FORMAT_VERSION, "0.1.0", "2026-11-24T06:00:00Z", SessionSettings(lead_seconds=0.4))

MESSAGES = [
    b'{"event":"connected"}',
    b'{ "event" : "connected" , "x": [1, 2.50, 1e3, null] }',
    b' {"event":"connected"}',
    b'{"event":"connected"} ',
    b'\t{"event":"connected"}\t ',
    b'{"event":"connected"}\n',
    b'{\n  "event": "connected"\n}',
    b'{"event":"connected"}\r\n',
    b'{"a":"\\u0000\\ud83d\\ude00\\/"}',
    '{"a":"\u0928\u092e\u0938\u094d\u0924\u0947 \u2028\u0085\x7f"}'.encode(),
    b'{"a":1,"a":2}',
    b'{"a":' + b"7" * 400 + b"}",
    b'{"a":' + b"7" * 5000 + b"}",
    b'{"a":1e999}',
    b'{"a":NaN}',
    b'{"a":"\\ud800"}',
    b'{"a":"\xff"}',
    b"\xff\xfe\x00",
    b"",
    b" ",
    b"null",
    b"[1]",
    b'"text"',
    b"{",
    b"{}",
    b'{"a":1}{"b":2}',
    b'{"a":1}\x00',
    b"\xef\xbb\xbf{}",
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    b"\n\n\n",
]


def written(tmp_path, *records):
    """Write a capture; return its file."""
    file = tmp_path / "x.capture.jsonl"
    file.write_bytes(b"".join(encode_line(value) for value in (HEADER, *records)))
    return file


def read_back(tmp_path, *records):
    """Return records as they are read again."""
    _, again = read_capture(written(tmp_path, *records))
    return list(again)


@pytest.mark.parametrize("text", MESSAGES, ids=lambda text: repr(text[:30]))
def test_a_message_comes_back_byte_for_byte(tmp_path, text):
    """Whatever it was, JSON or not, on one line or several, it takes one line, which is JSON, and is what it was."""
    line = encode_line(message_record(5, "in", text))
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    (record,) = read_back(tmp_path, message_record(5, "in", text))
    assert record.wire == text
    assert (record.t, record.dir) == (5, "in")


@pytest.mark.parametrize("text", MESSAGES, ids=lambda text: repr(text[:30]))
def test_a_line_can_be_read_by_others(text):
    """Unless the message has numbers or a nesting that they cannot read, and then only because it has them."""
    line = encode_line(message_record(5, "out", text))
    try:
        assert json.loads(line)["dir"] == "out"
    except (RecursionError, ValueError):
        assert len(text) > 5000


def test_an_ordinary_message_stands_as_json():
    """So that jq can look into it."""
    line = encode_line(message_record(5, "in", b'{"event":"dtmf","dtmf":{"digit":"4"}}'))
    assert line == b'{"t":5,"dir":"in","message":{"event":"dtmf","dtmf":{"digit":"4"}}}\n'


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_come_back(text):
    """There is nothing that a peer could send which a capture does not hold exactly."""
    line = encode_line(message_record(1, "in", text))
    assert line.count(b"\n") == 1
    assert _decoded(line).wire == text


@given(st.text(" \t{}[]:,\"'\\a1\n\r", max_size=24).map(str.encode))
def test_anything_like_json_comes_back(text):
    """The same for what nearly is a message, or is one with blanks around it."""
    assert _decoded(encode_line(message_record(1, "in", text))).wire == text


@pytest.mark.parametrize(
    "given_to_session",
    [
        Play(bytes(range(256)), 3),
        PlaceMark(7, "name"),
        PlaceMark(8),
        AwaitRoom(9),
        Interrupt(10),
        HangUp(),
        Opened(),
        Tick(),
        Malformed("why"),
        PeerLost(),
        PeerLost(1000, "bye"),
        HandlerDone(failed=True),
        Refused("why"),
        Drained(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_commands_and_signals_come_back(tmp_path, given_to_session):
    """Each is what it was, so that a session can be given it again."""
    is_command = isinstance(given_to_session, Play | PlaceMark | AwaitRoom | Interrupt | HangUp)
    record = Record(1, "do", command=given_to_session) if is_command else Record(1, "do", signal=given_to_session)
    (again,) = read_back(tmp_path, record)
    assert (again.command if is_command else again.signal) == given_to_session
    assert (again.signal if is_command else again.command) is None
    assert again.wire is None


def test_the_header_comes_back(tmp_path):
    """With the settings that the session had, the defaults among them."""
    header, records = read_capture(written(tmp_path))
    assert header == HEADER
    assert list(records) == []
    first = json.loads(written(tmp_path).read_bytes().split(b"\n")[0])
    assert set(first["settings"]) == set(SessionSettings.__struct_fields__)


def test_a_cut_file_is_read_up_to_the_cut(tmp_path):
    """Wherever a killed process or a full disk left off: the whole lines before are there, and nothing is raised."""
    file = written(tmp_path, *(message_record(number, "in", b'{"event":"connected"}') for number in range(3)))
    whole = file.read_bytes()
    line_ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(line_ends[0], len(whole)):
        file.write_bytes(whole[:cut])
        _, records = read_capture(file)
        complete = sum(end <= cut for end in line_ends[1:])
        assert [record.t for record in records] == list(range(complete)), cut


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a capture: its first line is no header"),
        (b"\n", "not a capture: its first line is no header"),
        (b"rubbish", "not a capture: its first line is no header"),
        (b'{"t":1,"dir":"in"}\n', "not a capture: its first line is no header"),
        (b"\xff\xff\n", "not a capture: its first line is no header"),
        (encode_line(HEADER).replace(b'"capture":1', b'"capture":2'), "a capture of format 2"),
    ],
)
def test_what_is_no_capture_is_said_to_be_none(tmp_path, content, sentence):
    """In one sentence with the file's name."""
    file = tmp_path / "x.capture.jsonl"
    file.write_bytes(content)
    with pytest.raises(CaptureError) as error:
        read_capture(file)
    assert str(error.value).startswith(f"{file}: {sentence}")


def test_a_file_that_is_not_there_or_none(tmp_path):
    """The operating system's reason is in the sentence."""
    with pytest.raises(CaptureError, match="No such file"):
        read_capture(tmp_path / "no.capture.jsonl")
    with pytest.raises(CaptureError, match="Is a directory"):
        read_capture(tmp_path)


def _decoded(line):
    return msgspec.json.decode(line, type=Record)
