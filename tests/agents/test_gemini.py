"""Gemini's dialect: by values, and in a call with a played service, all of it checked with the vendor's own types."""

import asyncio
import audioop
import json
import re
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from google import genai
from google.genai import types

from agents.fake_gemini import FakeGemini, check_client, server_message
from agents.played_calls import dial
from agents.support import FACTS, LOOK_UP, Service, dial_leg
from calls.support import speech, until
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import (
    BargeIn,
    Failed,
    GoAway,
    Ignored,
    Ready,
    Resumption,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.gemini import GeminiDialect
from smartflo_bridge.agents.gemini_session import GeminiSettings
from smartflo_bridge.agents.tools import HANG_UP
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

VOICE = prompt("menu")


def dialect(opening: Opening | None = None, **keys: object) -> GeminiDialect:
    """Return a session that was set up."""
    made = GeminiDialect(GeminiSettings(**keys), opening or Opening(FACTS, "key-1"))
    made.receive(server_message(setupComplete={}))
    return made


def content(**members: object) -> str:
    """Return what the agent does."""
    return server_message(serverContent=members)


def spoken(audio: str = "AAEC", mime: str = "audio/pcm;rate=24000") -> str:
    """Return a piece of speech."""
    return content(modelTurn={"parts": [{"inlineData": {"mimeType": mime, "data": audio}}]})


# --- By values


def test_the_key_is_in_the_header_only():
    """The address is the configured one."""
    endpoint = dialect().endpoint(None)
    assert endpoint.url.endswith("v1beta.GenerativeService.BidiGenerateContent")
    assert endpoint.headers == {"x-goog-api-key": "key-1"}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"voice": "Kore", "language": "hi-IN", "instructions": "Be brief.", "transcripts": False},
        {"start_sensitivity": "low", "end_sensitivity": "low", "prefix_ms": 20, "silence_ms": 900},
        {"model": "models/gemini-2.5-flash-native-audio-preview-12-2025", "input_format": "pcm16;8000"},
    ],
)
def test_the_setup_is_one_that_the_service_takes(keys):
    """Every choice is a message of the vendor's types, and arrives where it belongs."""
    settings = GeminiSettings(**keys)
    (message,) = GeminiDialect(settings, Opening(FACTS, "key-1", tools=(LOOK_UP, HANG_UP))).opening()
    setup = check_client(message).setup
    assert setup.model == f"models/{settings.model.removeprefix('models/')}"
    assert [modality.value for modality in setup.generation_config.response_modalities] == ["AUDIO"]
    speaking = setup.generation_config.speech_config
    assert (speaking.voice_config.prebuilt_voice_config.voice_name if speaking else "") == settings.voice
    assert (speaking.language_code if speaking else "") == settings.language
    declared = setup.tools[0].function_declarations
    assert [(function.name, function.parameters_json_schema) for function in declared] == [
        ("look_up", LOOK_UP.parameters),
        ("hang_up", HANG_UP.parameters),
    ]
    told = setup.system_instruction.parts[0].text
    assert told.startswith(settings.instructions)
    assert '{"from":"+911","order":"17"}' in told
    assert (setup.input_audio_transcription is not None) == settings.transcripts
    assert setup.session_resumption.handle is None
    assert setup.context_window_compression.sliding_window is not None
    listening = json.loads(message)["setup"]["realtimeInputConfig"]["automaticActivityDetection"]
    assert listening["silenceDurationMs"] == settings.silence_ms
    assert listening["startOfSpeechSensitivity"] == f"START_SENSITIVITY_{settings.start_sensitivity.upper()}"


def test_it_is_ready_when_the_setup_was_taken():
    """Then it greets, unless the caller has been greeted already."""
    made = GeminiDialect(GeminiSettings(greeting="Hello!"), Opening(FACTS))
    ready, greeting = made.receive(server_message(setupComplete={"sessionId": "s1"}))
    assert ready == Ready()
    assert "Hello!" in check_client(greeting.message).realtime_input.text
    again = GeminiDialect(GeminiSettings(greeting="Hello!"), Opening(FACTS, is_first=False))
    assert again.receive(server_message(setupComplete={})) == [Ready()]


