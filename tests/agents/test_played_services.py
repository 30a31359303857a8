"""What every service's leg has to do, in a call with each of the played services, whose messages the vendors' types check."""

import asyncio
import random

import pytest

from agents.played_calls import PLAYED, dial_kind
from calls.support import speech, until
from smartflo_bridge.agents.dialect import CallFacts
from smartflo_bridge.agents.tools import Tools
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

VOICE = prompt("menu")

each = pytest.mark.parametrize("kind", list(PLAYED))
each_with_tools = pytest.mark.parametrize("kind", [kind for kind, played in PLAYED.items() if played.has_tools])


def names(messages) -> list[str]:
    """Return what a caller's platform was sent."""
    return [str(message).split(" ")[0] for message in messages]


@each
@virtual
async def test_a_greeting_and_a_turn(kind):
    """The greeting is heard whole, the caller's bytes arrive, and an answer is heard after it."""
    fake = PLAYED[kind].player()(VOICE[:16000])
    service, dialled = dial_kind(kind, [fake])
    await until(lambda: dialled.platform.heard().count(VOICE[:16000]) == 1, step_seconds=0.1)
    await asyncio.sleep(1.0)
    caller = speech(1.0)
    await dialled.platform.talk(caller)
    fake.respond()
    await until(lambda: dialled.platform.heard().count(VOICE[:16000]) == 2, step_seconds=0.1)
    session = await dialled.hung_up_on()
    assert session.termination is Termination.COMPLETED
    assert caller in bytes(fake.heard)
    assert fake.greetings == 1
    assert "clear" not in names(dialled.peer.sent)
    await service.over()


@each
@virtual
async def test_a_thousand_barge_ins(kind):
    """At random moments: each silences the call at once, and nothing of the old turn follows, though it is still sent.

    Each turn has speech of its own, so that a byte of the wrong one shows.
    """
    rng = random.Random(6)
    fake = PLAYED[kind].player()(b"")
    service, dialled = dial_kind(kind, [fake], {"answer_seconds": 0, "greeting": ""})
    await asyncio.sleep(0.1)
    peer, clears = dialled.peer, 0
    for number in range(1000):
        own = 0x90 + number % 64
        fake.speech = bytes([own]) * 24000
        fake.piece_bytes = rng.choice([160, 333, 1000, 4000, 24000])
        sent = len(peer.sent)
        fake.respond()
        await asyncio.sleep(rng.uniform(0.01, 2.0))
        fake.caller_speaks()
        await asyncio.sleep(0.02)
        after = names(peer.sent[sent:])
        if "media" in after:
            clears += 1
            assert after[-1] == "clear"
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        assert names(peer.sent[sent:]) == after, "speech after a clear"
        audio = b"".join(message.audio for message in peer.sent[sent:])
        assert set(audio) <= {own, 0xFF}, "of another turn"
    assert clears > 900
    assert names(peer.sent).count("clear") == clears
    session = await dialled.hung_up_on()
    assert session.ledger.balanced
    await service.over()


@each
@virtual
async def test_a_key_is_told(kind):
    """In words, and answered."""
    fake = PLAYED[kind].player()(VOICE[:8000])
    service, dialled = dial_kind(kind, [fake], {"greeting": ""})
    await asyncio.sleep(0.1)
    dialled.platform.press("5")
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert any("5" in text for text in fake.texts)
    await dialled.hung_up_on()
    await service.over()


@each_with_tools
@virtual
async def test_a_function_is_called_and_answered(kind):
    """It gets its arguments, its result goes back, and the agent speaks about it."""
    asked = []

    async def look_up(call: CallFacts, order: str) -> dict[str, str]:
        """Look up an order."""
        asked.append((call.stream_sid, order))
        return {"state": "sent"}

    tools = Tools({"look_up": look_up}, HandlerLoop.main(), 5.0)
    fake = PLAYED[kind].player()(VOICE[:8000], calls=(("look_up", {"order": "17"}), ("no_such", {})))
    service, dialled = dial_kind(kind, [fake], {"greeting": ""}, tools=tools)
    await asyncio.sleep(0.1)
    fake.respond()
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert [order for _, order in asked] == ["17"]
    first, second = fake.results.values()
    assert '"sent"' in first
    assert "there is no such function" in second
    await dialled.hung_up_on()
    await service.over()


@each
@virtual
async def test_the_agent_hangs_up(kind):
    """When the caller has heard its goodbye, to the end."""
    fake = PLAYED[kind].player()(VOICE[:16000])
    service, dialled = dial_kind(kind, [fake], {"greeting": ""}, may_hang_up=True)
    await asyncio.sleep(0.1)
    fake.respond()
    await asyncio.sleep(0.5)
    fake.calls = [("hang_up", {})]
    fake.respond()
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert VOICE[:16000] in dialled.platform.heard()
    await service.over()


@each
@pytest.mark.parametrize("moment", [0.0, 0.02, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("way", ["dies", "closes with 1011", "will never serve"])
@virtual
async def test_it_fails_at_any_moment(kind, moment, way):
    """What can pass is tried again, and goes on without a second greeting; what cannot is apologised for, once."""
    player = PLAYED[kind].player()
    fakes = [player(VOICE[:16000]), player(VOICE[:8000])]
    service, dialled = dial_kind(kind, fakes)
    await until(lambda: service.connections)
    await asyncio.sleep(moment)
    connection = service.connections[0]
    match way:
        case "dies":
            connection.lose()
        case "closes with 1011":
            connection.lose(1011, "keepalive timeout")
        case _:
            await until(lambda: hasattr(fakes[0], "connection"))
            fakes[0].fail()
    await asyncio.sleep(0.5)
    if way == "will never serve":
        session = await dialled.over(fails=True)
        assert session.termination is Termination.AGENT_LOST
        assert dialled.peer.audio.count(prompt("apology")) == 1
        assert "sk-" not in str(dialled.handler_error)
    else:
        assert len(service.connections) == 2 * fakes[0].connections
        assert fakes[0].greetings + fakes[1].greetings == 1
        await asyncio.sleep(2.0)
        fakes[1].respond()
        await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
        await dialled.hung_up_on()
        assert prompt("apology") not in dialled.peer.audio
    await service.over()


@each
@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "5", b"", "[" * 50_000, "{}", '{"type":5}', '{"type":"no such thing","x":[1,{}]}'],
)
@virtual
async def test_a_message_that_nobody_understands_does_no_harm(kind, message):
    """It is passed over, and the call goes on. Binary garbage is not among them: to some services it is speech."""
    fake = PLAYED[kind].player()(VOICE[:8000])
    service, dialled = dial_kind(kind, [fake])
    await until(lambda: hasattr(fake, "connection"))
    fake.connection.say(message)
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    fake.connection.say(message)
    await asyncio.sleep(1.0)
    fake.respond()
    await until(lambda: dialled.platform.heard().count(VOICE[:8000]) == 2, step_seconds=0.1)
    assert len(service.connections) == fake.connections
    await dialled.hung_up_on()
    await service.over()
