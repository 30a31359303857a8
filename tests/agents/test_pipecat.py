"""Pipecat's dialect, by values; both ways, they pass through pipecat's own serializer and models. See `fake_pipecat`."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fake_pipecat import FakePipecat, pipecat_types
from agents.played_calls import dial_kind
from calls.support import speech, until
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import BargeIn, Failed, HangUpAsked, Ignored, Ready, Speech, SpeechDone, Transcript
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.pipecat import PipecatDialect, PipecatSettings
from smartflo_bridge.agents.protobuf import bytes_field, number_field
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

FACTS = CallFacts("MZ1", "CA1", direction="inbound", from_number="+911", custom_parameters={"order": "17"})
STOPPED = "BotStoppedSpeakingMessage"


@pytest.fixture(scope="module")
def types():
    """Pipecat's own code."""
    return pipecat_types()


def dialect(opening: Opening | None = None, **keys: object) -> PipecatDialect:
    """Return a connection."""
    return PipecatDialect(PipecatSettings(url="ws://127.0.0.1:8765", **keys), opening or Opening(FACTS, "token-1"))


def audio(types, *, pcm: bytes = b"\1\0" * 160, rate: int = 24000, channels: int = 1) -> bytes:
    """Return a piece of a bot's speech."""
    return types.make("audio", audio=pcm.hex(), rate=rate, channels=channels)


def test_the_token_is_in_the_header_only():
    """And there is no header without one."""
    endpoint = dialect().endpoint(None)
    assert (endpoint.url, endpoint.headers) == ("ws://127.0.0.1:8765", {"Authorization": "Bearer token-1"})
    assert dialect(Opening(FACTS)).endpoint(None).headers == {}


def test_what_the_bot_is_told_first(types):
    """That a client is ready, and what the configuration lets it know of the call; absent facts are left out."""
    ready, call = (types.take(message) for message in dialect().opening())
    assert (ready["type"], ready["data"]["version"]) == ("client-ready", "2.2.0")
    assert call["data"] == {
        "t": "call",
        "d": {"call": "CA1", "direction": "inbound", "from": "+911", "custom": {"order": "17"}, "resumed": False},
    }
    _, again = (types.take(message) for message in dialect(Opening(CallFacts("MZ1"), is_first=False)).opening())
    assert again["data"]["d"] == {"custom": {}, "resumed": True}


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_caller_is_heard_at_the_configured_rate(types, rate):
    """Byte for byte, whatever the length."""
    made = dialect(input_rate_hz=rate)
    assert made.hears == AudioFormat("pcm", rate)
    assert made.hear(b"") == []
    for size in (2, 126, 128, 1600, 40_000):
        (message,) = made.hear(bytes(range(256)) * 200)[:1] if size == 40_000 else made.hear(bytes(size))
        found = types.take(message)
        assert (found["kind"], found["rate"], found["channels"]) == ("audio", rate, 1)
        assert bytes.fromhex(found["audio"]) == (bytes(range(256)) * 200 if size == 40_000 else bytes(size))


def test_a_key_is_a_key(types):
    """As a telephony transport of pipecat's would have it; what it does not know as one is kept."""
    for digit in "0123456789*#":
        (message,) = dialect().press(digit)
        found = types.take(message)
        assert (found["type"], found["data"]) == ("dtmf", {"buttons": [digit]})
    assert dialect().press("A") == []


def test_speech_is_in_the_format_that_its_frames_name(types):
    """Which is announced when it changes, and refused if it is none that we can play."""
    made = dialect()
    assert made.receive(audio(types)) == [Speech(b"\1\0" * 160)]
    assert made.receive(audio(types, rate=16000)) == [Ready(AudioFormat("pcm", 16000)), Speech(b"\1\0" * 160)]
    assert made.receive(audio(types, rate=16000)) == [Speech(b"\1\0" * 160)]
    for bad in ({"rate": 4000}, {"rate": 96000}, {"channels": 2}):
        (failed,) = made.receive(audio(types, **bad))
        assert isinstance(failed, Failed)
        assert not failed.may_retry