def test_another_connection_goes_on_with_the_session_or_is_told_what_was_said():
    """By a handle, which stands for all that was said; in words where there is none."""
    said = (Transcript(is_caller=True, text="Hi"), Transcript(is_caller=False, text="Yes?"))
    for handle in ("h7", None):
        (message,) = GeminiDialect(GeminiSettings(), Opening(FACTS, handle=handle, is_first=False, said=said)).opening()
        setup = check_client(message).setup
        is_told = '[{"caller":"Hi"},{"you":"Yes?"}]' in setup.system_instruction.parts[0].text
        assert (setup.session_resumption.handle, is_told) == (handle, handle is None)


def test_speech_is_pcm_at_the_rate_that_it_names():
    """24 kHz as agreed, or another one, which is then expected; what is no rate is refused, what is no audio passed over."""
    made = dialect()
    assert made.receive(spoken()) == [Speech(b"\0\1\2")]
    assert made.receive(spoken(mime="audio/pcm")) == [Speech(b"\0\1\2")]
    assert made.receive(spoken(mime="audio/pcm;rate=16000")) == [Ready(AudioFormat("pcm", 16000)), Speech(b"\0\1\2")]
    assert made.receive(spoken(mime="audio/pcm;rate=16000")) == [Speech(b"\0\1\2")]
    assert made.receive(spoken(mime="audio/pcm;rate=1")) == [Failed("it speaks at 1 Hz")]
    assert made.receive(spoken(mime="image/png")) == [Ignored("image/png")]


def test_all_parts_of_a_message_are_taken():
    """Newer models put several into one: speech, its end, and the end of the turn."""
    blob = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAEC"}}
    message = content(
        modelTurn={"parts": [{"text": "thinking", "thought": True}, blob, blob]},
        outputTranscription={"text": "Hello."},
        generationComplete=True,
        turnComplete=True,
    )
    said = Transcript(is_caller=False, text="Hello.")
    assert dialect().receive(message) == [Speech(b"\0\1\2"), Speech(b"\0\1\2"), SpeechDone(), said]


def test_speech_of_an_interrupted_turn_is_dropped_up_to_its_end():
    """The documented order is `interrupted`, then `turnComplete`; what follows is another turn."""
    made = dialect()
    made.receive(spoken())
    assert made.receive(content(interrupted=True)) == [BargeIn()]
    assert made.receive(spoken()) == [Ignored("stale speech")]
    assert made.receive(content(turnComplete=True)) == [Ignored("serverContent")]
    assert made.receive(spoken()) == [Speech(b"\0\1\2")]


def test_our_own_interrupt_drops_the_rest_of_the_turn():
    """And nothing of the next one, also where the turn was over."""
    made = dialect()
    made.receive(spoken())
    assert made.interrupt() == []
    assert made.receive(spoken()) == [Ignored("stale speech")]
    made.receive(content(turnComplete=True))
    assert made.interrupt() == []
    assert made.receive(spoken()) == [Speech(b"\0\1\2")]


def test_a_turn_that_it_takes_for_heard_is_ours_to_interrupt():
    """It notices a barge-in from the first piece of a turn to the turn's end, and not between two of them."""
    made = dialect()
    assert made.notices_barge_in
    made.receive(spoken())
    made.receive(content(generationComplete=True))
    assert made.notices_barge_in
    made.receive(content(turnComplete=True))
    assert not made.notices_barge_in
    made.receive(spoken())
    assert made.notices_barge_in


