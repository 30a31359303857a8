"""Ultravox's dialect, by values. What is the same for all services is in `test_played_services`."""

import asyncio
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fake_ultravox import FakeUltravox, StartAgentCall, StartCall, check
from agents.played_calls import dial_kind
from agents.support import FACTS
from calls.support import until
from smartflo_bridge.agents.dialect import CallFacts, Endpoint, Opening, Tool
from smartflo_bridge.agents.events import (
    BargeIn,
    Failed,
    GoAway,
    HangUpAsked,
    Ignored,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.tools import HANG_UP, Function
from smartflo_bridge.agents.ultravox import UltravoxDialect
from smartflo_bridge.agents.ultravox_session import UltravoxSettings
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

SAID = (Transcript(is_caller=True, text="Hi"), Transcript(is_caller=False, text="Yes?"))


def dialect(opening: Opening | None = None, **keys: object) -> UltravoxDialect:
    """Return a call."""
    return UltravoxDialect(UltravoxSettings(**keys), opening or Opening(FACTS, "key-1"))


def asked(made: UltravoxDialect, kind: type = StartCall):
    """Return what a call is made with, as the published schema has it."""
    body = made.request().body
    assert body is not None
    return msgspec.json.decode(body, type=kind)


def word(kind: str, **members: object) -> str:
    """Return a message of the service, which the types know."""
    return json.dumps(check({"type": kind, **members}))


class Address(msgspec.Struct):
    """Where an order goes."""

    city: str


async def deliver(to: Address, note: str = "") -> None:
    """Deliver an order."""


def test_a_call_is_made_over_https_with_the_key_in_a_header():
    """On the host of the WebSocket's address, in whatever region."""
    request = dialect().request()
    assert request.url == "https://api.ultravox.ai/api/calls"
    assert request.headers == {"X-API-Key": "key-1"}
    assert b"key-1" not in (request.body or b"")
    assert (
        dialect(url="ws://127.0.0.1:80/x/", agent_id="a/1").request().url == "http://127.0.0.1:80/x/agents/a%2F1/calls"
    )


def test_all_that_is_configured_arrives_where_it_belongs():
    """In the call's own request; what is not configured is left to the service."""
    made = asked(
        dialect(
            Opening(FACTS, "key-1", tools=(HANG_UP,)),
            instructions="Be brief.",
            greeting="Hello!",
            voice="Mark",
            language="hi-IN",
            silence_ms=640,
            interruption_ms=200,
            buffer_ms=5000,
            session_seconds=600,
            tool_seconds=4.0,
        )
    )
    medium = made.medium.server_web_socket
    assert (medium.input_sample_rate, medium.output_sample_rate, medium.client_buffer_size_ms) == (8000, 8000, 5000)
    assert (made.model, made.voice, made.language_hint, made.max_duration) == ("ultravox-v0.7", "Mark", "hi-IN", "600s")
    assert made.system_prompt.startswith("Be brief.")
    assert '{"from":"+911","order":"17"}' in made.system_prompt
    vad = made.vad_settings
    assert (vad.turn_endpoint_delay, vad.minimum_interruption_duration) == ("0.64s", "0.2s")
    assert made.first_speaker_settings.agent.text == "Hello!"
    (tool,) = (selected.temporary_tool for selected in made.selected_tools)
    assert (tool.model_tool_name, tool.dynamic_parameters, tool.timeout) == ("hang_up", [], "4s")
    plain = asked(dialect())
    assert plain.first_speaker_settings.user == {}
    assert (plain.voice, plain.language_hint, plain.selected_tools, plain.initial_messages) == ("", "", [], [])


def test_a_tool_has_one_schema_a_parameter():
    """Each with the definitions that it refers to, for it stands alone."""
    tool = Function("deliver", deliver).tool
    (selected,) = asked(dialect(Opening(FACTS, tools=(tool,)))).selected_tools
    to, note = selected.temporary_tool.dynamic_parameters
    assert (to.name, to.required, note.name, note.required) == ("to", True, "note", False)
    assert to.schema["$ref"].removeprefix("#/$defs/") in to.schema["$defs"]
    assert note.schema["type"] == "string"
    (odd,) = asked(dialect(Opening(FACTS, tools=(Tool("odd", "", {}),)))).selected_tools
    assert odd.temporary_tool.dynamic_parameters == []


def test_an_agent_that_was_made_there_keeps_its_own_settings():
    """It is told what it may know of the call as variables of its prompt; it greets as it was made to, if we say nothing."""
    made = asked(dialect(agent_id="a1", instructions="ignored"), StartAgentCall)
    assert made.template_context == {"from": "+911", "order": "17"}
    assert made.first_speaker_settings is None
    greeted = asked(dialect(agent_id="a1", greeting="Hello!"), StartAgentCall)
    assert greeted.first_speaker_settings.agent.text == "Hello!"
    again = asked(dialect(Opening(CallFacts("MZ1"), is_first=False), agent_id="a1"), StartAgentCall)
    assert (again.first_speaker_settings.user, again.template_context) == ({}, {})


def test_another_call_there_is_told_what_was_said():
    """And does not greet again."""
    made = asked(dialect(Opening(FACTS, is_first=False, said=SAID), greeting="Hello!"))
    assert [(said.role, said.text) for said in made.initial_messages] == [
        ("MESSAGE_ROLE_USER", "Hi"),
        ("MESSAGE_ROLE_AGENT", "Yes?"),
    ]
    assert made.first_speaker_settings.user == {}


def test_it_is_joined_where_the_answer_says():
    """Over TLS, wherever that is: the service's own hosts have changed; without it only if the service itself is here."""
    join = "wss://voice-1.a.run.app/calls/1/server_web_socket?x=1"
    assert dialect().endpoint(json.dumps({"joinUrl": join}).encode()) == Endpoint(join)
    here = b'{"joinUrl":"ws://127.0.0.1:1/"}'
    assert isinstance(dialect().endpoint(here), Failed)
    assert dialect(url="ws://127.0.0.1:1/api").endpoint(here) == Endpoint("ws://127.0.0.1:1/")


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"[]", b"{}", b'{"joinUrl":5}', b'{"joinUrl":""}', b'{"joinUrl":"https://x/"}', b"\xff",
     b'{"joinUrl":"wss://x/\\r\\nY: z"}', b'{"joinUrl":"wss://x/ y"}', '{"joinUrl":"wss://ä/"}'.encode()],
)  # fmt: skip
def test_an_answer_without_an_address_is_a_failure(answer):
    """That is not tried again."""
    failed = dialect().endpoint(answer)
    assert isinstance(failed, Failed)
    assert not failed.may_retry


