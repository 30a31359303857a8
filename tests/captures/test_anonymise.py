"""Anonymised captures: nobody is in them any more, everything is where it was, and they fold as before."""

import audioop
import base64
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.calls_at_random import CALL_SID, NAME, NUMBER, calls
from captures.support import QUIET, VOICE, Captured, form, media_message
from core.support import HANG_UP, OTHER_SID, SID, message, start_message
from smartflo_bridge.captures.anonymise import Anonymiser
from smartflo_bridge.captures.fold import fold, input_in
from smartflo_bridge.captures.format import encode_line, message_record
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.commands import PlaceMark, Play
from smartflo_bridge.core.incoming import DTMFEvent, StartEvent, parse_incoming_event
from smartflo_bridge.core.signals import PeerLost

KEY = b"not so secret, this one"
SHORT_AUDIO = re.compile(rb'"(?:payload|ulaw)":"[^"]*"')


def anonymised(call, key=KEY, *, replaces_audio=False):
    """Return the header and the records of an anonymised capture."""
    anonymiser = Anonymiser(call.header, key, replaces_audio=replaces_audio)
    anonymiser.note_keys(call.records)
    return anonymiser.header, list(anonymiser.records(call.records))


def written(header, records):
    """Return a capture's file, without its audio."""
    return b"".join(SHORT_AUDIO.sub(b"", encode_line(value)) for value in (header, *records))


def one_message(text: bytes, more=()) -> bytes:
    """Anonymise a message of the platform behind others; return what it became."""
    call = Captured()
    for before in more:
        call.say(before)
    call.say(text)
    _, records = anonymised(call)
    return [record.wire for record in records if record.dir == "in"][-1]


def start_of(**details) -> StartEvent:
    """Return an anonymised `start`."""
    event = parse_incoming_event(one_message(start_message(**details)))
    assert isinstance(event, StartEvent)
    return event


@pytest.mark.parametrize("replaces_audio", [False, True])
@given(call=calls())
def test_every_anonymised_capture_folds_as_before(call, replaces_audio):
    """Ids, numbers, names of marks and audio decide nothing, so the session says the same, in other words."""
    header, records = anonymised(call, replaces_audio=replaces_audio)
    before, after = fold(call.header, call.records), fold(header, records)
    assert after.difference is None
    assert (after.inputs, after.messages, after.is_complete) == (before.inputs, before.messages, before.is_complete)
    assert [(record.t, record.dir) for record in records] == [(record.t, record.dir) for record in call.records]


@given(calls())
def test_nobody_is_left_in_it(call):
    """No number, id or name that was in a message, a reason or a mark, in whatever place and form."""
    text = written(*anonymised(call)).decode(errors="replace")
    for secret in (NUMBER, NUMBER[2:], "8012345678", "80-1234-5678", NAME, CALL_SID, SID, OTHER_SID):
        assert secret not in text


def test_a_start_keeps_its_form():
    """Length and class of each character, the kind of an id, and what has nothing to do with anybody."""
    sid = "MZ010a10d2f33134d725ba064404849561"
    details = {
        "callSid": CALL_SID,
        "accountSid": "AC03bf89e0a2c64f1f",
        "from": NUMBER,
        "to": "+91 80-1234-5678",
        "direction": "inbound",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
    }
    event = start_of(sid=sid, inner_sid=sid, **details)
    assert re.fullmatch(r"MZ[0-9a-f]{32}", event.sid)
    assert event.sid == event.details.stream_sid != sid
    assert re.fullmatch(r"AC[0-9a-f]{16}", event.details.account_sid)
    for new, old in ((event.call_sid, CALL_SID), (event.from_number, NUMBER), (event.to_number, details["to"])):
        assert form(new) == form(old)
        assert new != old
    assert event.direction == "inbound"
    assert event.details.media_format.is_ulaw_8k
    assert event.details.media_format.bit_rate == 64