def test_transcripts_are_put_together_by_turns():
    """The caller's words before the agent's; they are bounded."""
    made = dialect()
    for text in ("Where is ", "my order?"):
        made.receive(content(inputTranscription={"text": text}))
    made.receive(content(outputTranscription={"text": " On its way."}))
    assert made.receive(content(turnComplete=True)) == [
        Transcript(is_caller=True, text="Where is my order?"),
        Transcript(is_caller=False, text="On its way."),
    ]
    for _ in range(100):
        made.receive(content(outputTranscription={"text": "x" * 100}))
    assert made.receive(content(turnComplete=True)) == [Transcript(is_caller=False, text="x" * 4000)]


def test_functions_are_called_and_answered():
    """What the agent was saying is complete; each result goes back as an object, under the function's name."""
    made = dialect()
    made.receive(spoken())
    calls = [{"id": f"c{number}", "name": "look_up", "args": {"order": "17"}} for number in (1, 2, 3)]
    asked = made.receive(server_message(toolCall={"functionCalls": calls}))
    assert asked == [SpeechDone(), *(ToolCall(call["id"], "look_up", '{"order":"17"}') for call in calls)]
    for call, result, response in (("c1", '{"state":"sent"}', {"state": "sent"}), ("c2", "sent", {"output": "sent"})):
        (answer,) = made.tool_result(call, result)
        (found,) = check_client(answer).tool_response.function_responses
        assert (found.id, found.name, found.response) == (call, "look_up", response)
    made.receive(server_message(toolCallCancellation={"ids": ["c3", "c9"]}))
    assert made.tool_result("c3", "{}") == []


def test_the_caller_s_audio_and_keys_are_realtime_input():
    """Audio says its rate; a key is said in words, which the agent answers."""
    (audio,) = dialect().hear(b"\1\2")
    blob = check_client(audio).realtime_input.audio
    assert (blob.data, blob.mime_type) == (b"\1\2", "audio/pcm;rate=16000")
    assert dialect().hear(b"") == []
    (slow,) = dialect(input_format="pcm16;8000").hear(b"\1\2")
    assert check_client(slow).realtime_input.audio.mime_type == "audio/pcm;rate=8000"
    (key,) = dialect().press("5")
    assert "5" in check_client(key).realtime_input.text


def test_the_end_of_the_connection_is_announced_once():
    """With the seconds that are left; handles are kept, and an empty one says that there is none now."""
    made = dialect()
    assert made.receive(server_message(goAway={"timeLeft": "9.5s"})) == [GoAway(9.5)]
    assert made.receive(server_message(goAway={"timeLeft": "5s"})) == [Ignored("goAway")]
    assert dialect().receive(server_message(goAway={"timeLeft": "soon"})) == [GoAway(0.0)]
    update = server_message(sessionResumptionUpdate={"newHandle": "h2", "resumable": True})
    assert made.receive(update) == [Resumption("h2")]
    nothing = server_message(sessionResumptionUpdate={"resumable": False})
    assert made.receive(nothing) == [Ignored("sessionResumptionUpdate")]


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1007, "API key not valid. Please pass a valid API key: sk-12345", Failed("the key is not valid")),
        (1011, "You exceeded your current quota, please check your plan", Failed("the quota is used up")),
        (1008, "models/x is not found for API version v1beta", Failed("there is no such model, or it cannot talk")),
        (1007, "Request contains an invalid argument.", Failed("connection closed with 1007")),
        (1011, "Internal error encountered.", Failed("connection closed with 1011", may_retry=True)),
        (1000, "", Failed("it has ended the session", may_retry=True)),
        (None, "", Failed("connection lost", may_retry=True)),
    ],
)
def test_closes_are_judged_by_their_reasons(code, reason, expected):
    """Which are never repeated. A session that was set up has been accepted, so another one may be."""
    assert GeminiDialect(GeminiSettings(), Opening(FACTS)).closed(code, reason) == expected
    later = dialect().closed(code, reason)
    assert later.may_retry == (expected.may_retry or reason.startswith("Request"))


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "5", b"\xff\xfe", "[" * 50_000, "{}", '{"serverContent":5}', '{"serverContent":{"modelTurn":[]}}',
     '{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"!!!"}}]}}}', '{"toolCall":{"functionCalls":[{}]}}',
     '{"goAway":{"timeLeft":5}}', '{"x":1}', '{"toolCall":{"functionCalls":null}}', '{"serverContent":null}'],
)  # fmt: skip
def test_no_message_breaks_it(message):
    """Whatever comes, it returns events."""
    assert isinstance(dialect().receive(message)[0], Ignored)


