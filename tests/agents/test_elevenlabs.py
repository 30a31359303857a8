"""ElevenLabs' dialect: by values, and in a call with a played service, all of it checked with the vendor's own package."""

import asyncio
import base64
import json
import random

import pytest

from agents.fake_elevenlabs import FakeElevenLabs, VendorsOwn, check_client, server_message
from agents.played_calls import dial
from agents.support import FACTS
from calls.support import speech, until
from smartflo_bridge.agents.dialect import Endpoint, Opening
from smartflo_bridge.agents.elevenlabs import FORMATS, ElevenLabsDialect
from smartflo_bridge.agents.elevenlabs_session import ElevenLabsSettings
from smartflo_bridge.agents.events import (
    BargeIn,
    Failed,
    HangUpAsked,
    Ignored,
    Ready,
    Speech,
    ToolCall,
    Transcript,
)
from smartflo_bridge.calls.rates import SameRate
from smartflo_bridge.core.errors import HandlerError
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

VOICE = prompt("menu")
SIGNED = "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=a%201&conversation_signature=s1"
SAID = (Transcript(is_caller=True, text="Hi"), Transcript(is_caller=False, text="Yes?"))


def dialect(opening: Opening | None = None, **keys: str) -> ElevenLabsDialect:
    """Return a conversation."""
    return ElevenLabsDialect(ElevenLabsSettings(agent_id="a 1", **keys), opening or Opening(FACTS))


def metadata(hears: str = "ulaw_8000", speaks: str = "ulaw_8000") -> str:
    """Return what the service says first."""
    formats = {"user_input_audio_format": hears, "agent_output_audio_format": speaks, "conversation_id": "c"}
    return server_message("conversation_initiation_metadata", conversation_initiation_metadata_event=formats)


def audio(number: int, data: bytes = b"\xff\x01") -> str:
    """Return a piece of speech."""
    piece = {"audio_base_64": base64.b64encode(data).decode(), "event_id": number}
    return server_message("audio", audio_event=piece)


def interruption(number: int) -> str:
    """Return that the caller speaks."""
    return server_message("interruption", interruption_event={"event_id": number})


# --- By values


def test_a_public_agent_is_dialled_at_once():
    """By its id; nothing is asked beforehand."""
    assert dialect().request() is None
    assert dialect().endpoint(None) == Endpoint("wss://api.elevenlabs.io/v1/convai/conversation?agent_id=a%201")


def test_a_private_agent_is_asked_for_over_http():
    """With the key in a header, at the host that is configured; the address that comes back is dialled without it."""
    made = dialect(Opening(FACTS, "key-1"), url="wss://api.in.residency.elevenlabs.io/v1/convai/conversation")
    request = made.request()
    assert request.url == (
        "https://api.in.residency.elevenlabs.io/v1/convai/conversation/get-signed-url?agent_id=a%201"
    )
    assert (request.headers, request.body) == ({"xi-api-key": "key-1"}, None)
    assert made.endpoint(json.dumps({"signed_url": SIGNED}).encode()) == Endpoint(SIGNED)


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "{}", '{"signed_url":5}', '{"signed_url":"wss://elevenlabs.io.example.org/"}',
     '{"signed_url":"ws://api.elevenlabs.io/"}', '{"signed_url":"wss://[::1"}', '{"signed_url":"wss://10.0.0.1/"}',
     '{"signed_url":"wss://api.elevenlabs.io/\\r\\nX: y"}'],
)  # fmt: skip
def test_no_other_address_is_dialled(answer):
    """Whoever answers is not to choose where the call goes."""
    failed = dialect(Opening(FACTS, "key-1")).endpoint(answer.encode())
    assert failed == Failed("it answered without an address of its own to dial")


@pytest.mark.parametrize(
    ("keys", "override"),
    [
        ({}, {}),
        ({"greeting": "Hello!", "language": "hi"}, {"agent": {"first_message": "Hello!", "language": "hi"}}),
        ({"voice": "v1"}, {"tts": {"voice_id": "v1"}}),
    ],
)
def test_only_what_is_configured_is_overridden(keys, override):
    """The service refuses an override that the agent does not allow. What it may know of the call are variables."""
    (message,) = dialect(**keys).opening()
    told = check_client(message)
    assert told["conversation_config_override"] == override
    assert told["dynamic_variables"] == {"from_number": "+911", "order": "17"}


def test_instructions_have_the_facts_in_them():
    """They take the place of the agent's prompt, which would have had variables for them."""
    (message,) = dialect(instructions="Be brief.").opening()
    prompt_told = check_client(message)["conversation_config_override"]["agent"]["prompt"]["prompt"]
    assert prompt_told.startswith("Be brief.")
    assert '{"from":"+911","order":"17"}' in prompt_told


