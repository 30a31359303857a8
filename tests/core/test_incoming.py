"""The platform's messages: every form in which a member has been seen, and every way in which one can be broken."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.support import CALL_SID, MISSING, OTHER_SID, SID, message, start_message
from core.test_audio import BASE64_DEFECTS
from smartflo_bridge.core import incoming
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import UnknownEvent, parse_incoming_event

PAYLOAD = base64.b64encode(bytes(range(256))).decode()
KNOWN = ["connected", "start", "media", "dtmf", "mark", "stop"]

GOOD_COUNTERS = [1, 0, 2**53, "1", "0", "", "9" * 32, None, MISSING]
BAD_COUNTERS = [-1, 2**53 + 1, 2**63, 2**64, 1.0, 1.5, True, [], {}, "9" * 33, 10**4299]

COUNTER_PLACES = {
    "sequenceNumber": lambda value: message("stop", streamSid=SID, sequenceNumber=value),
    "chunk": lambda value: _media(payload=PAYLOAD, chunk=value),
    "timestamp": lambda value: _media(payload=PAYLOAD, timestamp=value),
    "sampleRate": lambda value: start_message(mediaFormat=_without_missing(sampleRate=value)),
    "bitRate": lambda value: start_message(mediaFormat=_without_missing(bitRate=value)),
    "bitDepth": lambda value: start_message(mediaFormat=_without_missing(bitDepth=value)),
}
COUNTER_READERS = {
    "sequenceNumber": lambda event: event.sequence_number,
    "chunk": lambda event: event.media.chunk,
    "timestamp": lambda event: event.media.timestamp,
    "sampleRate": lambda event: event.details.media_format.sample_rate,
    "bitRate": lambda event: event.details.media_format.bit_rate,
    "bitDepth": lambda event: event.details.media_format.bit_depth,
}


def _without_missing(**members: object) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not MISSING}


def _media(**members: object) -> bytes:
    return message("media", streamSid=SID, media=_without_missing(**members))


def shown(value: object) -> str:
    """Name a parameter set: short, also where the value is not."""
    return (
        "missing" if value is MISSING else repr(value)[:20] if not isinstance(value, int) or value < 10**20 else "huge"
    )


# --- The examples of the protocol page


def test_the_start_of_the_protocol_page():
    """The documented start says each thing once."""
    event = parse_incoming_event(
        b'{"event":"start","sequenceNumber":"1","streamSid":"MZ0a1","start":{"accountSid":"AC77","streamSid":"MZ0a1",'
        b'"callSid":"1758000000.4242","from":"9198xxxxxx01","to":"9180xxxxxx99","direction":"inbound","mediaFormat":'
        b'{"encoding":"audio/x-mulaw","sampleRate":8000,"bitRate":64,"bitDepth":8},"customParameters":{}}}'
    )
    assert isinstance(event, incoming.StartEvent)
    assert (event.sid, event.call_sid, event.details.account_sid) == (SID, CALL_SID, "AC77")
    assert (event.from_number, event.to_number, event.direction) == ("9198xxxxxx01", "9180xxxxxx99", "inbound")
    assert (event.sequence_number, event.custom_parameters, event.sids_differ) == ("1", {}, False)
    assert event.details.media_format == incoming.MediaFormat("audio/x-mulaw", 8000, 64, 8)


def test_the_other_events_of_the_protocol_page():
    """Each documented event is decoded to its struct."""
    frames = {
        b'{"event":"connected"}': incoming.ConnectedEvent(),
        b'{"event":"media","sequenceNumber":"2","streamSid":"MZ0a1","media":{"chunk":"1","timestamp":"100","payload":"//8="}}': (
            incoming.MediaEvent(
                sequence_number="2",
                stream_sid=SID,
                media=incoming.Media(payload=b"\xff\xff", chunk="1", timestamp="100"),
            )
        ),
        b'{"event":"dtmf","sequenceNumber":"57","streamSid":"MZ0a1","dtmf":{"digit":"4"}}': (
            incoming.DTMFEvent(sequence_number="57", stream_sid=SID, dtmf=incoming.DTMF("4"))
        ),
        b'{"event":"mark","sequenceNumber":"58","streamSid":"MZ0a1","mark":{"name":"u3.e1"}}': (
            incoming.MarkEvent(sequence_number="58", stream_sid=SID, mark=incoming.Mark("u3.e1"))
        ),
        b'{"event":"stop","sequenceNumber":"900","streamSid":"MZ0a1","stop":{"accountSid":"AC77","callSid":'
        b'"1758000000.4242","reason":"caller ended the call"}}': (
            incoming.StopEvent(
                sequence_number="900",
                stream_sid=SID,
                stop=incoming.StopDetails(account_sid="AC77", call_sid=CALL_SID, reason="caller ended the call"),
            )
        ),
    }
    for text, event in frames.items():
        assert parse_incoming_event(text) == parse_incoming_event(text.decode()) == event


# --- Counters and formats


@pytest.mark.parametrize("value", GOOD_COUNTERS, ids=shown)
@pytest.mark.parametrize("place", COUNTER_PLACES)
def test_a_counter_is_a_number_a_string_null_or_absent(place: str, value: object):
    """Every counter and number of a format is taken in each form, and kept as it came."""
    event = parse_incoming_event(COUNTER_PLACES[place](value))
    assert COUNTER_READERS[place](event) == (None if value is MISSING else value)


@pytest.mark.parametrize("value", BAD_COUNTERS, ids=shown)
@pytest.mark.parametrize("place", COUNTER_PLACES)
def test_no_other_counter_is_taken(place: str, value: object):
    """Negative, huge, fractional, boolean and nested counters are malformed; thousands of digits never become an int."""
    with pytest.raises(ProtocolError, match=rf"malformed message.*{place}"):
        parse_incoming_event(COUNTER_PLACES[place](value))


@pytest.mark.parametrize("digits", [4_300, 5_000, 60_000])
def test_a_number_of_thousands_of_digits_is_malformed(digits: int):
    """Written out, in a counter, it is refused; in a member that nobody reads it does no harm."""
    with pytest.raises(ProtocolError):
        parse_incoming_event(b'{"event":"stop","sequenceNumber":' + b"9" * digits + b"}")
    assert parse_incoming_event(b'{"event":"connected","x":' + b"9" * digits + b"}") == incoming.ConnectedEvent()


@pytest.mark.parametrize("encoding", ["audio/x-mulaw", "audio/pcmu", None, MISSING])
@pytest.mark.parametrize("rate", [8000, "8000", None, MISSING])
def test_formats_that_we_speak(encoding: object, rate: object):
    """mu-law at 8000 Hz, as number or string, is what we speak; what is not said is taken for it."""
    event = parse_incoming_event(start_message(mediaFormat=_without_missing(encoding=encoding, sampleRate=rate)))
    assert isinstance(event, incoming.StartEvent)
    assert event.details.media_format is not None
    assert event.details.media_format.is_ulaw_8k


@pytest.mark.parametrize(
    ("encoding", "rate"), [("audio/x-l16", 8000), ("audio/x-mulaw", 16000), ("audio/x-mulaw", "16000")]
)
def test_formats_that_we_do_not_speak(encoding: str, rate: object):
    """Another encoding or rate is seen as such."""
    event = parse_incoming_event(start_message(mediaFormat={"encoding": encoding, "sampleRate": rate}))
    assert isinstance(event, incoming.StartEvent)
    assert event.details.media_format is not None
    assert not event.details.media_format.is_ulaw_8k


# --- start: where the ids and numbers are


@pytest.mark.parametrize("outside", [SID, "", None, MISSING], ids=shown)
@pytest.mark.parametrize("inside", [SID, OTHER_SID, "", None, MISSING], ids=shown)
def test_the_stream_sid_is_read_from_either_place(outside: object, inside: object):
    """The outer place wins, the inner one helps out, an empty one counts as none; that they differ is seen."""
    event = parse_incoming_event(start_message(outside, inside))
    assert isinstance(event, incoming.StartEvent)
    wanted = [place for place in (outside, inside) if place is not MISSING and place]
    assert event.sid == (wanted[0] if wanted else None)
    assert event.sids_differ is (wanted == [SID, OTHER_SID])


@pytest.mark.parametrize(
    "text", [b'{"event":"start"}', b'{"event":"start","start":null}', b'{"event":"start","start":{}}']
)
def test_an_empty_start_says_nothing(text: bytes):
    """A start without its inner object, or with an empty one, is read, and every property of it is empty."""
    event = parse_incoming_event(text)
    assert isinstance(event, incoming.StartEvent)
    assert [event.sid, event.call_sid, event.from_number, event.to_number, event.direction] == [None] * 5
    assert (event.custom_parameters, event.sids_differ) == ({}, False)


@pytest.mark.parametrize("inside", ["111", "", None, MISSING], ids=shown)
@pytest.mark.parametrize("outside", ["222", None, MISSING], ids=shown)
def test_the_numbers_are_read_from_either_place(inside: object, outside: object):
    """From and to are taken from inside `start`, else from beside it."""
    beside = {"from": outside, "to": outside}
    within = _without_missing(**{"from": inside, "to": inside})
    event = parse_incoming_event(start_message(outside=_without_missing(**beside), **within))
    assert isinstance(event, incoming.StartEvent)
    wanted = [place for place in (inside, outside) if place is not MISSING and place]
    assert event.from_number == event.to_number == (wanted[0] if wanted else None)


@pytest.mark.parametrize("direction", ["inbound", "outbound", None, MISSING], ids=shown)
def test_the_direction_may_be_missing(direction: object):
    """The direction is what the platform says, or None."""
    event = parse_incoming_event(start_message(direction=direction))
    assert isinstance(event, incoming.StartEvent)
    assert event.direction == (None if direction is MISSING else direction)


@pytest.mark.parametrize("length", [128, 129])
@pytest.mark.parametrize("member", ["streamSid", "accountSid", "callSid", "from", "to", "direction"])
def test_an_id_has_at_most_128_characters(member: str, length: int):
    """A longer id makes the message malformed, in whatever place; the error does not quote it."""
    text = message("start", start={member: "x" * length})
    if length <= 128:
        parse_incoming_event(text)
    else:
        with pytest.raises(ProtocolError, match="malformed message in start") as caught:
            parse_incoming_event(text)
        assert "xx" not in str(caught.value)


# --- The other events: what is required, and what is not


@pytest.mark.parametrize("stop", [MISSING, None, {}, {"reason": None}, {"reason": ""}, {"reason": "bye"}], ids=shown)
def test_a_stop_needs_nothing(stop: object):
    """The reason is free text, and may be absent with all around it."""
    event = parse_incoming_event(message("stop", stop=stop))
    assert isinstance(event, incoming.StopEvent)
    assert event.reason == (stop.get("reason") if isinstance(stop, dict) else None)


@pytest.mark.parametrize("digit", [*"0123456789*#ABCD"])
def test_a_dtmf_needs_only_its_digit(digit: str):
    """Every key is taken, with nothing else inside."""
    event = parse_incoming_event(message("dtmf", dtmf={"digit": digit}))
    assert isinstance(event, incoming.DTMFEvent)
    assert event.digit == digit


@pytest.mark.parametrize("size", [0, 1, 159, 160, 161, 319, 320, 799, 800, 801, 4_000, 8_000, 48_000])
def test_media_of_any_length(size: int):
    """Audio comes in any length, and lasts as long as it has bytes."""
    ulaw = bytes(number % 256 for number in range(size))
    event = parse_incoming_event(_media(payload=base64.b64encode(ulaw).decode()))
    assert isinstance(event, incoming.MediaEvent)
    assert (event.ulaw, len(event.pcm), event.seconds) == (ulaw, 2 * size, size / 8000)


@pytest.mark.parametrize("event", KNOWN)
def test_unknown_members_are_ignored(event: str):
    """Members of a later revision do no harm, outside or inside, and nor do Twilio's."""
    inner = {"payload": PAYLOAD, "digit": "1", "name": "m1", "track": "inbound", "later": [{}]}
    outer = {event: inner} if event != "connected" else {"protocol": "Call", "version": "1.0.0"}
    parsed = parse_incoming_event(message(event, streamSid=SID, later={"a": [None]}, **outer))
    assert type(parsed).__name__.lower() == f"{event}event"