def test_messages_may_be_binary():
    """The real service sends its JSON so."""
    assert dialect().receive(spoken().encode()) == [Speech(b"\0\1\2")]


def in_camel_case(value):
    """Return JSON with its members spelt as the documentation does; the service takes both."""
    if isinstance(value, dict):
        return {
            re.sub("_([a-z])", lambda found: found[1].upper(), name): in_camel_case(one) for name, one in value.items()
        }
    return [in_camel_case(one) for one in value] if isinstance(value, list) else value


@virtual
async def test_the_setup_is_the_vendor_s_own(monkeypatch):
    """For the same choices the package's client sends the same members, each in the same place; it spells some as protobuf does."""
    sent = []

    @asynccontextmanager
    async def connect(uri: str, additional_headers: dict[str, str], **_: object):
        sent.append((uri, additional_headers["x-goog-api-key"]))
        yield SimpleNamespace(send=_note, recv=_answer, close=_answer)

    async def _note(text: str) -> None:
        sent.append(json.loads(text))

    async def _answer(**_: object) -> bytes:
        return server_message(setupComplete={}).encode()

    monkeypatch.setattr("google.genai.live.ws_connect", connect)
    listening = types.AutomaticActivityDetection(
        start_of_speech_sensitivity=types.StartSensitivity.START_SENSITIVITY_LOW,
        end_of_speech_sensitivity=types.EndSensitivity.END_SENSITIVITY_HIGH,
        prefix_padding_ms=20,
        silence_duration_ms=900,
    )
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore"))
    function = types.FunctionDeclaration(
        name=LOOK_UP.name, description=LOOK_UP.description, parameters_json_schema=LOOK_UP.parameters
    )
    config = types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        speech_config=types.SpeechConfig(voice_config=voice, language_code="hi-IN"),
        system_instruction=types.Content(parts=[types.Part(text="Be brief.")]),
        tools=[types.Tool(function_declarations=[function])],
        realtime_input_config=types.RealtimeInputConfig(automatic_activity_detection=listening),
        session_resumption=types.SessionResumptionConfig(handle="h7"),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
    )
    settings = GeminiSettings(
        voice="Kore", language="hi-IN", instructions="Be brief.", start_sensitivity="low", prefix_ms=20, silence_ms=900
    )
    client = genai.Client(api_key="key-1", http_options=types.HttpOptions(api_version="v1beta"))
    async with client.aio.live.connect(model=settings.model, config=config):
        pass
    ours = GeminiDialect(settings, Opening(CallFacts("MZ1"), "key-1", tools=(LOOK_UP,), handle="h7"))
    (message,) = ours.opening()
    (uri, key), theirs = sent
    assert json.loads(message) == in_camel_case(theirs)
    assert key == ours.endpoint(None).headers["x-goog-api-key"]
    assert uri.replace("//ws/", "/ws/").partition("?")[0] == ours.endpoint(None).url


# --- In a call


