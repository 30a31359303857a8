"""Deepgram's dialect: by values, and in a call with a played service, all of it checked with the vendor's own types."""

import asyncio
import json

import pytest

from agents.fake_deepgram import FakeDeepgram, check_client, server_message
from agents.played_calls import dial
from agents.support import FACTS, LOOK_UP
from calls.support import until
from smartflo_bridge.agents.deepgram import DeepgramDialect
from smartflo_bridge.agents.deepgram_session import DeepgramSettings
from smartflo_bridge.agents.dialect import Opening
from smartflo_bridge.agents.events import (
    Answer,
    BargeIn,
    Failed,
    Ignored,
    Ready,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import ULAW_8K
from smartflo_bridge.agents.tools import HANG_UP
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

VOICE = prompt("menu")
STARTED = server_message("UserStartedSpeaking")


def dialect(opening: Opening | None = None, **keys: object) -> DeepgramDialect:
    """Return a conversation."""
    return DeepgramDialect(DeepgramSettings(**keys), opening or Opening(FACTS, "key-1"))


def told(made: DeepgramDialect):
    """Return what it tells the service when that speaks first."""
    (answer,) = made.receive(server_message("Welcome", request_id="r1"))
    assert isinstance(answer, Answer)
    return check_client(answer.message)


# --- By values


def test_the_key_is_in_the_header_only():
    """The address is the configured one; nothing is said before the service has spoken."""
    endpoint = dialect().endpoint(None)
    assert endpoint.url == "wss://agent.deepgram.com/v1/agent/converse"
    assert endpoint.headers == {"Authorization": "Token key-1"}
    assert dialect().opening() == []


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"listen_model": "flux-general-en", "greeting": "Hello!", "instructions": "Be brief."},
        {"language": "hi", "think_provider": "anthropic", "think_model": "claude-sonnet-4-20250514"},
        {"language": "", "think_provider": "google", "think_model": "gemini-2.5-flash", "mip_opt_out": True},
    ],
)
def test_the_settings_are_such_as_the_service_takes(keys):
    """Every choice is a message of the vendor's types, and arrives where it belongs; audio is mu-law both ways."""
    settings = DeepgramSettings(**keys)
    made = dialect(Opening(FACTS, "key-1", tools=(LOOK_UP, HANG_UP)), **keys)
    message = told(made)
    assert (message.audio.input.encoding, message.audio.input.sample_rate) == ("mulaw", 8000)
    output = message.audio.output
    assert (output.encoding, output.sample_rate, output.container) == ("mulaw", 8000, "none")
    assert (made.hears, made.speaks) == (ULAW_8K, ULAW_8K)
    agent = message.agent
    is_flux = settings.listen_model.startswith("flux")
    assert (agent.listen.provider.version, agent.listen.provider.model) == (
        "v2" if is_flux else "v1",
        settings.listen_model,
    )
    assert getattr(agent.listen.provider, "language", None) == (None if is_flux else settings.language or None)
    assert (agent.think.provider.type, agent.think.provider.model) == (settings.think_provider, settings.think_model)
    assert [(one.name, one.parameters) for one in agent.think.functions] == [
        ("look_up", LOOK_UP.parameters),
        ("hang_up", HANG_UP.parameters),
    ]
    assert agent.think.prompt.startswith(settings.instructions)
    assert '{"from":"+911","order":"17"}' in agent.think.prompt
    assert agent.speak.provider.model == settings.voice
    assert agent.greeting == (settings.greeting or None)
    assert message.mip_opt_out == (settings.mip_opt_out or None)


def test_a_configuration_that_is_kept_there_takes_the_place_of_all():
    """It is named, and nothing else is said of the agent."""
    assert told(dialect(agent_id="2c7c-uuid", greeting="Hello!")).agent == "2c7c-uuid"


def test_another_conversation_is_told_what_was_said_and_does_not_greet():
    """As the history of the conversation."""
    said = (Transcript(is_caller=True, text="Hi"), Transcript(is_caller=False, text="Yes?"))
    agent = told(dialect(Opening(FACTS, is_first=False, said=said), greeting="Hello!")).agent
    assert agent.greeting is None
    assert [(one.role, one.content) for one in agent.context.messages] == [("user", "Hi"), ("assistant", "Yes?")]


def test_it_is_ready_when_the_settings_were_taken():
    """Not before: audio that comes earlier is refused there."""
    assert dialect().receive(server_message("SettingsApplied")) == [Ready()]


@pytest.mark.parametrize(
    "word",
    [
        server_message("ConversationText", role="user", content="Hi"),
        server_message("ConversationText", role="assistant", content="Yes?"),
        server_message("AgentThinking", content="hm"),
        server_message("AgentStartedSpeaking", total_latency=1.0, tts_latency=0.5, ttt_latency=0.5),
        server_message("AgentAudioDone"),
        server_message("FunctionCallRequest", functions=[]),
    ],
)
def test_speech_is_stale_from_the_caller_s_first_sound_to_the_next_word(word):
    """By the service's own barge-in, and by ours."""
    for interrupt in (lambda made: made.receive(STARTED), lambda made: made.interrupt()):
        made = dialect()
        assert made.receive(b"\x90") == [Speech(b"\x90")]
        interrupt(made)
        assert made.receive(b"\x90") == [Ignored("stale speech")]
        made.receive(word)
        assert made.receive(b"\x91") == [Speech(b"\x91")]