def test_the_same_gets_the_same():
    """One number in its several forms, a stream in each message, an id inside a text: replaced alike, wherever it stands."""
    call = Captured()
    parameters = {"mobile": "09812345678", "note": f"call {CALL_SID} back on +91 98123 45678", "id": 9812345678}
    call.start(**{"from": NUMBER, "callSid": CALL_SID, "customParameters": parameters})
    call.give(Play(VOICE, 0))
    call.run(0.5)
    call.say(message("stop", streamSid=SID, stop={"callSid": CALL_SID, "reason": f"{NUMBER} hung up"}))
    call.end()
    _, records = anonymised(call)
    start = parse_incoming_event(records[1].wire)
    national = start.from_number[2:]
    new = start.custom_parameters
    assert new["mobile"][1:] == national
    assert new["note"].split(" ")[1] == start.call_sid
    assert re.sub(r"\D", "", new["note"].split("+")[1]) == start.from_number
    assert new["id"][1:] == national[1:], "a JSON number does not begin with 0"
    assert {json.loads(record.wire)["streamSid"] for record in records if record.dir == "out"} == {start.sid}
    stop = parse_incoming_event(next(record.wire for record in records if b'"stop"' in (record.wire or b"")))
    assert (stop.stream_sid, stop.stop.call_sid) == (start.sid, start.call_sid)
    assert stop.reason == f"{start.from_number} hung up"


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"name": NAME, "age": 42, "deep": {"x": [NAME, NUMBER]}, "yes": True, "none": None}, {"name", "age", "deep"}),
        (json.dumps({"name": NAME, "age": 42}), {"name", "age"}),
        ({"custom_identifier": json.dumps({"name": NAME})}, {"custom_identifier", "name"}),
        ({"custom_identifier": f"name:{NAME}"}, {"custom_identifier", "name"}),
        (NAME, {"custom_identifier"}),
        ({f"for {NUMBER}": "x"}, set()),
        ({"name": "रविंद्र", "number": "९८१२३४५६७८"}, {"name", "number"}),
    ],
)
def test_custom_parameters_keep_their_names_only(parameters, names):
    """In each of the platform's forms. What they hold is replaced, but for what is neither letter nor digit."""
    before = parse_incoming_event(start_message(customParameters=parameters)).custom_parameters
    after = start_of(customParameters=parameters).custom_parameters
    assert names <= set(after)
    assert len(before) == len(after)
    said = json.dumps(after, ensure_ascii=False)
    for secret in (NAME, NUMBER, "रविंद्र", "९८१२३४५६७८"):
        assert secret not in said
    assert after.get("age", "") != "42"
    assert after.get("yes") == before.get("yes")
    assert after.get("none") == before.get("none")


def test_two_that_differ_stay_two():
    """Otherwise a foreign stream would become the call's own, and two marks one."""
    streams = [f"MZ{number}" for number in range(10, 40)]
    call = Captured()
    call.start(sid=streams[0])
    for sid in streams:
        call.say(message("dtmf", streamSid=sid, dtmf={"digit": "1"}))
    _, records = anonymised(call)
    assert len({parse_incoming_event(record.wire).stream_sid for record in records if record.dir == "in"}) == 30
    assert fold(call.header, records).difference is None


def keys_of(*pressed):
    """Anonymise keys that are pressed so many seconds after each other; return what they became."""
    call = Captured()
    call.start()
    for seconds, digit in pressed:
        call.run(seconds)
        call.say(message("dtmf", streamSid=SID, dtmf={"digit": digit}))
    _, records = anonymised(call)
    events = [input_in(record) for record in records if record.dir == "in"]
    return [event.digit for event in events if isinstance(event, DTMFEvent)]


def test_keys_are_replaced_by_keys():
    """A menu's key by another one, the same each time; `*` and `#` stay."""
    new = keys_of((1, "1"), (9, "2"), (9, "1"), (9, "*"), (9, "#"), (9, 7))
    assert new[0] == new[2] != "1"
    assert new[1] not in ("2", new[0])
    assert new[3:5] == ["*", "#"]
    assert re.fullmatch(r"\d", new[5])


