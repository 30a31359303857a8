"""The leg of a call, on a virtual clock, with a service in memory that speaks our own protocol."""

import asyncio
import json

import pytest

from agents.support import MemoryConnection, Service, dial_leg
from calls.support import speech, until
from smartflo_bridge.agents.events import LegEvent, Ready, Speech
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.hearing import MAX_KEYS
from smartflo_bridge.agents.leg import serve_with
from smartflo_bridge.agents.message import Message
from smartflo_bridge.agents.notices import Notices
from smartflo_bridge.agents.plan import LegPlan
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from smartflo_bridge.calls.call import Call
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.resampling import Resampler
from smartflo_bridge.handlers.ivr import ivr, prompt
from virtual_clock import virtual

URL = "ws://127.0.0.1:9/agent"
SETTINGS = RawSettings(url=URL)
VOICE = prompt("menu")
REFUSED = DialError("it cannot be reached: Connection refused", may_retry=True)


def heard(dialled, audio: bytes) -> bool:
    """Return whether the caller has heard it, whole and without a gap."""
    return audio in dialled.platform.heard()


def kinds(connection: MemoryConnection) -> list[str]:
    """Return the types of the texts that the bridge has sent."""
    return [text["type"] for text in connection.texts()]


async def idle(connection: MemoryConnection) -> None:
    """Serve by listening only."""
    while await connection.hear() is not None:
        pass


async def speaks(connection: MemoryConnection) -> None:
    """Say the menu at once, faster than real time, and listen."""
    for at in range(0, len(VOICE), 1000):
        connection.say(VOICE[at : at + 1000])
    connection.say({"type": "done"})
    await idle(connection)


@virtual
async def test_audio_goes_both_ways_untouched():
    """The caller's bytes reach the service, the service's the caller, in their order and whole."""
    service = Service(speaks)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    caller = speech(2.0)
    await dialled.platform.talk(caller)
    await until(lambda: heard(dialled, VOICE), step_seconds=0.1)
    session = await dialled.hung_up_on()
    await service.over()
    sent = service.connection.sent
    assert b"".join(message for message in sent if isinstance(message, bytes)) == caller
    assert kinds(service.connection)[0] == "start"
    assert kinds(service.connection)[-1] == "stop"
    assert session.termination is Termination.COMPLETED


@virtual
async def test_the_line_is_closed_with_the_call():
    """Within a second, after a last word."""
    service = Service(idle)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(1.0)
    dialled.platform.stop()
    stopped_at = asyncio.get_running_loop().time()
    await dialled.over()
    assert service.connection.closed_at - stopped_at < 1.0
    await service.over()


@virtual
async def test_pcm_is_resampled_both_ways():
    """At 16 kHz: what the service hears and what the caller hears are what the resampler makes, whatever the cuts."""

    async def serve(connection: MemoryConnection) -> None:
        pcm = Resampler(8000, 16000).convert(ulaw_to_pcm(VOICE))
        for at in range(0, len(pcm), 777):
            connection.say(pcm[at : at + 777])
        connection.say({"type": "done"})
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, RawSettings(url=URL, format="pcm16;16000"))
    caller = speech(1.0)
    await dialled.platform.talk(caller)
    await asyncio.sleep(len(VOICE) / 8000 + 0.5)
    await dialled.hung_up_on()
    await service.over()
    pcm = b"".join(message for message in service.connection.sent if isinstance(message, bytes))
    assert pcm == Resampler(8000, 16000).convert(ulaw_to_pcm(caller))
    assert abs(len(dialled.peer.audio) - len(VOICE)) <= 160 + 24