def test_what_is_no_word_of_a_turn_leaves_stale_speech_stale():
    """Reports and warnings come at any time."""
    made = dialect()
    assert made.receive(STARTED) == [BargeIn()]
    for word in (
        server_message("LatencyReport", total_latency=1.0),
        server_message("Warning", code="PROMPT_TOO_LONG", description="x"),
        server_message("InjectionRefused", message="x"),
    ):
        assert isinstance(made.receive(word)[0], Ignored)
        assert made.receive(b"\x90") == [Ignored("stale speech")]


def test_the_end_of_speech_and_transcripts_are_told():
    """The end of what was interrupted is no end."""
    made = dialect()
    made.receive(b"\x90")
    assert made.receive(server_message("AgentAudioDone")) == [SpeechDone()]
    made.receive(STARTED)
    assert made.receive(server_message("AgentAudioDone")) == [Ignored("stale speech")]
    said = made.receive(server_message("ConversationText", role="user", content="Hi"))
    assert said == [Transcript(is_caller=True, text="Hi")]


def test_functions_are_called_and_answered():
    """Those that are ours; a result goes back under the function's name, unless its call was taken back."""
    made = dialect()
    functions = [
        {"id": f"f{number}", "name": "look_up", "arguments": '{"order":"17"}', "client_side": number < 3}
        for number in (1, 2, 3)
    ]
    calls = made.receive(server_message("FunctionCallRequest", functions=functions))
    assert calls == [ToolCall(identity, "look_up", '{"order":"17"}') for identity in ("f1", "f2")]
    (answer,) = made.tool_result("f1", '{"state":"sent"}')
    found = check_client(answer)
    assert (found.id, found.name, found.content) == ("f1", "look_up", '{"state":"sent"}')
    made.receive(server_message("FunctionCallCancelled", functions=[{"id": "f2", "name": "look_up"}]))
    assert made.tool_result("f2", "{}") == made.tool_result("f1", "{}") == []


def test_audio_is_binary_and_a_key_is_said_in_words():
    """The bytes are untouched."""
    assert dialect().hear(b"\x90\x91") == [b"\x90\x91"]
    assert dialect().hear(b"") == []
    (key,) = dialect().press("#")
    assert "#" in check_client(key).content


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("INTERNAL_SERVER_ERROR", Failed("it reports INTERNAL_SERVER_ERROR", may_retry=True)),
        ("CLIENT_MESSAGE_TIMEOUT", Failed("it reports CLIENT_MESSAGE_TIMEOUT", may_retry=True)),
        ("UNPARSABLE_CLIENT_MESSAGE", Failed("it reports UNPARSABLE_CLIENT_MESSAGE")),
        ("INVALID_SETTINGS", Failed("it reports INVALID_SETTINGS")),
        ("sk-12345 SECRET", Failed("it reports an error", may_retry=True)),
    ],
)
def test_every_error_ends_the_conversation(code, expected):
    """Whether another one may help is judged by its code; its text is never repeated."""
    assert dialect().receive(server_message("Error", code=code, description="sk-12345")) == [expected]


def test_a_close_is_never_a_goodbye():
    """Also a plain one."""
    assert dialect().closed(1000, "") == Failed("it has ended the conversation", may_retry=True)
    assert dialect().closed(1008, "sk-12345") == Failed("connection closed with 1008")


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "5", "[" * 50_000, "{}", '{"type":5}', '{"type":"FunctionCallRequest","functions":[{}]}',
     '{"type":"Error","code":5}', '{"type":"ConversationText","role":null}', '{"type":"History","content":"x"}'],
)  # fmt: skip
def test_no_message_breaks_it(message):
    """Whatever comes, it returns events."""
    assert isinstance(dialect().receive(message)[0], Ignored)


# --- In a call


@virtual
async def test_a_conversation_that_is_lost_begins_anew_with_its_history():
    """It is not greeted in, and nothing that waits for the settings is sent before them."""
    fakes = [FakeDeepgram(VOICE[:8000]), FakeDeepgram(VOICE[:8000])]
    service, dialled = dial(DeepgramDialect, fakes, DeepgramSettings(greeting="Hello!"))
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    service.connection.lose(1000)
    await asyncio.sleep(0.5)
    assert "What the agent said." in json.loads(fakes[1].story)["messages"][0]["content"]
    assert (fakes[0].greetings, fakes[1].greetings) == (1, 0)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_it_is_kept_alive():
    """While the caller's platform sends nothing, for longer than the service would wait."""
    fake = FakeDeepgram(b"")
    service, dialled = dial(DeepgramDialect, [fake], DeepgramSettings())
    await asyncio.sleep(21.0)
    assert fake.alive == 4
    await dialled.hung_up_on()
    await service.over()