@pytest.mark.parametrize("interruptions", ["frames", "rtvi", "bridge"])
def test_an_interruption_is_a_barge_in(types, interruptions):
    """Whatever is configured: what is played is not the bot's any more. What comes after it is new."""
    made = dialect(interruptions=interruptions)
    assert made.notices_barge_in is (interruptions != "bridge")
    assert made.receive(types.make("interruption")) == [BargeIn()]
    assert made.receive(audio(types)) == [Speech(b"\1\0" * 160)]


def test_an_old_bot_says_so_in_words(types):
    """Only where that is configured: others let the caller speak over them on purpose. What was on its way is dropped."""
    started, interrupted = (types.rtvi(f"{name}Message") for name in ("UserStartedSpeaking", "BotInterrupted"))
    made = dialect()
    assert made.receive(started) == [Ignored("user-started-speaking")]
    assert made.receive(interrupted) == [Ignored("bot-interrupted")]
    made = dialect(interruptions="rtvi")
    assert made.receive(started) == [BargeIn()]
    assert made.receive(audio(types)) == [Ignored("stale speech")]
    assert made.receive(interrupted) == [Ignored("interruption")]
    assert made.receive(types.rtvi(STOPPED)) == [SpeechDone()]
    assert made.receive(audio(types)) == [Speech(b"\1\0" * 160)]


def test_our_own_interrupt_is_a_frame_that_the_bot_obeys(types):
    """Until it says so, its speech is stale; one that never says so is heard again after a second of it."""
    made = dialect()
    (message,) = made.interrupt()
    assert types.take(message) == {"kind": "interruption"}
    assert made.receive(audio(types)) == [Ignored("stale speech")]
    assert made.receive(types.make("interruption")) == [Ignored("interruption")]
    assert made.receive(audio(types)) == [Speech(b"\1\0" * 160)]
    made.interrupt()
    second = audio(types, pcm=bytes(4800))
    taken = [made.receive(second)[0] for _ in range(12)]
    assert taken == [Ignored("stale speech")] * 10 + [Speech(bytes(4800))] * 2
    made.interrupt()
    assert made.receive(types.rtvi("BotStartedSpeakingMessage")) == [Ignored("bot-started-speaking")]
    assert made.receive(second) == [Speech(bytes(4800))]


def test_what_was_said_is_written_down(types):
    """When it is final; everything else is passed over under its name."""
    said = {"text": "Hello", "timestamp": "t", "input_type": "transcription"}
    spoken = {"text": "Yes?", "output_type": "sentence", "will_be_spoken": True}
    made = dialect()
    cases = [
        ("UserInputMessage", {**said, "final": True}, Transcript(is_caller=True, text="Hello")),
        ("UserInputMessage", {**said, "final": False}, Ignored("user-input")),
        ("BotOutputMessage", {**spoken, "spoken_status": "completed"}, Transcript(is_caller=False, text="Yes?")),
        ("BotOutputMessage", {**spoken, "spoken_status": "new"}, Ignored("bot-output")),
        ("ServerMessage", {"x": 1}, Ignored("server-message")),
        ("Error", {"error": "sk-12345 is wrong", "fatal": False}, Ignored("error")),
        ("Error", {"error": "sk-12345", "fatal": True}, Failed("it reports a fatal error", may_retry=True)),
    ]
    for model, data, expected in cases:
        assert made.receive(types.rtvi(model, data=data)) == [expected], model
    assert made.receive(types.make("text", text="Hi")) == [Ignored("text")]
    assert made.receive(types.make("transcription", text="Hi")) == [Ignored("transcription")]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, HangUpAsked()),
        (1001, HangUpAsked()),
        (1013, Failed("it serves one caller at a time, and has one", may_retry=True)),
        (4003, Failed("it does not accept the token")),
        (1011, Failed("connection closed with 1011", may_retry=True)),
        (None, Failed("connection lost", may_retry=True)),
    ],
)
def test_a_bot_that_ends_has_hung_up(code, expected):
    """A pipeline's end closes the server with 1001; other codes say what is wrong."""
    assert dialect().closed(code, "sk-12345") == expected