@pytest.mark.parametrize(("name", "expected"), list(FORMATS.items()))
def test_the_agent_s_formats_are_obeyed(name, expected):
    """Each that the service has, both ways."""
    made = dialect()
    assert made.receive(metadata(name, "ulaw_8000")) == [Ready()]
    assert (made.hears, str(made.speaks)) == (expected, "mu-law at 8000 Hz")
    made.receive(metadata("ulaw_8000", name))
    assert made.speaks == expected


def test_a_format_that_it_does_not_have_is_named():
    """In the sentence that an operator needs."""
    assert dialect().receive(metadata("opus_48000")) == [
        Failed("the agent is set to opus_48000, which it should not have")
    ]


def test_stale_pieces_are_those_that_the_package_drops():
    """A thousand messages at random: what it would have played since the last interruption is what we return."""
    rng = random.Random(3)
    package, made, ours, last, dropped = VendorsOwn(), dialect(), b"", 0, 0
    made.receive(metadata())
    for number in range(1, 1001):
        last = max(last, number - rng.randrange(6)) if (is_interruption := rng.random() < 0.1) else last
        text = interruption(last) if is_interruption else audio(number - rng.randrange(6), bytes([number % 251]))
        package.take(text)
        (event,) = made.receive(text)
        ours = b"" if isinstance(event, BargeIn) else ours + (event.audio if isinstance(event, Speech) else b"")
        dropped += isinstance(event, Ignored)
        assert ours == package.played
    assert dropped > 50


def test_a_later_interruption_never_takes_an_earlier_one_back():
    """Stale is stale: there the package is more lenient."""
    made = dialect()
    made.receive(interruption(9))
    made.receive(interruption(4))
    assert made.receive(audio(7)) == [Ignored("stale speech")]
    assert made.receive(audio(10)) == [Speech(b"\xff\x01")]


def test_our_own_interrupt_drops_what_comes_up_to_the_service_s_word():
    """Its interruption, or what it understood the caller to say."""
    for word in (interruption(3), server_message("user_transcript", user_transcription_event={"user_transcript": "x"})):
        made = dialect()
        made.receive(audio(1))
        assert made.interrupt() == []
        assert made.receive(audio(2)) == [Ignored("stale speech")]
        made.receive(word)
        assert made.receive(audio(4)) == [Speech(b"\xff\x01")]


def test_a_ping_is_answered():
    """With its number."""
    (answer,) = dialect().receive(server_message("ping", ping_event={"event_id": 42, "ping_ms": 30}))
    assert check_client(answer.message) == {"type": "pong", "event_id": 42}


def test_transcripts_and_corrections_are_told():
    """An answer that was cut short is told as it was heard."""
    made = dialect()
    user = server_message("user_transcript", user_transcription_event={"user_transcript": " Hi ", "event_id": 1})
    agent = server_message("agent_response", agent_response_event={"agent_response": "Yes, sir?", "event_id": 2})
    cut = {"original_agent_response": "Yes, sir?", "corrected_agent_response": "Yes,", "event_id": 2}
    correction = server_message("agent_response_correction", agent_response_correction_event=cut)
    assert made.receive(user) == [Transcript(is_caller=True, text="Hi")]
    assert made.receive(agent) == [Transcript(is_caller=False, text="Yes, sir?")]
    assert made.receive(correction) == [Transcript(is_caller=False, text="(I was interrupted. Heard was only: Yes,)")]


def test_tools_are_called_and_answered():
    """An error is said to be one."""
    call = {"tool_name": "look_up", "tool_call_id": "t1", "parameters": {"order": "17"}, "event_id": 1}
    made = dialect()
    assert made.receive(server_message("client_tool_call", client_tool_call=call)) == [
        ToolCall("t1", "look_up", '{"order":"17"}')
    ]
    for result, is_error in (('{"state":"sent"}', False), ('{"error":"no such order"}', True), ("sent", False)):
        (message,) = made.tool_result("t1", result)
        told = check_client(message)
        assert (told["tool_call_id"], told["result"], told["is_error"]) == ("t1", result, is_error)