def test_speech_is_binary_and_ends_with_its_state():
    """It goes both ways as it is."""
    made = dialect()
    assert made.hears == made.speaks == AudioFormat("pcm", 8000)
    assert made.receive(word("call_started", callId="1")) == [GoAway(3600.0)]
    assert made.receive(word("state", state="listening")) == [Ignored("state")]
    assert made.receive(word("state", state="speaking")) == [Ignored("state")]
    assert made.receive(b"\1\2\3") == [Speech(b"\1\2\3")]
    assert made.receive(word("state", state="listening")) == [SpeechDone()]
    assert made.hear(b"\1\2") == [b"\1\2"]
    assert made.hear(b"") == []


def test_its_buffer_is_cleared_when_it_says_so():
    """What comes after that is new."""
    made = dialect()
    assert made.receive(word("playback_clear_buffer")) == [BargeIn()]
    assert made.receive(b"\1\2") == [Speech(b"\1\2")]


def test_what_was_said_is_put_together():
    """From what is new or from all so far; it is told when it is final, and not if it is nothing."""
    made = dialect()
    agent = {"role": "agent", "medium": "voice", "ordinal": 3}
    for part, expected in [
        ({"delta": "What ", "final": False}, None),
        ({"text": "What it", "final": False}, None),
        ({"delta": " said.", "final": True}, "What it said."),
        ({"text": "All.", "final": True}, "All."),
        ({"delta": None, "final": True}, None),
    ]:
        found = made.receive(word("transcript", **agent, **part))
        assert found == [Transcript(is_caller=False, text=expected) if expected else Ignored("transcript")]
    user = {"role": "user", "medium": "voice", "ordinal": 4}
    assert made.receive(word("transcript", **user, text="Hi", final=False)) == [Ignored("transcript")]
    assert made.receive(word("transcript", **user, text="Hi", final=True)) == [Transcript(is_caller=True, text="Hi")]
    for _ in range(20):
        made.receive(word("transcript", **agent, delta="x" * 1000, final=False))
    (whole,) = made.receive(word("transcript", **agent, delta="", final=True))
    assert len(whole.text) == 4000


