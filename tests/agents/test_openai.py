"""OpenAI's dialect: by values, and in a call with a played service, all of it checked with the vendor's own types."""

import asyncio
import random

import pytest

from agents.fake_openai import FakeOpenAI, check_client, server_event
from agents.support import FACTS, LOOK_UP, Service, dial_leg
from calls.support import Dialled, speech, until
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import (
    Answer,
    BargeIn,
    Failed,
    GoAway,
    Ignored,
    Ready,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.openai import MAX_ITEMS, OpenAIDialect
from smartflo_bridge.agents.openai_session import OpenAISettings
from smartflo_bridge.agents.tools import HANG_UP, Tools
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

VOICE = prompt("menu")


def dialect(opening: Opening | None = None, **keys: object) -> OpenAIDialect:
    """Return a session whose configuration was accepted."""
    made = OpenAIDialect(OpenAISettings(**keys), opening or Opening(FACTS, "sk-1"))
    made.receive(server_event("session.created", session={"type": "realtime"}))
    return made


def updated(kind: str = "audio/pcmu") -> str:
    """Return the echo of the configuration."""
    output = {"format": {"type": kind}}
    return server_event("session.updated", session={"type": "realtime", "audio": {"output": output}})


def delta(response: str, item: str = "item_1", audio: str = "////", content: int = 0) -> str:
    """Return a piece of speech."""
    return server_event(
        "response.output_audio.delta",
        response_id=response,
        item_id=item,
        output_index=0,
        content_index=content,
        delta=audio,
    )


def response(kind: str, identity: str, **members: object) -> str:
    """Return the beginning or end of a response."""
    return server_event(kind, response={"id": identity, **members})


# --- By values


def test_the_address_has_the_model_and_the_key_is_in_the_header_only():
    """Also where the address has a query already."""
    endpoint = dialect().endpoint(None)
    assert endpoint.url == "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    assert endpoint.headers == {"Authorization": "Bearer sk-1"}
    made = dialect(url="wss://example.org/v1?api-version=1", model="a b")
    assert made.endpoint(None).url == "wss://example.org/v1?api-version=1&model=a%20b"


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"format": "pcm16", "noise_reduction": "near_field", "transcription_model": ""},
        {"turn_detection": "semantic_vad", "eagerness": "high", "language": "hi", "instructions": "Be brief."},
        {"threshold": 0.9, "silence_ms": 700, "noise_reduction": "far_field", "voice": "cedar"},
    ],
)
def test_the_configuration_is_one_that_the_service_takes(keys):
    """Every choice is a message of the vendor's types, and arrives where it belongs."""
    settings = OpenAISettings(**keys)
    made = OpenAIDialect(settings, Opening(FACTS, "sk-1", tools=(LOOK_UP, HANG_UP)))
    (answer,) = made.receive(server_event("session.created", session={"type": "realtime"}))
    assert isinstance(answer, Answer)
    session = check_client(answer.message).session
    wire = "audio/pcmu" if settings.format == "mulaw" else "audio/pcm"
    assert (session.audio.input.format.type, session.audio.output.format.type) == (wire, wire)
    assert session.audio.output.voice == settings.voice
    assert session.audio.input.turn_detection.type == settings.turn_detection
    assert [tool.name for tool in session.tools] == ["look_up", "hang_up"]
    assert session.instructions.startswith(settings.instructions)
    assert '{"from":"+911","order":"17"}' in session.instructions


def test_it_is_ready_when_the_configuration_was_taken():
    """Then it greets, unless the caller has been greeted already; what was said before is told."""
    events = dialect(greeting="Hello!").receive(updated())
    assert events[:2] == [Ready(), GoAway(3600)]
    (greeting,) = events[2:]
    assert "Hello!" in check_client(greeting.message).response.instructions
    again = Opening(
        FACTS, is_first=False, said=(Transcript(is_caller=True, text="Hi"), Transcript(is_caller=False, text="Yes?"))
    )
    events = dialect(again, greeting="Hello!").receive(updated())
    items = [check_client(event.message).item for event in events[2:]]
    assert [(item.role, item.content[0].type, item.content[0].text) for item in items] == [
        ("user", "input_text", "Hi"),
        ("assistant", "output_text", "Yes?"),
    ]


def test_a_service_that_speaks_another_format_is_refused():
    """Before it has said anything."""
    (failed,) = dialect().receive(updated("audio/pcm"))
    assert failed == Failed("it speaks audio/pcm instead of audio/pcmu")
    assert dialect(format="pcm16").receive(updated("audio/pcm"))[0] == Ready()


