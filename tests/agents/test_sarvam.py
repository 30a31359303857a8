"""Sarvam's dialect, by values. What is the same for all services is in `test_played_services`."""

import asyncio
import json
import typing
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fake_sarvam import HEARD, TO_SPEAK, FakeSarvam, checked, recognised, spoken
from agents.played_calls import dial_kind
from agents.support import Service, dial_leg
from calls.support import until
from smartflo_bridge.agents.answering import FUNCTION, Answering, Told
from smartflo_bridge.agents.beside import Beside
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import (
    Answer,
    BargeIn,
    Failed,
    HangUpAsked,
    Ignored,
    Ready,
    Speech,
    SpeechDone,
    Transcript,
)
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.message import to_text
from smartflo_bridge.agents.sarvam import SarvamDialect
from smartflo_bridge.agents.sarvam_session import SYNTHESIS, SarvamSettings
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

FACTS = CallFacts("MZ1")
BEGIN = recognised("session.begin", request_id="r1")
CALLER = recognised("vad.speech_start", utterance_idx=1)
FINAL = spoken("event", event_type="final")


def dialect(opening: Opening | None = None, **keys: object) -> SarvamDialect:
    """Return a line."""
    return SarvamDialect(SarvamSettings(**({"answer": "x:y"} | keys)), opening or Opening(FACTS, "key-1"))


def said(text: str) -> str:
    """Return what the caller said."""
    return recognised("transcript.final", utterance_idx=1, text=text)


def hear(made: SarvamDialect, kind: str, number: int = 1, text: str = "") -> list[object]:
    """Let the function say something."""
    return made.receive(Beside(FUNCTION, to_text(Told(kind, number, text))))  # type: ignore[arg-type]


def speech(made: SarvamDialect, message: str) -> list[object]:
    """Let the synthesis say something."""
    return made.receive(Beside(SYNTHESIS, message))


def to(events: list[object], name: str) -> list[dict[str, object]]:
    """Return what is sent to one of those beside; what goes to the synthesis is of the vendor's types."""
    sent = [event.message for event in events if isinstance(event, Answer)]
    found = [str(message) for message in sent if isinstance(message, Beside) and message.name == name]
    if name == SYNTHESIS:
        for message in found:
            checked(message, TO_SPEAK, "type")
    return [json.loads(message) for message in found]


def literals(module: str, name: str) -> set[str]:
    """Return the values that the vendor's package has for a parameter."""
    choice = getattr(__import__(f"sarvamai.{module}.types", fromlist=[name]), name)
    return set(typing.get_args(typing.get_args(choice)[0]))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"input_format": "pcm16", "detect_language": True, "recognition_mode": "codemix", "stream_type": "fast"},
        {"language": "ta-IN", "recognition_model": "saaras:v4", "synthesis_model": "bulbul:v4-flash"},
    ],
)
def test_both_addresses_hold_what_is_configured(keys):
    """With values that the vendor's package has, and the key in a header only."""
    settings = SarvamSettings(**({"answer": "x:y"} | keys))
    heard = dialect(**keys).endpoint(None)
    spoken_at = heard.beside[SYNTHESIS]
    assert heard.headers == spoken_at.headers == {"Api-Subscription-Key": "key-1"}
    assert heard.url.startswith("wss://api.sarvam.ai/speech-to-text-realtime/ws?")
    assert spoken_at.url.startswith("wss://api.sarvam.ai/text-to-speech/ws?")
    query = {name: value for name, (value,) in parse_qs(urlsplit(heard.url).query).items()}
    package, prefix = "speech_to_text_realtime_streaming", "SpeechToTextRealtimeStreaming"
    for name in ("Encoding", "Endpointing", "LanguageCode", "Mode", "Model", "StreamType"):
        key = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]
        assert query[key] in literals(package, prefix + name), name
    assert query["language_code"] == ("auto" if settings.detect_language else settings.language)
    assert (query["sample_rate"], query["threshold"], query["silence_duration_ms"]) == ("8000", "0.5", "500")
    speaking = {name: value for name, (value,) in parse_qs(urlsplit(spoken_at.url).query).items()}
    assert speaking == {"model": settings.synthesis_model, "send_completion_event": "true"}
    assert speaking["model"] in literals("text_to_speech_streaming", "TextToSpeechStreamingModel")