def test_an_entry_is_replaced_as_a_whole():
    """The digits of a card's number do not give away the menu's keys, nor each other; the same entry is the same again."""
    entry = [(9, "4"), *((0.5, digit) for digit in "7114711471147"), (0.5, "#")]
    new = keys_of((1, "4"), *entry, *entry)
    assert new[1:16] == new[16:]
    assert new[15] == "#"
    assert "".join(new[1:15]) != "47114711471147"
    assert new[1:5] != new[5:9], "what was the same four digits three times is not so any more"


def test_marks_keep_their_names_but_for_numbers():
    """They are the handler's, and what the session makes of a name that is taken stays what it would make of it."""
    call = Captured()
    call.start(callSid=CALL_SID)
    for ticket, name in enumerate(["menu", f"order {NUMBER}", f"order {NUMBER}", f"{CALL_SID} x", None]):
        call.give(PlaceMark(ticket, name))
        call.run(0.01)
    header, records = anonymised(call)
    said = [json.loads(record.wire)["mark"]["name"] for record in records if record.dir == "out"]
    assert said[0] == "menu"
    assert form(said[1]) == form(f"order {NUMBER}") != f"order {NUMBER}"
    assert said[2] == f"{said[1]}.1"
    assert said[3].endswith(" x")
    assert not said[3].startswith(CALL_SID)
    assert said[4].startswith("m")
    assert fold(header, records).difference is None


def test_what_the_platform_says_at_the_end_is_looked_through():
    """A close's reason is free text; the end of the capture quotes it."""
    call = Captured()
    call.start(callSid=CALL_SID)
    call.give(PeerLost(1011, f"{NUMBER} of {CALL_SID} gone"))
    call.end()
    header, records = anonymised(call)
    assert records[-2].signal.reason == records[-1].reason
    assert re.fullmatch(r"\d{12} of \d{10}\.\d{4} gone", records[-1].reason)
    assert NUMBER not in records[-1].reason
    assert fold(header, records).difference is None


@pytest.mark.parametrize(
    "text",
    [
        b'{"event":"start","from":"' + NUMBER.encode(),
        b'{"event":"start","start":{"name":"' + NAME.encode() + b" and " + NAME.encode(),
        b'{"event":"media","media":{"payload":"' + NAME.encode() + b'!"}}',
        b'{"event":"dtmf","dtmf":{"digit":"' + NUMBER.encode() + b'"}}',
        b'{"event":"mark","mark":{"name":' + NUMBER.encode() + b"}}",
        b"Dear " + NAME.encode() + b", " + NUMBER.encode(),
        b"\xff\xfe" + NAME.encode(),
        b'{"event":"connected","who":"' + NAME.encode() + b'\\ud800"}',
        b'{"event":"start","streamSid":"\xff' + NAME.encode() + b'"}',
        b'"' + NAME.encode() + b"\\",
        b'{"event":"start","from":' + b"9" * 5000 + b"}",
        b'{"a":' * 3000 + NAME.encode(),
    ],
)
def test_a_malformed_message_stays_malformed_and_says_nothing(text):
    """It counts towards the budget of malformed messages, so it must not become a good one."""
    new = one_message(text)
    assert type(input_in(message_record(0, "in", new))) is type(input_in(message_record(0, "in", text)))
    assert NAME.encode() not in new
    assert NUMBER.encode() not in new
    assert len(new) == len(text)


def test_an_odd_message_stays_as_odd():
    """Spacing, order, doubled members, escapes of what is kept: as they were."""
    odd = (
        b'{ "event" :"med\\u0069a",\t"media":{"chunk":"1","chunk":2 ,"payload":"\\/\\/8="},"sequenceNumber": 1234567 }'
    )
    assert one_message(odd) == odd


@given(st.binary(max_size=80) | st.text('{}[]":,\\u0d8e9 eventfrom\n', max_size=60).map(str.encode))
def test_any_message_is_anonymised(text):
    """Nothing that a peer sends stops it, or is taken for something else."""
    new = one_message(text)
    assert type(input_in(message_record(0, "in", new))) is type(input_in(message_record(0, "in", text)))