@virtual
async def test_a_barge_in_clears_and_tells_what_was_heard():
    """The service says clear; nothing of the old speech follows, and it is told the ms that the caller had heard."""
    service = Service(speaks)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(2.0)
    service.connection.say({"type": "clear"})
    await asyncio.sleep(0.1)
    assert dialled.peer.transcript[-1] == "clear"
    await asyncio.sleep(3.0)
    assert dialled.peer.transcript[-1] == "clear"
    told = [text for text in service.connection.texts() if text["type"] == "cleared"]
    assert len(told) == 1
    assert told[0]["heard_ms"] == pytest.approx(2000, abs=25)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_what_was_heard_is_counted_over_a_pause():
    """A service that stops for breath within what it says: the ms before the pause count."""

    async def serve(connection: MemoryConnection) -> None:
        connection.say(VOICE[:8000])
        await asyncio.sleep(2.0)
        connection.say(VOICE[8000:24000])
        await asyncio.sleep(0.5)
        connection.say({"type": "clear"})
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(4.0)
    (told,) = [text for text in service.connection.texts() if text["type"] == "cleared"]
    assert told["heard_ms"] == pytest.approx(1500, abs=45)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_marks_come_back_when_they_were_heard_and_at_once_when_cleared():
    """In their order, each with what became of it; and a mark in the middle of speech puts no silence into it."""

    async def serve(connection: MemoryConnection) -> None:
        for number, at in enumerate(range(0, 8000, 1001)):
            connection.say(VOICE[at : at + 1001])
            connection.say({"type": "mark", "name": f"piece {number}"})
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(0.6)
    service.connection.say({"type": "clear"})
    await asyncio.sleep(0.2)
    marks = [text for text in service.connection.texts() if text["type"] == "mark"]
    assert [mark["name"] for mark in marks] == [f"piece {number}" for number in range(8)]
    played = [mark["played"] for mark in marks]
    assert played == sorted(played, reverse=True)
    assert 2 <= sum(played) <= 5
    assert dialled.peer.audio in VOICE
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_keys_and_speech_are_told():
    """A key, and where the caller's speech begins and ends, as we hear it."""
    service = Service(idle)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(0.1)
    dialled.platform.press("5")
    await dialled.platform.talk(b"\xff" * 4000 + prompt("goodbye") + b"\xff" * 8000)
    texts = [text for text in service.connection.texts() if text["type"] != "start"]
    assert [text["type"] for text in texts] == ["dtmf", "speech_start", "speech_end"]
    assert texts[0]["digit"] == "5"
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_goodbye_is_never_cut():
    """The service hangs up, or closes its connection, right behind its speech: the caller hears all of it first."""
    for last in ({"type": "hang_up"}, None):

        async def serve(connection: MemoryConnection, last=last) -> None:
            connection.say(VOICE[:16000])
            if last:
                connection.say(last)
            else:
                connection.lose(1000)

        service = Service(serve)
        dialled = dial_leg(service, RawDialect, SETTINGS)
        session = await dialled.over()
        assert session.termination is Termination.HUNG_UP
        assert heard(dialled, VOICE[:16000])
        await service.over()


@virtual
async def test_the_service_is_told_only_what_the_configuration_allows():
    """Numbers and custom parameters stay here unless they are named."""
    for settings, told in (
        (SETTINGS, {}),
        (
            RawSettings(url=URL, numbers=True, parameters=["order", "missing"]),
            {"order": "17"},
        ),
    ):
        service = Service(idle)
        start = {"customParameters": {"order": "17", "secret": "x"}}
        dialled = dial_leg(service, RawDialect, settings, start=start)
        await asyncio.sleep(0.1)
        said = service.connection.texts()[0]
        assert said["custom"] == told
        assert ("from" in said, "to" in said) == (settings.numbers, settings.numbers)
        assert "secret" not in json.dumps(said)
        await dialled.hung_up_on()
        await service.over()


# --- Trouble


@virtual
async def test_a_refused_service_is_tried_again_then_apologised_for_once():
    """Four tries with growing pauses, a word to the caller after a second, one apology, and a polite end within budget."""
    service = Service(refusals=(REFUSED,) * 9)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert dialled.peer.closed == (1000, "")
    began = service.dialled_at[0]
    pauses = [at - began for at in service.dialled_at]
    assert len(pauses) == 4
    assert pauses[1:] == [pytest.approx(0.2, abs=0.06), pytest.approx(0.7, abs=0.2), pytest.approx(1.7, abs=0.5)]
    said = dialled.peer.audio
    assert said.count(prompt("apology")) == 1
    assert said == prompt("one-moment") + prompt("apology")


@virtual
async def test_a_refusal_that_will_not_change_is_not_tried_again():
    """A wrong key is told from a busy server."""
    service = Service(refusals=(DialError("it answered with HTTP status 401"),) * 9)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert len(service.dialled_at) == 1
    assert dialled.peer.audio == prompt("apology")