def test_the_event_member_may_come_last():
    """The order of members means nothing."""
    assert parse_incoming_event(b'{"dtmf":{"digit":"1"},"event":"dtmf"}') == incoming.DTMFEvent(dtmf=incoming.DTMF("1"))


@pytest.mark.parametrize("name", ["transfer", "", "Media", "media ", "MARK", "x" * 128, "\u0000", "ä"])
def test_an_unknown_event_is_not_malformed(name: str):
    """Any other name is an event that we do not know, whatever else it carries."""
    assert parse_incoming_event(message(name, media={"payload": "!"}, sequenceNumber=[])) == UnknownEvent(name)


def test_a_str_of_any_characters_is_judged():
    """A str that is no text at all is malformed too, as bytes with the same fault are."""
    for text in ("\ud800", '{"event":"dtmf","dtmf":{"digit":"\ud800"}}'):
        with pytest.raises(ProtocolError):
            parse_incoming_event(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(ProtocolError):
            parse_incoming_event(text)


@pytest.mark.parametrize("text", BASE64_DEFECTS.values(), ids=BASE64_DEFECTS.keys())
def test_defective_base64_is_malformed(text: str):
    """Each defect of a payload makes the message malformed; none is dropped in silence."""
    if text.isascii():
        with pytest.raises(ProtocolError, match="malformed message in media"):
            parse_incoming_event(_media(payload=text))


# --- Malformed: bad JSON, not an object, a member missing or of the wrong type

SECRET = "s3cret"

BAD_JSON = {
    "nothing": b"",
    "spaces": b"  ",
    "cut in a string": b'{"event":"s3cr',
    "cut after a member": b'{"event":"media","media":{"payload":"s3cret="',
    "cut behind an unknown event": b'{"event":"s3cret","x":',
    "an event with two names": b'{"event":"s3cret","event":5}',
    "trailing text": b'{"event":"connected"}s3cret',
    "two documents": b'{"event":"connected"}{"event":"connected"}',
    "NUL behind": b'{"event":"connected"}\0',
    "byte order mark": b'\xef\xbb\xbf{"event":"connected"}',
    "UTF-16": '{"event":"connected"}'.encode("utf-16"),
    "NaN": b'{"event":"connected","s3cret":NaN}',
    "Infinity": b'{"event":"connected","x":Infinity}',
    "leading zero": b'{"event":"stop","sequenceNumber":01}',
    "plus sign": b'{"event":"stop","sequenceNumber":+1}',
    "hexadecimal": b'{"event":"stop","sequenceNumber":0x1}',
    "comment": b'{"event":"connected"/*s3cret*/}',
    "trailing comma": b'{"event":"connected",}',
    "single quotes": b"{'event':'s3cret'}",
    "raw control character": b'{"event":"s3cret\n"}',
    "bad escape": b'{"event":"\\s3cret"}',
    "lone surrogate, escaped": b'{"event":"dtmf","dtmf":{"digit":"\\ud800"}}',
    "bad UTF-8 in a used string": b'{"event":"dtmf","dtmf":{"digit":"s3cret\xff"}}',
    "bad UTF-8 in the event's name": b'{"event":"s3cret\xff"}',
    "overlong UTF-8": b'{"event":"dtmf","streamSid":"s3cret\xc0\xaf","dtmf":{"digit":"1"}}',
    "raw surrogate": b'{"event":"dtmf","dtmf":{"digit":"\xed\xa0\x80"}}',
    "bad UTF-8 in the parameters": b'{"event":"start","start":{"customParameters":{"a":"s3cret\xff"}}}',
    "nesting in an ignored member": b'{"event":"connected","s3cret":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nesting in the parameters": b'{"event":"start","start":{"customParameters":'
    + b"[" * 30_000
    + b"]" * 30_000
    + b"}}",
    "nesting without an end": b"[" * 500_000,
    "nesting of objects": b'{"event":' * 30_000,
    "a number out of range": b'{"event":"start","start":{"customParameters":{"a":1e400}}}',
}
NOT_AN_EVENT = [
    b"null", b"true", b"5", b"1.5", b'"s3cret"', b"[]", b'[{"event":"connected"}]', b"{}", b'{"Event":"connected"}',
    b'{"event":null}', b'{"event":5}', b'{"event":["s3cret"]}', b'{"event":{"s3cret":1}}', b'{"event":true}',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json_is_malformed(text: bytes):
    """What is not JSON, not UTF-8 where it is read, or nested without measure is malformed, and is not quoted."""
    with pytest.raises(ProtocolError, match="malformed message") as caught:
        parse_incoming_event(text)
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("text", NOT_AN_EVENT, ids=bytes.decode)
def test_what_is_no_event_is_malformed(text: bytes):
    """Anything but an object with the name of an event is malformed."""
    with pytest.raises(ProtocolError, match="malformed message") as caught:
        parse_incoming_event(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [MISSING, None, 5, 1.5, True, SECRET, [], [SECRET], {}], ids=shown)
@pytest.mark.parametrize("event", ["media", "dtmf", "mark"])
def test_the_inner_object_is_required(event: str, value: object):
    """Media, dtmf and mark without their inner object, or with something else in its place, are malformed."""
    with pytest.raises(ProtocolError, match=f"malformed message in {event}") as caught:
        parse_incoming_event(message(event, **{event: value}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [MISSING, None, 55, 1.5, True, [SECRET], {SECRET: SECRET}], ids=shown)
@pytest.mark.parametrize(("event", "member"), [("media", "payload"), ("dtmf", "digit"), ("mark", "name")])
def test_the_inner_member_is_required(event: str, member: str, value: object):
    """A payload, a digit and a name are strings, and cannot be left out."""
    with pytest.raises(ProtocolError, match=f"malformed message in {event}") as caught:
        parse_incoming_event(message(event, **{event: _without_missing(**{member: value})}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [5, 1.5, True, SECRET, [SECRET]], ids=shown)
@pytest.mark.parametrize("event", ["start", "stop"])
def test_an_inner_object_is_an_object(event: str, value: object):
    """Start and stop may leave their inner object out; something else in its place is malformed."""
    with pytest.raises(ProtocolError, match=f"malformed message in {event}") as caught:
        parse_incoming_event(message(event, streamSid=SID, **{event: value}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        message("dtmf", dtmf={"digit": ""}),
        message("dtmf", dtmf={"digit": SECRET * 2}),
        message("mark", mark={"name": SECRET * 50}),
        message("stop", stop={"reason": SECRET * 200}),
        message("media", streamSid=5, media={"payload": ""}),
    ],
)
def test_bounds_of_strings(text: bytes):
    """A digit has 1 to 8 characters, a name at most 256, a reason at most 1024, and an id is a string."""
    with pytest.raises(ProtocolError, match="malformed message in") as caught:
        parse_incoming_event(text)
    assert SECRET not in str(caught.value)


def test_a_digit_may_be_a_number():
    """A key press is not lost for a missing pair of quotes."""
    event = parse_incoming_event(message("dtmf", dtmf={"digit": 7}))
    assert isinstance(event, incoming.DTMFEvent)
    assert event.digit == "7"


def test_telephone_numbers_may_be_numbers():
    """A call is not lost for them either, in whichever place they stand."""
    text = message("start", streamSid="MZ1", start={"from": 919800000001}, to=918000000099)
    event = parse_incoming_event(text)
    assert isinstance(event, incoming.StartEvent)
    assert (event.from_number, event.to_number) == ("919800000001", "918000000099")


def test_an_endless_name_is_an_unknown_event():
    """An unknown event never ends a call, whatever it is called; its name is cut."""
    event = parse_incoming_event(b'{"event":"' + b"x" * 60_000 + b'"}')
    assert event == incoming.UnknownEvent("x" * incoming.MAX_NAME)


def test_what_nobody_reads_may_be_broken():
    """Bad UTF-8 in an ignored member or its name is passed over."""
    assert parse_incoming_event(b'{"event":"connected","\xff":"\xff"}') == incoming.ConnectedEvent()


@given(st.binary(max_size=80) | st.text(max_size=80))
def test_any_bytes_are_judged(text: bytes | str):
    """Whatever arrives, the parser returns an event or says whose fault it is."""
    with suppress(ProtocolError):
        parse_incoming_event(text)


json_values = st.recursive(
    st.none()
    | st.just(SECRET)
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.just(PAYLOAD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([SECRET, "payload", "digit", "name", "streamSid", "from", "customParameters"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    event=st.sampled_from(KNOWN) | json_values,
    members=st.dictionaries(st.sampled_from([*KNOWN, "streamSid", "sequenceNumber"]), json_values, max_size=4),
)
def test_any_members_are_judged(event: object, members: dict[str, Any]):
    """Whatever JSON stands in whatever member, the parser returns an event or says whose fault it is."""
    text = json.dumps({"event": event, **members})
    try:
        parsed = parse_incoming_event(text)
    except ProtocolError as error:
        assert SECRET not in str(error)  # noqa: PT017 - an event is just as good
        return
    if isinstance(parsed, incoming.StartEvent):
        assert all(isinstance(value, str) for value in parsed.custom_parameters.values())