def test_audio_stays_unless_it_is_to_go():
    """Without the option, to the byte."""
    call = Captured()
    call.start()
    call.say(media_message(VOICE))
    call.give(Play(VOICE, 0))
    _, records = anonymised(call)
    assert parse_incoming_event(records[2].wire).ulaw == VOICE
    assert [record.command.ulaw for record in records if record.command] == [VOICE]


def test_noise_takes_the_place_of_voices():
    """In both directions, as loud in every 20 ms, as long, silent where there was silence; and nothing of the voice."""
    call = Captured()
    call.start()
    quieter = audioop.lin2ulaw(audioop.mul(ulaw_to_pcm(VOICE), 2, 0.1), 2)
    caller = VOICE + QUIET + quieter + VOICE[:37]
    call.say(media_message(caller))
    call.give(Play(VOICE * 3 + QUIET + VOICE[:50], 0))
    call.give(PlaceMark(1))
    call.run(1)
    header, records = anonymised(call, replaces_audio=True)
    new = parse_incoming_event(records[2].wire).ulaw
    assert len(new) == len(caller)
    for at in range(0, len(caller), 160):
        before, after = (audioop.rms(ulaw_to_pcm(ulaw[at : at + 160]), 2) for ulaw in (caller, new))
        assert after == pytest.approx(before, rel=0.25, abs=1)
    payloads = [json.loads(record.wire)["media"]["payload"] for record in records if b'"media"' in (record.wire or b"")]
    sent = b"".join(map(base64.b64decode, payloads[1:]))
    assert sent == next(record.command.ulaw for record in records if record.command) + b"\xff" * 110
    assert VOICE[:20] not in new + sent
    assert fold(header, records).difference is None


def test_a_difference_is_still_one():
    """An anonymised capture shows the fault that the first one shows, at the same place, noise or not."""
    call = Captured()
    call.start()
    call.give(Play(VOICE * 5, 0))
    call.give(HANG_UP)
    call.run(3)
    call.end()
    at = [index for index, record in enumerate(call.records) if record.dir == "out"][2]
    wrong = call.records[at].wire.replace(b'"chunk":3', b'"chunk":4')
    call.records[at] = message_record(call.records[at].t, "out", wrong)
    for replaces_audio in (False, True):
        difference = fold(*anonymised(call, replaces_audio=replaces_audio)).difference
        assert (difference.line, b'"chunk":4' in difference.captured) == (at + 2, True)
        assert b'"chunk":3' in difference.now
        assert SID.encode() not in difference.captured + difference.now


def test_a_key_decides():
    """With the same key the same pseudonyms, with another one others: whoever has not the key cannot try numbers out."""
    call = Captured()
    call.start(**{"from": NUMBER})
    first, again, other = (written(*anonymised(call, key)) for key in (KEY, KEY, b"another key"))
    assert first == again != other


def test_the_header_says_so():
    """And keeps the day of the call, not its time: the time and a telephone bill make a person."""
    header, _ = anonymised(Captured())
    assert header == msgspec.structs.replace(Captured().header, began="2026-11-24T00:00:00Z", anonymised=True)


def test_turns_are_those_of_the_noise():
    """The ledger has each turn, found in the audio: where noise takes its place, what is found there stands in the end."""
    call = Captured()
    call.start()
    for number, piece in enumerate([QUIET] * 10 + [VOICE] * 10 + [QUIET] * 20):
        call.run(0.1)
        call.say(media_message(piece))
        if number == 28:
            call.give(Play(VOICE * 5, 0))
    call.say(message("stop", streamSid=SID))
    call.end()
    assert call.records[-1].ledger["turn_count"] == 1
    header, records = anonymised(call, replaces_audio=True)
    assert fold(header, records).difference is None
    assert records[-1].ledger["turn_count"] == 1
    assert records[-1].ledger["turns"][0]["fell_silent_at"] == pytest.approx(2.0, abs=0.05)