@virtual
async def test_speech_at_24_khz_is_heard_as_it_is():
    """Brought to 8 kHz without a seam: 23 dB from the original, filters and all; one lost sample would leave nothing of it."""
    fake = FakeGemini(VOICE[:24000], rate_hz=24000, piece_bytes=1111)
    service, dialled = dial(GeminiDialect, [fake], GeminiSettings(greeting="Hello!"))
    await until(lambda: len(dialled.platform.heard().strip(b"\xff")) > 23000, step_seconds=0.1)
    await asyncio.sleep(1.0)
    heard = np.frombuffer(audioop.ulaw2lin(dialled.platform.heard(), 2), dtype="<i2").astype(float)
    sent = np.frombuffer(audioop.ulaw2lin(VOICE[:24000], 2), dtype="<i2").astype(float)
    at = int(np.argmax(np.correlate(heard, sent, "valid")))
    noise = heard[at : at + len(sent)] - sent
    assert 10 * np.log10((sent**2).sum() / (noise**2).sum()) > 20
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_the_caller_is_heard_at_16_khz():
    """All of what was said, at twice the rate."""
    fake = FakeGemini(b"")
    service, dialled = dial(GeminiDialect, [fake], GeminiSettings())
    caller = speech(1.0)
    await dialled.platform.talk(caller)
    await dialled.hung_up_on()
    await service.over()
    assert len(fake.heard) == pytest.approx(len(caller), abs=100)
    loud = [audioop.rms(audioop.ulaw2lin(bytes(audio), 2), 2) for audio in (fake.heard, caller)]
    assert loud[0] == pytest.approx(loud[1], rel=0.1)


@virtual
async def test_a_session_moves_to_another_connection_before_the_old_one_ends():
    """At `goAway`: the new one has the newest handle, does not greet again, and hears the caller from then on."""
    fakes = [FakeGemini(VOICE[:8000]), FakeGemini(VOICE[:8000])]
    service, dialled = dial(GeminiDialect, fakes, GeminiSettings(greeting="Hello!", input_format="pcm16;8000"))
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    fakes[0].go_away(10)
    fakes[0].go_away(5)
    await asyncio.sleep(1.0)
    assert len(service.connections) == 2
    assert service.connections[0].is_closed
    assert fakes[1].setup.session_resumption.handle == "handle_1"
    assert fakes[1].greetings == 0
    dialled.platform.speak(speech(0.1))
    await asyncio.sleep(0.1)
    assert bytes(fakes[1].heard).endswith(speech(0.1))
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_handle_that_is_refused_is_not_tried_again():
    """The session begins anew then, and is told what was said."""
    fakes = [FakeGemini(VOICE[:8000]), FakeGemini(VOICE[:8000])]
    handles = []

    async def serve(connection):
        opening = check_client(await connection.hear())
        handles.append(opening.setup.session_resumption.handle)
        if handles[-1] is not None:
            connection.lose(1008, "Session not found.")
            return
        fake = fakes.pop(0)
        fake.connection = connection
        fake._open(opening.setup)
        await fake.serve(connection)

    service = Service(serve)
    dialled = dial_leg(service, GeminiDialect, GeminiSettings(greeting="Hello!"))
    first, second = fakes
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    await asyncio.sleep(1.0)
    service.connection.lose()
    await asyncio.sleep(0.5)
    assert handles == [None, "handle_1", None]
    assert '[{"you":"What the agent said."}]' in second.story
    assert first.greetings == 1
    assert second.greetings == 0
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_what_plays_on_after_the_turn_is_interrupted_by_us():
    """The service takes its turn for heard at once, and says nothing of a caller who speaks over the rest of it."""
    fake = FakeGemini(VOICE[:64000], piece_bytes=32000)
    service, dialled = dial(GeminiDialect, [fake], GeminiSettings(greeting="Hello!"))
    await asyncio.sleep(0.5)
    fake.end_turn()
    assert "clear" not in [str(message) for message in dialled.peer.sent]
    await dialled.platform.talk(prompt("goodbye")[:8000])
    assert [str(message) for message in dialled.peer.sent][-1] == "clear"
    assert len(dialled.peer.audio) < 32000
    fake.respond()
    await until(lambda: VOICE[:16000] in dialled.peer.audio[-32000:], step_seconds=0.1)
    await dialled.hung_up_on()
    await service.over()