@pytest.mark.parametrize(
    "message",
    [
        "", "{}", b"", b"\x12", b"\x12\x7f", b"\x32\0", b"\x0a\2\x0f\xff", b"\x22\0", number_field(2, 5),
        bytes_field(2, number_field(3, 5)), bytes_field(2, bytes_field(4, b"x")), bytes_field(2, bytes_field(5, b"x")),
        bytes_field(4, number_field(1, 5)), bytes_field(4, bytes_field(1, b"\xff")), bytes_field(4, bytes_field(1, b"[]")),
        bytes_field(4, bytes_field(1, b'{"label":"rtvi-ai","type":5}')), bytes_field(4, bytes_field(1, b"[" * 50_000)),
        bytes_field(4, bytes_field(1, b'{"label":"rtvi-ai","type":"user-input","data":[]}')),
    ],
)  # fmt: skip
def test_no_message_breaks_it(message):
    """Whatever comes, it returns events."""
    (event,) = dialect().receive(message)
    assert isinstance(event, Ignored)


def test_what_a_bot_may_say_beside_the_protocol_is_not_held_against_it():
    """A frame of a later pipecat, and a message of its own that is not RTVI, are known to be none of ours."""
    assert dialect().receive(bytes_field(9, b"")) == [Ignored("unknown")]
    assert dialect().receive(bytes_field(4, bytes_field(1, b'{"type":"own"}'))) == [Ignored("message")]
    assert dialect().receive(bytes_field(4, bytes_field(1, b"{"))) == [Ignored("malformed")]


@given(st.one_of(st.binary(), st.builds(bytes_field, st.integers(1, 6), st.binary())))
def test_no_bytes_break_it(message):
    """Nor any others."""
    assert dialect().receive(message)


# --- In a call


@virtual
async def test_an_old_bot_is_silenced_a_hundred_times():
    """By RTVI alone, at random moments, with what it had sent already still on its way."""
    rng = random.Random(8)
    fake = FakePipecat(b"")
    fake.notice_caller = lambda is_over, late: [  # type: ignore[method-assign]
        fake._say("UserStartedSpeakingMessage", fields={}),
        *(fake.speak(piece) for piece in late),
        fake._say(STOPPED, fields={}),
    ]
    service, dialled = dial_kind("pipecat", [fake], {"interruptions": "rtvi"})
    await asyncio.sleep(0.1)
    for number in range(100):
        fake.speech = bytes([0x90 + number % 64]) * 24000
        sent = len(dialled.peer.sent)
        fake.respond()
        await asyncio.sleep(rng.uniform(0.3, 2.0))
        fake.caller_speaks()
        await asyncio.sleep(0.02)
        after = len(dialled.peer.sent)
        assert str(dialled.peer.sent[-1]).startswith("clear")
        await asyncio.sleep(0.3)
        assert len(dialled.peer.sent) == after, "speech after a clear"
        audio = b"".join(message.audio for message in dialled.peer.sent[sent:])
        assert set(audio) <= {0x90 + number % 64, 0xFF}
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_the_bridge_listens_for_a_bot_that_does_not():
    """Its own detector hears the caller, the bot is told to stop, and what it says next is heard."""
    voice = prompt("menu")
    fake = FakePipecat(voice)
    service, dialled = dial_kind("pipecat", [fake], {"interruptions": "bridge"})
    await asyncio.sleep(1.0)
    await dialled.platform.talk(speech(0.2) + prompt("goodbye")[:8000])
    assert [str(message).split(" ")[0] for message in dialled.peer.sent].count("clear") == 1
    fake.speech = prompt("greeting")[:8000]
    fake.respond()
    await until(lambda: fake.speech in dialled.platform.heard(), step_seconds=0.1)
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    await service.over()