def test_speech_of_a_stopped_response_is_dropped():
    """By the response's id, until the next one; of that, all is returned."""
    made = dialect()
    made.receive(response("response.created", "r1"))
    assert made.receive(delta("r1")) == [Speech(b"\xff\xff\xff", "item_1")]
    started = server_event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c")
    assert made.receive(started) == [BargeIn()]
    assert made.receive(delta("r1")) == [Ignored("stale speech")]
    assert made.receive(response("response.done", "r1", status="cancelled")) == []
    made.receive(response("response.created", "r2"))
    assert made.receive(delta("r2", "item_2")) == [Speech(b"\xff\xff\xff", "item_2")]
    assert made.receive(response("response.done", "r2", status="completed", output=[])) == [SpeechDone()]


def test_our_own_interrupt_cancels_the_response_that_is_made():
    """And only then: cancelling nothing is an error there."""
    made = dialect()
    assert made.interrupt() == []
    made.receive(response("response.created", "r1"))
    (cancel,) = made.interrupt()
    assert check_client(cancel).type == "response.cancel"
    assert made.receive(delta("r1")) == [Ignored("stale speech")]


def test_what_was_heard_is_a_truncation():
    """Of items of the service; a prompt of ours has none."""
    made = dialect()
    made.receive(delta("r1", "item_7"))
    (truncate,) = made.tell_heard("item_7", 1230)
    event = check_client(truncate)
    assert (event.item_id, event.content_index, event.audio_end_ms) == ("item_7", 0, 1230)
    assert made.tell_heard("", 500) == []


def test_a_truncation_names_the_content():
    """That of its item, where it is not the first; of the latest items only: a service may name as many as it likes."""
    made = dialect()
    for number in range(MAX_ITEMS + 1):
        made.receive(delta("r1", f"item_{number}", content=1 + number % 2))
    indices = [check_client(made.tell_heard(f"item_{number}", 10)[0]).content_index for number in (0, 1, MAX_ITEMS)]
    assert indices == [0, 2, 1]


def test_functions_are_called_when_the_response_is_complete():
    """One result each; the answer is asked for when the last is there, and not while another response is made."""
    made = dialect()
    calls = [
        {"type": "function_call", "call_id": f"call_{number}", "name": "look_up", "arguments": '{"order":"17"}'}
        for number in (1, 2)
    ]
    made.receive(response("response.created", "r1"))
    done = made.receive(response("response.done", "r1", status="completed", output=calls))
    assert done == [SpeechDone(), *(ToolCall(call["call_id"], "look_up", '{"order":"17"}') for call in calls)]
    (first,) = made.tool_result("call_2", "{}")
    assert check_client(first).item.call_id == "call_2"
    made.receive(response("response.created", "r2"))
    (second,) = made.tool_result("call_1", "{}")
    assert check_client(second).item.output == "{}"
    late = made.receive(response("response.done", "r2", status="completed", output=[]))
    assert check_client(late[-1].message).type == "response.create"


def test_a_key_is_said_in_words():
    """And answered."""
    said, ask = dialect().press("5")
    assert "5" in check_client(said).item.content[0].text
    assert check_client(ask).type == "response.create"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("session_expired", Failed("it reports session_expired", may_retry=True)),
        ("rate_limit_exceeded", Failed("it reports rate_limit_exceeded", may_retry=True)),
        ("invalid_api_key", Failed("it reports invalid_api_key")),
        ("insufficient_quota", Failed("it reports insufficient_quota")),
        ("item_truncate_invalid", Ignored("error item_truncate_invalid")),
        ("sk-12345 SECRET", Ignored("error invalid_request_error")),
        (None, Ignored("error invalid_request_error")),
    ],
)
def test_errors_are_judged_by_their_codes(code, expected):
    """Their text, which may quote a key or what a person said, is never repeated."""
    error = {"type": "invalid_request_error", "code": code, "message": "Incorrect API key provided: sk-12345"}
    assert dialect().receive(server_event("error", error=error)) == [expected]


def test_a_response_that_failed_is_a_failure():
    """With the code of its error."""
    details = {"type": "failed", "error": {"type": "server_error", "code": "insufficient_quota"}}
    failed = dialect().receive(response("response.done", "r1", status="failed", status_details=details))
    assert failed == [SpeechDone(), Failed("it reports insufficient_quota", may_retry=True)]


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "5", b"\xff\xfe", "[" * 50_000, '{"type":5}', '{"type":"response.output_audio.delta"}', "{}",
     '{"type":"response.done","response":[]}', '{"type":"response.done","response":{"output":5}}',
     '{"type":"response.done","response":{"output":[5,{"type":"function_call"}]}}', '{"type":"error","error":"x"}', '{"type":"session.updated"}'],
)  # fmt: skip
def test_no_message_breaks_it(message):
    """Whatever comes, it returns events."""
    assert dialect().receive(message)