@virtual
async def test_what_is_said_while_it_is_dialled_is_heard():
    """Up to two seconds of it, the newest; the rest is counted as dropped."""
    service = Service(idle, refusals=(REFUSED,) * 3)
    dialled = dial_leg(service, RawDialect, RawSettings(url=URL, reconnect_seconds=20))
    caller = speech(4.0)
    dialled.platform.speak(caller[:16000])
    dialled.platform.speak(caller[16000:32000])
    await asyncio.sleep(4.0)
    assert b"".join(message for message in service.connection.sent if isinstance(message, bytes)) == caller[16000:]
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_keys_that_are_pressed_while_it_is_dialled_are_told(caplog):
    """Before the first connection, and between two; in their order, and no more of them than anybody dials: the others are counted."""
    caplog.set_level("INFO")
    service = Service(idle, refusals=(REFUSED,) * 3)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    for digit in "12":
        dialled.platform.press(digit)
    await asyncio.sleep(40.0)
    assert [text.get("digit") for text in service.connection.texts()] == [None, "1", "2"]
    service.refusals.append(REFUSED)
    service.connection.lose()
    await asyncio.sleep(0.05)
    for digit in "3" * 40:
        dialled.platform.press(digit)
    await asyncio.sleep(2.0)
    assert [text.get("digit") for text in service.connection.texts()] == [None, *"3" * MAX_KEYS]
    await dialled.hung_up_on()
    await service.over()
    (ended,) = [record.message for record in caplog.records if record.message.startswith("leg ended")]
    assert f" keys_unheard={40 - MAX_KEYS} " in f"{ended} "


@virtual
async def test_a_lost_service_is_reached_again():
    """It dies in the middle of the call: another connection goes on, and knows that it is not the first."""
    service = Service(idle)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(1.0)
    service.connection.lose()
    await asyncio.sleep(0.5)
    first, second = service.connections
    assert not first.texts()[0]["resumed"]
    assert second.texts()[0]["resumed"]
    caller = speech(0.5)
    dialled.platform.speak(caller)
    await asyncio.sleep(0.1)
    assert caller in second.sent
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    await service.over()


@virtual
async def test_the_log_is_told_once_in_ten_seconds_that_an_agent_is_away(caplog):
    """However many calls it has; each kind on its own, and with the count."""
    calls = []
    for kind, count in (("raw", 5), ("other", 2)):
        notices = Notices()
        for number in range(count):
            service = Service(idle)
            sid = f"MZ{kind}{number}"
            calls.append(
                (service, dial_leg(service, RawDialect, SETTINGS, plan={"kind": kind, "notices": notices}, sid=sid))
            )
    told = []
    for pause in (1.0, 5.0, 6.0):
        await asyncio.sleep(pause)
        caplog.clear()
        for service, _ in calls:
            service.connection.lose()
        await asyncio.sleep(0.1)
        told.append([record.message for record in caplog.records if record.message.startswith("agent away")])
    assert [[" kind=raw " in message for message in messages] for messages in told] == [
        [True, False],
        [],
        [True, False],
    ]
    assert [message.rpartition("so_far=")[2] for message in told[0] + told[2]] == ["1", "1", "11", "5"]
    for service, dialled in calls:
        await dialled.hung_up_on()
        await service.over()


@virtual
async def test_a_service_that_dies_again_and_again_is_given_up():
    """However quickly it comes back."""

    async def serve(connection: MemoryConnection) -> None:
        await asyncio.sleep(0.3)
        connection.lose()

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert len(service.connections) == 4
    await service.over()


@virtual
async def test_the_fallback_takes_the_call():
    """A built-in handler goes on where the agent is lost, and the call ends as that says."""
    service = Service(refusals=(DialError("it answered with HTTP status 403"),))
    dialled = dial_leg(service, RawDialect, SETTINGS, plan={"fallback": ivr})
    await until(lambda: heard(dialled, prompt("greeting")), step_seconds=0.1)
    dialled.platform.press("9")
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert heard(dialled, prompt("goodbye"))
    assert prompt("apology") not in dialled.peer.audio


@virtual
async def test_a_flood_of_speech_is_held_back_and_cleared():
    """Ten minutes in no time: what the queue cannot hold is not read. Then the caller speaks, and all of it is gone.

    The service could not be heard saying so, so we listen ourselves; what it says afterwards is heard again.
    """

    async def serve(connection: MemoryConnection) -> None:
        for _ in range(600):
            connection.say(VOICE[:8000])
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(2.0)
    assert service.connection.unread_by_bridge > 500
    await dialled.platform.talk(b"\xff" * 1600 + prompt("goodbye")[:4000])
    assert dialled.peer.transcript[-1] == "clear"
    assert service.connection.unread_by_bridge == 0
    await asyncio.sleep(2.0)
    assert dialled.peer.transcript[-1] == "clear"
    service.connection.say(prompt("greeting"))
    await until(lambda: heard(dialled, prompt("greeting")[:16000]), step_seconds=0.1)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_deaf_service_loses_old_speech_only():
    """It reads nothing for five seconds: then it hears the last two of them."""
    service = Service(idle)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(0.1)
    service.connection.is_deaf = True
    caller = speech(5.0)
    await dialled.platform.talk(caller)
    service.connection.is_deaf = False
    await asyncio.sleep(0.1)
    got = b"".join(message for message in service.connection.sent if isinstance(message, bytes))
    assert got.endswith(caller[-16000:])
    assert len(got) <= 16000 + 800
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_speech_in_a_wrong_format_is_refused_before_it_is_heard():
    """PCM where mu-law was agreed: not a byte of it is played, and the agent is lost without another try."""

    async def serve(connection: MemoryConnection) -> None:
        connection.say(ulaw_to_pcm(VOICE))
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert dialled.peer.audio == prompt("apology")
    assert len(service.connections) == 1
    await service.over()