def test_the_synthesis_is_told_to_speak_mu_law():
    """In the language, voice and pace that are configured, before anything else."""
    (config,) = dialect(language="ta-IN", voice="priya", pace=1.2).opening()
    assert config.name == SYNTHESIS
    data = checked(str(config), TO_SPEAK, "type").data
    assert (data.output_audio_codec, data.speech_sample_rate) == ("mulaw", 8000)
    assert (data.language_code, data.speaker, data.pace) == ("ta-IN", "priya", 1.2)


def test_the_caller_is_heard_untouched():
    """As mu-law, or converted where that is wanted; the end is said to the recognition."""
    made = dialect()
    (message,) = made.hear(b"\xff\x7f")
    assert checked(message, HEARD, "event").audio == "/38="
    assert made.hear(b"") == []
    assert dialect(input_format="pcm16").hears == AudioFormat("pcm", 8000)
    end, stop = made.end()
    checked(end, HEARD, "event")
    assert (stop.name, str(stop)) == (FUNCTION, '{"stop":0}')
    (ping,) = made.keep_alive()
    assert ping.name == SYNTHESIS
    checked(str(ping), TO_SPEAK, "type")


def test_it_greets_when_it_begins():
    """A caller who was greeted already is not, and without a greeting nobody is."""
    events = dialect(greeting="Hello!").receive(BEGIN)
    assert events[0] == Ready()
    assert to(events, SYNTHESIS) == [{"type": "text", "data": {"text": "Hello!"}}, {"type": "flush"}]
    assert events[-1] == Transcript(is_caller=False, text="Hello!")
    assert dialect(Opening(FACTS, is_first=False), greeting="Hello!").receive(BEGIN) == [Ready()]
    assert dialect().receive(BEGIN) == [Ready()]


def test_a_turn():
    """What the caller said is asked, with the story before it; each text of the answer is spoken as it comes."""
    made = dialect(greeting="Hello!")
    made.receive(BEGIN)
    speech(made, FINAL)
    events = made.receive(said(" Roses, please. "))
    assert events[0] == Transcript(is_caller=True, text="Roses, please.")
    story = [{"is_caller": False, "text": "Hello!"}]
    assert to(events, FUNCTION) == [{"ask": 1, "said": "Roses, please.", "story": story}]
    assert hear(made, "asked") == [Ignored("asked")]
    assert to(hear(made, "text", text="How "), SYNTHESIS) == [{"type": "text", "data": {"text": "How "}}]
    assert to(hear(made, "text", text="many?"), SYNTHESIS) == [{"type": "text", "data": {"text": "many?"}}]
    done = hear(made, "done")
    assert to(done, SYNTHESIS) == [{"type": "flush"}]
    assert done[-1] == Transcript(is_caller=False, text="How many?")
    audio = spoken("audio", content_type="audio/mulaw", audio="////")
    assert speech(made, audio) == [Speech(b"\xff\xff\xff")]
    assert speech(made, FINAL) == [SpeechDone()]


def test_what_is_still_made_of_an_interrupted_answer_is_dropped():
    """Up to the event that ends it; then the new answer is heard, which may have been asked for meanwhile."""
    made = dialect()
    audio = spoken("audio", content_type="audio/mulaw", audio="////")
    made.receive(said("One"))
    hear(made, "text", text="Long answer")
    events = made.receive(CALLER)
    assert events[:2] == [BargeIn(), Transcript(is_caller=False, text="Long answer")]
    assert to(events, FUNCTION) == [{"stop": 1}]
    assert to(events, SYNTHESIS) == [{"type": "flush"}], "so that its end is seen"
    assert hear(made, "text", text="more") == [Ignored("stale answer")]
    made.receive(said("Two"))
    hear(made, "text", 2, "Short")
    hear(made, "done", 2)
    assert speech(made, audio) == [Ignored("stale speech")]
    assert speech(made, FINAL) == [Ignored("stale speech")]
    assert speech(made, audio) == [Speech(b"\xff\xff\xff")]
    assert speech(made, FINAL) == [SpeechDone()]


def test_nothing_is_flushed_that_is_not_there():
    """An interrupt when nothing is said, and an answer of nothing."""
    made = dialect()
    assert to(made.receive(CALLER), SYNTHESIS) == []
    made.receive(said("One"))
    assert hear(made, "text", text="  \n") == []
    assert hear(made, "done") == [Ignored("done")]
    stop, *rest = made.interrupt()
    assert (stop.name, rest) == (FUNCTION, [])