# --- In a call


def dial(fakes: list[FakeOpenAI], *, keys: dict | None = None, plan: dict | None = None) -> tuple[Service, Dialled]:
    """Return a call to an agent; each connection is served by the next of the fakes."""
    left = list(fakes)

    async def serve(connection):
        await left.pop(0).serve(connection)

    service = Service(serve)
    return service, dial_leg(service, OpenAIDialect, OpenAISettings(**(keys or {})), plan=plan)


@virtual
async def test_a_greeting_and_a_turn():
    """The greeting is heard whole, the caller's bytes arrive as they are, and an answer is heard after it."""
    fake = FakeOpenAI(VOICE[:16000])
    service, dialled = dial([fake], keys={"greeting": "Hello!"})
    await until(lambda: dialled.platform.heard().count(VOICE[:16000]) == 1, step_seconds=0.1)
    caller = speech(1.0)
    await dialled.platform.talk(caller)
    fake.respond()
    await until(lambda: dialled.platform.heard().count(VOICE[:16000]) == 2, step_seconds=0.1)
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert caller in bytes(fake.heard)
    await service.over()


@virtual
async def test_a_thousand_barge_ins():
    """At random moments: each silences the call at once, nothing of the old response follows, and what was heard is told.

    Each response has speech of its own, so that a byte of the wrong one shows.
    """
    rng = random.Random(6)
    fake = FakeOpenAI(b"")
    service, dialled = dial([fake], keys={"answer_seconds": 0})
    await asyncio.sleep(0.1)
    peer, clears = dialled.peer, 0
    for number in range(1000):
        fake._speech = bytes([0x90 + number % 64]) * 24000
        fake._delta_bytes = rng.choice([160, 333, 1000, 4000, 24000])
        told, sent = len(fake.truncated), len(peer.sent)
        fake.respond()
        await asyncio.sleep(rng.uniform(0.01, 2.0))
        fake.caller_speaks()
        await asyncio.sleep(0.02)
        after = [str(message).split(" ")[0] for message in peer.sent[sent:]]
        heard_anything = any(name == "media" for name in after)
        if heard_anything:
            clears += 1
            assert after[-1] == "clear"
            assert len(fake.truncated) == told + 1
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        assert [str(message).split(" ")[0] for message in peer.sent[sent:]] == after, "speech after a clear"
        audio = b"".join(message.audio for message in peer.sent[sent:])
        assert set(audio) <= {0x90 + number % 64, 0xFF}, "of another response"
    assert clears > 900
    assert sum(str(message) == "clear" for message in peer.sent) == clears
    session = await dialled.hung_up_on()
    assert session.ledger.balanced
    await service.over()


@virtual
async def test_what_is_told_as_heard_is_what_was_heard():
    """The ms of each truncation are the playout clock's, within a packet."""
    rng = random.Random(7)
    fake = FakeOpenAI(VOICE[:32000], delta_bytes=1234)
    service, dialled = dial([fake])
    await asyncio.sleep(0.1)
    for _ in range(40):
        fake.respond()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(rng.uniform(0.1, 3.0))
        fake.caller_speaks()
        played_ms = (asyncio.get_running_loop().time() - began) * 1000
        await asyncio.sleep(0.5)
        assert fake.truncated[-1][1] == pytest.approx(played_ms, abs=60)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_function_is_called_and_answered():
    """It gets its arguments and the call, its result goes back, and the agent speaks about it."""
    asked = []

    async def look_up(call: CallFacts, order: str) -> dict[str, str]:
        """Look up an order."""
        asked.append((call.custom_parameters, order))
        return {"state": "sent"}

    tools = Tools({"look_up": look_up}, HandlerLoop.main(), 5.0)
    fake = FakeOpenAI(VOICE[:8000], calls=({"call_id": "c1", "name": "look_up", "arguments": '{"order":"17"}'},))
    service, dialled = dial([fake], plan={"tools": tools})
    await asyncio.sleep(0.1)
    fake.respond()
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert [tool.name for tool in fake.session.tools] == ["look_up"]
    assert asked == [({}, "17")]
    assert fake.outputs == [("c1", '{"state":"sent"}')]
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_the_agent_hangs_up():
    """When the caller has heard its goodbye, to the end."""
    fake = FakeOpenAI(VOICE[:16000])
    service, dialled = dial([fake], plan={"may_hang_up": True})
    await asyncio.sleep(0.1)
    fake.respond()
    await asyncio.sleep(0.5)
    fake._calls = [{"call_id": "c1", "name": "hang_up", "arguments": "{}"}]
    fake.respond()
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert VOICE[:16000] in dialled.platform.heard()
    await service.over()