def test_another_conversation_is_told_what_was_said_and_does_not_greet():
    """Where the first message may be overridden there is none; where not, it is dropped until the caller has spoken."""
    again = Opening(FACTS, is_first=False, said=SAID)
    (message,) = dialect(again, greeting="Hello!").opening()
    assert check_client(message)["conversation_config_override"]["agent"]["first_message"] == ""
    made = dialect(again)
    ready, story = made.receive(metadata())
    assert ready == Ready()
    assert '[{"caller":"Hi"},{"you":"Yes?"}]' in check_client(story.message)["text"]
    assert made.receive(audio(1)) == [Ignored("stale speech")]
    made.press("5")
    assert made.receive(audio(2)) == [Speech(b"\xff\x01")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("override_error", Failed("it does not allow an override: see the agent's security settings")),
        ("missing_dynamic_variable", Failed("the agent needs a dynamic variable: see `parameters`")),
        ("max_duration_exceeded", HangUpAsked()),
        ("mcp_tool_error", Ignored("error mcp_tool_error")),
        ("SECRET sk-1", Ignored("error")),
    ],
)
def test_errors_are_judged_by_their_types(name, expected):
    """Their text is never repeated; the agent's own limit ends the call."""
    error = {"code": 1008, "error_type": name, "message": "sk-12345", "reason": "sk-12345"}
    assert dialect().receive(server_message("error", error_event=error)) == [expected]


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1000, "", HangUpAsked()),
        (1008, "Override for field 'first_message' is not allowed by config", "override"),
        (3000, "Authorization failed: sk-12345", "private"),
        (1002, "Quota exceeded", "quota"),
        (1008, "The AI agent you are trying to reach does not exist.", "no such agent"),
        (1011, "sk-12345", "connection closed with 1011"),
    ],
)
def test_closes_are_judged_by_their_reasons(code, reason, expected):
    """Which are never repeated; 1000 is the agent's hanging up."""
    closed = dialect().closed(code, reason)
    if isinstance(expected, str):
        assert expected in closed.reason
        assert closed.may_retry == (code == 1011)
        assert "sk-" not in closed.reason
    else:
        assert closed == expected


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", b"\xff", "[" * 50_000, "{}", '{"type":"audio"}', '{"type":"audio","audio_event":null}',
     '{"type":"audio","audio_event":{"audio_base_64":"!!","event_id":1}}', '{"type":"ping","ping_event":{}}',
     '{"type":"interruption","interruption_event":{"event_id":"x"}}', '{"type":"vad_score","vad_score_event":{}}',
     '{"type":"client_tool_call","client_tool_call":{"parameters":[]}}', '{"type":"error"}'],
)  # fmt: skip
def test_no_message_breaks_it(message):
    """Whatever comes, it returns events."""
    assert isinstance(dialect().receive(message)[0], Ignored)


# --- In a call


@pytest.mark.parametrize("formats", [("ulaw_8000", "ulaw_8000"), ("pcm_16000", "ulaw_8000"), ("pcm_8000", "pcm_8000")])
@virtual
async def test_a_call_with_an_agent_of_other_formats(formats):
    """What is set on the agent is what it is given, from the first byte; its pings are answered."""
    fake = FakeElevenLabs(b"\x90" * 8000 if formats[1] == "ulaw_8000" else b"\x10\x20" * 8000, formats=formats)
    service, dialled = dial(ElevenLabsDialect, [fake], ElevenLabsSettings(agent_id="a1", greeting="Hello!"))
    await until(lambda: len(dialled.platform.heard().strip(b"\xff")) == 8000, step_seconds=0.1)
    caller = speech(1.0)
    await dialled.platform.talk(caller)
    await dialled.hung_up_on()
    await service.over()
    bytes_per_second = {"ulaw_8000": 8000, "pcm_8000": 16000, "pcm_16000": 32000}[formats[0]]
    assert len(fake.heard) == pytest.approx(bytes_per_second, abs=200)
    assert fake.pongs == [1]


@virtual
async def test_the_agent_s_own_end_is_heard_to_its_end():
    """It says goodbye and closes, as with its tool to end a call; the caller hears all of it."""
    fake = FakeElevenLabs(VOICE[:16000])
    service, dialled = dial(ElevenLabsDialect, [fake], ElevenLabsSettings(agent_id="a1", greeting="Hello!"))
    await until(lambda: service.connections)
    await asyncio.sleep(0.5)
    service.connection.lose(1000)
    session = await dialled.over()
    assert session.termination.value == "hung_up"
    assert VOICE[:16000] in dialled.platform.heard()
    await service.over()


@virtual
async def test_a_rate_without_numpy_is_named(monkeypatch):
    """The agent's formats are known only when it is there; the call is lost, in words that say what to install."""

    def without_numpy(from_hz: int, to_hz: int = 8000):
        if from_hz != to_hz:
            raise HandlerError("it needs numpy")
        return SameRate()

    monkeypatch.setattr("smartflo_bridge.agents.line.rate_converter", without_numpy)
    fake = FakeElevenLabs(b"", formats=("pcm_16000", "ulaw_8000"))
    service, dialled = dial(ElevenLabsDialect, [fake], ElevenLabsSettings(agent_id="a1"))
    session = await dialled.over(fails=True)
    assert session.termination.value == "agent_lost"
    assert "it needs numpy" in str(dialled.handler_error)
    await service.over()