@virtual
async def test_garbage_is_passed_over():
    """Messages that are none do nothing."""

    async def serve(connection: MemoryConnection) -> None:
        for garbage in ("", "{", "[]", '{"type":"unknown"}', '{"type":5}', "[" * 50_000, '{"type":"mark"}', b""):
            connection.say(garbage)
        await speaks(connection)

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await until(lambda: heard(dialled, VOICE[:8000]), step_seconds=0.1)
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_more_garbage_than_its_budget_is_the_end():
    """Twenty messages of a call may be none of the protocol, over all its connections; unknown ones are not counted."""

    async def serve(connection: MemoryConnection) -> None:
        for _ in range(30):
            connection.say('{"type":"of another version"}')
        for _ in range(10):
            connection.say("garbage")
        connection.lose()

    service = Service(serve)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    session = await dialled.over(fails=True)
    assert session.termination is Termination.AGENT_LOST
    assert len(service.connections) == 3  # it is the third's first that is one too many
    assert dialled.peer.audio.count(prompt("apology")) == 1
    await service.over()


@virtual
async def test_another_agent_takes_the_call():
    """Where the first is lost: it begins anew, and the caller hears no apology."""
    other = Service(speaks)
    second = LegPlan(
        kind="other",
        settings=SETTINGS,
        open_dialect=lambda opening: RawDialect(SETTINGS, opening),
        network=other.network,
        chance=lambda: 0.5,
    )

    async def serve_second(call: Call) -> None:
        await serve_with(second, call)

    service = Service(refusals=(DialError("it answered with HTTP status 401"),))
    dialled = dial_leg(service, RawDialect, SETTINGS, plan={"fallback": serve_second})
    await until(lambda: heard(dialled, VOICE), step_seconds=0.1)
    assert not other.connection.texts()[0]["resumed"]
    caller = speech(0.5)
    dialled.platform.speak(caller)
    await asyncio.sleep(0.1)
    assert caller in other.connection.sent
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert prompt("apology") not in dialled.peer.audio
    await other.over()


class Peculiar(RawDialect):
    """A service that says late in which format it hears, counts what it says by items, and wants to be kept alive."""

    awaits_ready = True
    keep_alive_seconds = 2.0
    notices_barge_in = False

    def receive(self, message: Message) -> list[LegEvent]:
        if isinstance(message, bytes):
            return [Speech(message[1:], chr(message[0]))]
        events = super().receive(message)
        if Ready() in events:
            self.hears = AudioFormat("pcm", 8000)
        return events

    def tell_heard(self, item: str, heard_ms: int) -> list[Message]:
        return [f'{{"type":"heard","item":"{item}","ms":{heard_ms}}}']

    def keep_alive(self) -> list[Message]:
        return ['{"type":"alive"}']

    def interrupt(self) -> list[Message]:
        return ['{"type":"stopped"}']


@virtual
async def test_what_only_some_services_have():
    """A format learnt late is obeyed, items are told of one by one, it is kept alive, and we listen for the caller."""

    async def serve(connection: MemoryConnection) -> None:
        await asyncio.sleep(0.2)
        connection.say({"type": "ready"})
        connection.say(b"a" + VOICE[:8000])
        connection.say(b"b" + VOICE[8000:16000])
        connection.say(b"c" + VOICE[16000:24000])
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, Peculiar, SETTINGS)
    await asyncio.sleep(1.2)
    await dialled.platform.talk(prompt("goodbye")[:8000])
    await asyncio.sleep(0.1)
    texts = service.connection.texts()
    (stopped,) = [number for number, text in enumerate(texts) if text["type"] == "stopped"]
    told = {text["item"]: text["ms"] for text in texts[stopped:] if text["type"] == "heard"}
    assert told == {"b": pytest.approx(300, abs=200), "c": 0}
    pcm = b"".join(message for message in service.connection.sent if isinstance(message, bytes))
    assert pcm == ulaw_to_pcm(prompt("goodbye")[:8000])
    await asyncio.sleep(3.0)
    assert kinds(service.connection).count("alive") == 2
    await dialled.hung_up_on()
    await service.over()