def test_words_that_were_not_answered_are_asked_again():
    """With those that follow, and alone after a noise; those that were answered are not."""
    made = dialect()
    assert to(made.receive(said("I want")), FUNCTION)[0]["said"] == "I want"
    made.receive(CALLER)
    assert to(made.receive(said("two roses")), FUNCTION)[0]["said"] == "I want two roses"
    made.receive(CALLER)
    noise = made.receive(said(" "))
    assert to(noise, FUNCTION)[0]["said"] == "I want two roses"
    assert not any(isinstance(event, Transcript) for event in noise)
    hear(made, "text", 3, "Red?")
    made.receive(CALLER)
    assert made.receive(said("")) == [Ignored("transcript.final")]
    assert to(made.receive(said("Yes")), FUNCTION)[0]["said"] == "Yes"


def test_a_function_that_fails_is_excused():
    """With the configured words, behind what it had said."""
    made = dialect(sorry="Sorry?")
    made.receive(said("One"))
    hear(made, "text", text="Well, ")
    failed = hear(made, "failed")
    assert to(failed, SYNTHESIS) == [{"type": "text", "data": {"text": "Sorry?"}}, {"type": "flush"}]
    assert failed[-1] == Transcript(is_caller=False, text="Well, Sorry?")


def test_it_hangs_up_when_all_was_said():
    """Nothing that the caller says can hold it up; with nothing to say, at once."""
    made = dialect()
    made.receive(said("Bye"))
    hear(made, "text", text="Bye!")
    hear(made, "hang_up")
    hear(made, "done")
    assert made.receive(CALLER) == [Ignored("vad.speech_start")]
    assert made.receive(said("Wait")) == [Ignored("transcript.final")]
    assert made.press("1") == []
    assert speech(made, FINAL) == [SpeechDone(), HangUpAsked()]
    made = dialect()
    made.receive(said("Bye"))
    hear(made, "hang_up")
    assert hear(made, "done") == [HangUpAsked()]


def test_a_key_is_asked_about_and_cuts():
    """As soon as the function has been asked."""
    made = dialect()
    made.receive(said("One"))
    hear(made, "text", text="Long")
    (question,) = made.press("5")
    assert question.name == FUNCTION
    assert json.loads(question)["said"] == "(I press 5 on my keypad.)"
    assert json.loads(question)["story"][-1] == {"is_caller": False, "text": "Long"}
    events = hear(made, "asked", 2)
    assert events[0] == BargeIn()
    assert to(events, SYNTHESIS) == [{"type": "flush"}]
    assert speech(made, FINAL) == [Ignored("stale speech")]


def test_a_long_text_is_cut_at_its_spaces():
    """Into pieces of 500 characters at most, with nothing lost."""
    made = dialect()
    made.receive(said("One"))
    for text in ("word " * 300, "x" * 1200):
        pieces = [message["data"]["text"] for message in to(hear(made, "text", text=text), SYNTHESIS)]
        assert "".join(pieces).strip() == text.strip()
        assert max(map(len, pieces)) <= 500
        assert not any(piece.strip().startswith("ord") for piece in pieces)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (recognised("error", code="x", is_fatal=False, message="sk-1"), Ignored("error")),
        (recognised("error", code="x", is_fatal=True, message="sk-1"), Failed("its recognition reports an error", may_retry=True)),
        (recognised("error", code="x", is_fatal=True, message="", status_code=403), Failed("its recognition reports 403")),
        (recognised("session.end", request_id="r1"), Failed("it has ended the session", may_retry=True)),
        (recognised("transcript.partial", utterance_idx=1, text="sk"), Ignored("transcript.partial")),
        (recognised("vad.speech_end", utterance_idx=1), Ignored("vad.speech_end")),
        (recognised("pong"), Ignored("pong")),
        (Beside(SYNTHESIS, spoken("error", message="sk-1", code=422)), Failed("its synthesis reports 422")),
        (Beside(SYNTHESIS, spoken("error", message="sk-1", code=429)), Failed("its synthesis reports 429", may_retry=True)),
        (Beside(SYNTHESIS, spoken("error", message="sk-1")), Failed("its synthesis reports an error", may_retry=True)),
    ],
)  # fmt: skip
def test_other_messages_are_judged(message, expected):
    """By their kind and status; a text that may quote anything is not repeated."""
    assert dialect().receive(message) == [expected]