@virtual
async def test_a_session_is_renewed_before_it_expires():
    """After nearly an hour another one takes over in a quiet moment, is not greeted in, and knows what was said."""
    fakes = [FakeOpenAI(VOICE[:8000]), FakeOpenAI(VOICE[:8000])]
    service, dialled = dial(fakes, keys={"greeting": "Hello!", "answer_seconds": 0})
    for _ in range(3590):
        dialled.platform.speak(b"\xff" * 800)
        await asyncio.sleep(1.0)
    assert len(service.connections) == 2
    first, second = service.connections
    assert first.is_closed
    assert not second.is_closed
    assert fakes[1].said == [("assistant", "What the agent said.")]
    assert fakes[1].created == []
    dialled.platform.speak(speech(0.1))
    await asyncio.sleep(0.1)
    assert bytes(fakes[1].heard).endswith(speech(0.1))
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_an_agent_that_says_nothing_is_lost():
    """It listens, and that is all it does: after the caller's words it has its time, and is then dialled again."""
    fakes = [FakeOpenAI(b""), FakeOpenAI(b"")]
    service, dialled = dial(fakes, keys={"answer_seconds": 4})
    await asyncio.sleep(0.1)
    await dialled.platform.talk(b"\xff" * 4000 + prompt("goodbye") + b"\xff" * 48000)
    assert len(service.connections) == 2
    await dialled.hung_up_on()
    await service.over()


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("way", ["dies", "expires", "closes with 1011", "has no money", "is told another key"])
@virtual
async def test_it_fails_at_any_moment(moment, way):
    """What can pass is tried again, and goes on; what cannot is apologised for, once."""
    fakes = [FakeOpenAI(VOICE[:16000]), FakeOpenAI(VOICE[:16000])]
    service, dialled = dial(fakes, keys={"greeting": "Hello!"})
    await until(lambda: service.connections)
    await asyncio.sleep(moment)
    connection = service.connections[0]
    match way:
        case "dies":
            connection.lose()
        case "closes with 1011":
            connection.lose(1011, "keepalive timeout")
        case "expires":
            fakes[0].fail("session_expired")
        case "has no money":
            fakes[0].fail("insufficient_quota")
        case _:
            fakes[0].fail("invalid_api_key")
    await asyncio.sleep(0.5)
    if way in ("has no money", "is told another key"):
        session = await dialled.over(fails=True)
        assert session.termination is Termination.AGENT_LOST
        assert dialled.peer.audio.count(prompt("apology")) == 1
        assert isinstance(dialled.handler_error, Exception)
        assert "sk-" not in str(dialled.handler_error)
    else:
        assert len(service.connections) == 2
        fakes[1].respond()
        await until(lambda: fakes[1].made and VOICE[:16000] in dialled.platform.heard(), step_seconds=0.1)
        await dialled.hung_up_on()
        assert prompt("apology") not in dialled.peer.audio
    await service.over()


@virtual
async def test_another_session_is_not_told_of_the_first_one_s_speech():
    """The caller talks over what is left of it: it is silenced, and the new session has nothing to truncate."""
    fakes = [FakeOpenAI(VOICE[:32000]), FakeOpenAI(VOICE[:8000])]
    service, dialled = dial(fakes, keys={"greeting": "Hello!"})
    await asyncio.sleep(1.0)
    service.connection.lose()
    await asyncio.sleep(0.5)
    fakes[1].caller_speaks()
    await asyncio.sleep(0.1)
    assert dialled.peer.transcript[-1] == "clear"
    assert fakes[1].truncated == []
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_full_second_of_refusals_is_explained():
    """Refused for a second and a half, then served: the caller is told to wait, and then greeted."""
    fake = FakeOpenAI(VOICE[:8000])
    service, dialled = dial([fake], keys={"greeting": "Hello!"})
    service.refusals.extend(
        [DialError("it answered with HTTP status 503", may_retry=True, retry_after_seconds=0.8)] * 2
    )
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert dialled.peer.audio.startswith(prompt("one-moment"))
    await dialled.hung_up_on()
    await service.over()
