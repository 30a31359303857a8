"""Twilio's dialect by values: the messages are those of Twilio's documentation, with our call in them."""

import base64
import json
import re

import pytest

from calls.support import speech
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import BargeIn, Failed, HangUpAsked, Ignored, MarkAsked, Speech
from smartflo_bridge.agents.twilio import TwilioDialect, TwilioSettings, sid, signature

FACTS = CallFacts("1715252026.405915", "17580.42", "AC77", from_number="+911", custom_parameters={"order": "17"})
SID = r"[0-9a-f]{32}"


def dialect(facts: CallFacts = FACTS, key: str = "") -> TwilioDialect:
    """Return one stream."""
    return TwilioDialect(TwilioSettings(url="wss://bot.example/stream"), Opening(facts, key))


def test_it_opens_as_twilio_does():
    """`connected`, then `start`, with the members of the documentation and ids of Twilio's form."""
    connected, start = map(json.loads, dialect().opening())
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    details = start["start"]
    assert start == {"event": "start", "sequenceNumber": "1", "streamSid": details["streamSid"], "start": details}
    assert re.fullmatch("MZ" + SID, details["streamSid"])
    assert re.fullmatch("CA" + SID, details["callSid"])
    assert re.fullmatch("AC" + SID, details["accountSid"])
    assert details["tracks"] == ["inbound"]
    assert details["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert details["customParameters"] == {"from": "+911", "order": "17"}


def test_ids_are_kept_or_made_and_always_the_same():
    """The platform's own where it is like Twilio's; else one that only this name gives."""
    own = "MZ" + "0a" * 16
    assert sid("MZ", own) == own
    assert sid("CA", own) != own
    assert sid("MZ", "1.2") == sid("MZ", "1.2") != sid("MZ", "1.3")


def test_audio_is_sent_by_frames():
    """Whatever comes, in whatever pieces: 160 bytes a message, numbered, with the ms of its beginning."""
    audio, sent = speech(1.0), []
    made = dialect()
    made.opening()
    for start in range(0, len(audio), 333):
        sent += made.hear(audio[start : start + 333])
    media = [json.loads(message) for message in sent]
    assert b"".join(base64.b64decode(one["media"]["payload"]) for one in media) == audio
    assert [one["media"]["chunk"] for one in media] == [str(number) for number in range(1, 51)]
    assert [one["media"]["timestamp"] for one in media] == [str(20 * number) for number in range(50)]
    assert {one["media"]["track"] for one in media} == {"inbound"}
    assert [one["sequenceNumber"] for one in media] == [str(number) for number in range(2, 52)]


def test_keys_marks_and_the_end():
    """Each as Twilio says it; a mark comes back the same way, played or cleared."""
    made = dialect()
    (key,), (played,), (cleared,), (end,) = (
        made.press("#"),
        made.reach("a", was_played=True),
        made.reach("b", was_played=False),
        made.end(),
    )
    assert json.loads(key)["dtmf"] == {"track": "inbound_track", "digit": "#"}
    assert [json.loads(mark)["mark"] for mark in (played, cleared)] == [{"name": "a"}, {"name": "b"}]
    assert json.loads(end)["event"] == "stop"
    assert set(json.loads(end)["stop"]) == {"accountSid", "callSid"}


def test_what_a_bot_says():
    """`media`, `mark` and `clear`, with any other member; and nothing else."""
    made = dialect()
    payload = base64.b64encode(b"\x01\x02").decode()
    media = {"event": "media", "streamSid": "MZ1", "sequenceNumber": "5", "media": {"payload": payload, "track": "out"}}
    assert made.receive(json.dumps(media)) == [Speech(b"\x01\x02")]
    assert made.receive(json.dumps(media).encode()) == [Speech(b"\x01\x02")]
    assert made.receive('{"event":"mark","streamSid":"MZ1","mark":{"name":"x"}}') == [MarkAsked("x")]
    assert made.receive('{"event":"clear","streamSid":"MZ1"}') == [BargeIn()]
    assert made.receive('{"event":"stop","streamSid":"MZ1"}') == [Ignored("unknown")]


@pytest.mark.parametrize(
    "message",
    ["", "{}", "[]", b"\xff", "[" * 50_000, '{"event":5}', '{"event":"media"}', '{"event":"media","media":{}}',
     '{"event":"media","media":{"payload":"!!!!"}}', '{"event":"mark","mark":{"name":5}}'],
)  # fmt: skip
def test_anything_else_is_passed_over(message):
    """Whatever comes."""
    assert dialect().receive(message) == [Ignored("malformed")]


def test_a_bot_that_closes_has_ended_the_call():
    """Normally, or without a code; one that dies, or fails, may be tried again; one that does not like us may not."""
    made = dialect()
    assert made.closed(1000, "") == made.closed(1005, "") == HangUpAsked()
    assert made.closed(None, "") == Failed("connection lost", may_retry=True)
    assert made.closed(1001, "") == Failed("connection closed with 1001", may_retry=True)
    assert made.closed(1011, "oops") == Failed("connection closed with 1011", may_retry=True)
    assert made.closed(1008, "who?") == Failed("connection closed with 1008")


def test_a_bot_that_checks_signatures_is_satisfied():
    """The header is the one that Twilio's own validator expects for this URL and token, as its Python library (9.x) computed it."""
    assert signature("12345", "wss://example.com/stream") == "KG4JbhDlv15BMlxSTOWKt9btbgg="
    assert dialect(key="t0ken").endpoint(None).headers == {
        "X-Twilio-Signature": signature("t0ken", "wss://bot.example/stream")
    }
    assert dialect().endpoint(None).headers == {}
