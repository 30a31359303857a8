"""What is counted, and what ends, where speech and the line's or the call's end meet."""

import asyncio
import json
import logging

import pytest

from agents.support import MemoryConnection, Service, dial_leg
from calls.support import speech, until
from smartflo_bridge.agents.conversation import GOODBYE_SECONDS
from smartflo_bridge.agents.events import LegEvent, ToolCall
from smartflo_bridge.agents.message import Message
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from smartflo_bridge.agents.tools import HANG_UP
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

SETTINGS = RawSettings(url="ws://127.0.0.1:9/agent")
VOICE = prompt("menu")


class Peculiar(RawDialect):
    """Our own protocol, with tools, and without a word when the caller speaks over it."""

    notices_barge_in = False

    def receive(self, message: Message) -> list[LegEvent]:
        if isinstance(message, str) and json.loads(message)["type"] == "tool":
            return [ToolCall("c1", HANG_UP.name, "{}")]
        return super().receive(message)


async def idle(connection: MemoryConnection) -> None:
    """Serve by listening only."""
    while await connection.hear() is not None:
        pass


def cleared(connection: MemoryConnection) -> list[int]:
    """Return the ms that were told to have been heard, by each clear."""
    return [text["heard_ms"] for text in connection.texts() if text["type"] == "cleared"]


@virtual
async def test_what_was_heard_is_told_with_its_own_clear():
    """A clear long after all was heard tells of it; the next one begins to count anew, whether it cuts speech or not."""
    service = Service(idle)
    dialled = dial_leg(service, RawDialect, SETTINGS)
    await asyncio.sleep(0.1)
    connection = service.connection
    connection.say(VOICE[:16000])
    connection.say({"type": "done"})
    await asyncio.sleep(7.0)
    connection.say({"type": "clear"})
    await asyncio.sleep(0.1)
    assert cleared(connection) == [2000]
    connection.say(VOICE[:24000])
    await asyncio.sleep(1.0)
    connection.say({"type": "clear"})
    await asyncio.sleep(0.5)
    assert cleared(connection) == [2000, pytest.approx(1000, abs=45)]
    connection.say(VOICE[:8000])
    await asyncio.sleep(2.0)
    connection.say({"type": "clear"})
    connection.say({"type": "clear"})
    await asyncio.sleep(0.1)
    assert cleared(connection)[2:] == [1000, 0]
    await dialled.hung_up_on()
    await service.over()


@pytest.mark.parametrize(("code", "seconds"), [(None, 1.0), (1011, 1.0), (None, 0.05)])
@virtual
async def test_a_goodbye_whose_line_is_lost_is_the_end(code, seconds):
    """The agent has hung up while it spoke: the caller hears all that there is of it, and no other agent is dialled."""
    service = Service(idle)
    dialled = dial_leg(service, Peculiar, SETTINGS, plan={"may_hang_up": True})
    await asyncio.sleep(0.1)
    connection = service.connection
    connection.say(VOICE[:24050])
    connection.say({"type": "tool"})
    await asyncio.sleep(seconds)
    lost_at = dialled.platform.seconds
    connection.lose(code)
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert VOICE[:24050] in dialled.platform.heard()
    assert prompt("apology") not in dialled.peer.audio
    assert dialled.platform.seconds - lost_at < GOODBYE_SECONDS
    assert len(service.dialled_at) == 1
    await service.over()


@virtual
async def test_a_call_that_ends_while_its_caller_begins_to_speak(caplog):
    """Both in one portion, over the agent's speech: that is no failure, and the leg is summed up once."""
    caplog.set_level(logging.INFO)
    service = Service(idle)
    dialled = dial_leg(service, Peculiar, SETTINGS)
    await asyncio.sleep(0.1)
    service.connection.say(VOICE)
    await until(lambda: VOICE[:4000] in dialled.platform.heard(), step_seconds=0.1)
    dialled.platform.speak(speech(0.2))
    dialled.platform.stop()
    session = await dialled.over()
    assert session.termination is Termination.COMPLETED
    ended = [record.message for record in caplog.records if record.message.startswith("leg ended")]
    assert len(ended) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert service.connection.is_closed
    await service.over()