@pytest.mark.parametrize(
    ("code", "may_retry"), [(1000, True), (1008, True), (1011, True), (None, True), (1003, False), (4000, False)]
)
def test_no_close_is_a_goodbye(code, may_retry):
    """What can pass is tried again."""
    failed = dialect().closed(code, "sk-1")
    assert isinstance(failed, Failed)
    assert failed.may_retry is may_retry
    assert "sk-" not in failed.reason


ODD = st.one_of(
    st.text(),
    st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps),
    st.builds(
        lambda tag, kind, data: json.dumps({tag: kind, "data": data, "text": data, "number": data}),
        st.sampled_from(["event", "type", "kind"]),
        st.sampled_from(["audio", "event", "error", "transcript.final", "text", "session.begin"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.sampled_from(["audio", "code"]), st.integers()),
    ),
)


@given(st.sampled_from(["", SYNTHESIS, FUNCTION]), ODD)
def test_no_text_breaks_it(name, text):
    """From whichever of the three it comes."""
    assert isinstance(dialect().receive(Beside(name, text) if name else text), list)
    assert dialect().receive(b"\xff\0")


# --- In a call


@virtual
async def test_the_synthesis_is_kept_alive():
    """Every twenty seconds, while nothing is to be said."""
    fake = FakeSarvam(prompt("menu")[:8000])
    service, dialled = dial_kind("sarvam", [fake])
    await asyncio.sleep(65.0)
    assert fake.pings == 3
    await dialled.hung_up_on()
    await service.over()
    assert all(connection.is_closed for connection in service.connections)


@virtual
async def test_a_half_that_dies_is_a_line_that_is_lost():
    """Both are dialled again, and the function is told what was said before."""
    stories = []

    async def answer(said: str, story: list[Transcript]) -> str:
        stories.append([one.text for one in story])
        return "Yes."

    fakes = [FakeSarvam(prompt("menu")[:8000]), FakeSarvam(prompt("menu")[:8000])]
    left = [fakes[0], fakes[0], fakes[1], fakes[1]]

    async def serve(connection):
        await left.pop(0).serve(connection)

    service = Service(serve)
    settings = SarvamSettings(answer="x:y", greeting="Hello!")
    dialled = dial_leg(service, SarvamDialect, settings, plan={"answering": Answering(answer, HandlerLoop.main(), 5.0)})
    await asyncio.sleep(2.0)
    fakes[0].respond()
    await asyncio.sleep(2.0)
    service.connections[1].lose()
    await until(lambda: len(service.connections) == 4, step_seconds=0.1)
    assert service.connections[0].is_closed
    await asyncio.sleep(0.5)
    fakes[1].respond()
    await until(lambda: dialled.platform.heard().count(prompt("menu")[:8000]) == 3, step_seconds=0.1)
    assert stories == [["Hello!"], ["Hello!", "Something.", "Yes."]]
    assert fakes[1].greetings == 0
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_one_that_is_refused_is_apologised_for():
    """Whichever it is; nothing stays open."""
    fake = FakeSarvam(b"")
    service, dialled = dial_kind("sarvam", [fake])
    service.refusals.append(DialError("it answered with HTTP status 403, so the key is not allowed this"))
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert dialled.peer.audio.count(prompt("apology")) == 1
    assert all(connection.is_closed for connection in service.connections)


@virtual
async def test_a_function_that_fails_in_a_call():
    """The caller is asked to say it again."""

    async def broken(said: str) -> str:
        raise RuntimeError(said)

    fake = FakeSarvam(prompt("menu")[:8000])
    service = Service(fake.serve)
    settings = SarvamSettings(answer="x:y", sorry="Again, please?")
    dialled = dial_leg(service, SarvamDialect, settings, plan={"answering": Answering(broken, HandlerLoop.main(), 5.0)})
    await asyncio.sleep(0.5)
    fake.respond()
    await until(lambda: prompt("menu")[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert fake.texts == ["Again, please?"]
    await dialled.hung_up_on()
    await service.over()