def test_a_function_is_called_and_answered():
    """By its id."""
    made = dialect()
    called = word("client_tool_invocation", toolName="look_up", invocationId="i1", parameters={"order": "17"})
    assert made.receive(called) == [ToolCall("i1", "look_up", '{"order":"17"}')]
    (result,) = made.tool_result("i1", '{"state":"sent"}')
    assert check(json.loads(result)) == {
        "type": "client_tool_result",
        "invocationId": "i1",
        "result": '{"state":"sent"}',
    }


def test_a_key_and_the_end_are_told():
    """A key at once, as it interrupts."""
    (key,) = dialect().press("5")
    assert check(json.loads(key))["urgency"] == "immediate"
    assert dialect().end() == ['{"type":"hang_up"}']


def test_how_a_call_there_ends():
    """The agent hangs up with a normal close; whatever dies is tried again."""
    made = dialect()
    assert made.closed(1000, "") == HangUpAsked()
    assert made.closed(None, "") == Failed("connection lost", may_retry=True)
    assert made.closed(1008, "sk-1") == Failed("connection closed with 1008")


@given(st.one_of(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps)))
def test_no_text_breaks_it(text):
    """Whatever comes, it returns events."""
    (event,) = dialect().receive(text)
    assert isinstance(event, Ignored)


@pytest.mark.parametrize(
    "text",
    ['{"type":"state"}', '{"type":"transcript","role":"x"}', '{"type":"client_tool_invocation","toolName":5}',
     '{"type":"playback_clear_buffer"', '{"type":"debug","message":"sk-1"}', "[" * 50_000],
)  # fmt: skip
def test_a_word_that_lacks_something_is_passed_over(text):
    """Under its name where it has one."""
    (event,) = dialect().receive(text)
    assert isinstance(event, Ignored)
    assert "sk-" not in event.name


# --- In a call


@virtual
async def test_a_call_there_is_renewed_before_its_end():
    """Another one takes over in a quiet moment, is told what was said, and does not greet."""
    fakes = [FakeUltravox(prompt("menu")[:8000]), FakeUltravox(prompt("menu")[:8000])]
    service, dialled = dial_kind("ultravox", fakes, {"session_seconds": 60, "answer_seconds": 0})
    caller = b"\xff" * 800
    await until(lambda: len(service.connections) == 2, step_seconds=1.0)
    await asyncio.sleep(15.0)
    dialled.platform.speak(caller)
    first, second = service.connections
    assert first.is_closed
    assert not second.is_closed
    assert first.sent[-1] == '{"type":"hang_up"}'
    assert fakes[1].story == "What the agent said."
    assert (fakes[0].greetings, fakes[1].greetings) == (1, 0)
    await asyncio.sleep(0.1)
    assert bytes(fakes[1].heard).endswith(caller)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_request_that_is_refused_is_apologised_for():
    """Before anything was dialled."""
    fake = FakeUltravox(b"")

    def refuse(_: object) -> bytes:
        msg = "it answered with HTTP status 402"
        raise DialError(msg)

    fake.answer = refuse  # type: ignore[method-assign]
    service, dialled = dial_kind("ultravox", [fake])
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert service.connections == []
    assert dialled.peer.audio.count(prompt("apology")) == 1


@virtual
async def test_half_a_minute_ahead_is_cleared():
    """It speaks as far ahead as we let it; all of that is gone when it says so, and the next words are heard."""
    fake = FakeUltravox(prompt("menu") * 3, piece_bytes=8000)
    service, dialled = dial_kind("ultravox", [fake])
    await asyncio.sleep(2.0)
    fake.caller_speaks()
    await asyncio.sleep(0.1)
    assert str(dialled.peer.sent[-1]).startswith("clear")
    assert sum(len(message.audio) for message in dialled.peer.sent) < 8000 * 2.5
    fake.speech = prompt("greeting")[:8000]
    fake.respond()
    await until(lambda: fake.speech in dialled.platform.heard(), step_seconds=0.1)
    await dialled.hung_up_on()
    await service.over()
