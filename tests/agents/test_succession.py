"""One line takes over from another before its service closes it: when, what it is told, and what becomes of it at the end."""

import asyncio
import json

import pytest

from agents.support import MemoryConnection, Service, dial_leg
from calls.support import Dialled, until
from smartflo_bridge.agents.dialect import Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import GoAway, LegEvent, ToolCall, Transcript
from smartflo_bridge.agents.leg import OPEN_SECONDS
from smartflo_bridge.agents.message import Message
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from smartflo_bridge.agents.succession import LEAVING_SECONDS, QUIET_SECONDS
from smartflo_bridge.agents.tools import HANG_UP, Tools
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.effects import Termination
from smartflo_bridge.handlers.ivr import prompt
from virtual_clock import virtual

SETTINGS = RawSettings(url="ws://127.0.0.1:9/agent")
VOICE = prompt("menu")
WORDS = b"\xff" * 1600 + prompt("goodbye") + b"\xff" * 8000
"""The caller says something, and is then quiet for long enough that we know."""


class Leaving(RawDialect):
    """Our own protocol, with an end that is announced, tools, and transcripts."""

    def receive(self, message: Message) -> list[LegEvent]:
        match json.loads(message) if isinstance(message, str) else None:
            case {"type": "go_away", "seconds": seconds}:
                return [GoAway(seconds)]
            case {"type": "tool", "name": name}:
                return [ToolCall("c1", name, "{}")]
            case {"type": "said", "text": text}:
                return [Transcript(is_caller=True, text=text)]
        return super().receive(message)

    def tool_result(self, call: str, result: str) -> list[Message]:
        return [json.dumps({"type": "result", "result": result})]


class Late(Leaving):
    """It is to be waited for."""

    awaits_ready = True


async def idle(connection: MemoryConnection) -> None:
    """Serve by listening only."""
    while await connection.hear() is not None:
        pass


def go_away(service: Service, seconds: float = LEAVING_SECONDS) -> float:
    """Let the service announce its end; return when that was."""
    service.connection.say({"type": "go_away", "seconds": seconds})
    return asyncio.get_running_loop().time()


@virtual
async def test_an_answer_that_is_owed_is_waited_for():
    """The caller has just stopped: the successor is opened behind the answer, which is heard, and told of all that was said."""
    openings: list[Opening] = []

    def leaving(settings: RawSettings, opening: Opening) -> Dialect:
        openings.append(opening)
        return Leaving(settings, opening)

    service = Service(idle)
    dialled = dial_leg(service, leaving, SETTINGS)
    await dialled.platform.talk(WORDS)
    first = service.connection
    assert first.texts()[-1]["type"] == "speech_end"
    go_away(service)
    await asyncio.sleep(2.0)
    first.say({"type": "said", "text": "Who are you?"})
    await asyncio.sleep(2.0)
    assert len(openings) == 1
    first.say(VOICE[:8000])
    await asyncio.sleep(0.5)
    assert len(openings) == 1
    first.say({"type": "said", "text": "I am the menu."})
    first.say({"type": "done"})
    await asyncio.sleep(0.2)
    assert first.is_closed
    assert [said.text for said in openings[-1].said] == ["Who are you?", "I am the menu."]
    await until(lambda: VOICE[:8000] in dialled.platform.heard(), step_seconds=0.1)
    assert len(openings) == 2
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_tool_that_runs_is_waited_for():
    """Its result goes to the line that has asked for it."""

    async def look_up() -> str:
        """Look."""
        await asyncio.sleep(3.0)
        return "found"

    service = Service(idle)
    tools = Tools({"look_up": look_up}, HandlerLoop.main(), 5.0)
    dialled = dial_leg(service, Leaving, SETTINGS, plan={"tools": tools})
    await asyncio.sleep(0.1)
    service.connection.say({"type": "tool", "name": "look_up"})
    began = go_away(service)
    await asyncio.sleep(5.0)
    first, second = service.connections
    assert {"type": "result", "result": "found"} in first.texts()
    assert first.is_closed
    assert service.dialled_at[1] - began == pytest.approx(3.0, abs=0.2)
    assert [text["type"] for text in second.texts()] == ["start"]
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_a_tool_that_began_while_the_successor_was_opened_is_waited_for():
    """The successor is there, and waits for the result as well."""

    async def look_up() -> str:
        """Look."""
        await asyncio.sleep(3.0)
        return "found"

    async def serve(connection: MemoryConnection) -> None:
        if len(service.connections) > 1:
            service.connections[0].say({"type": "tool", "name": "look_up"})
            await asyncio.sleep(1.0)
        connection.say({"type": "ready"})
        await idle(connection)

    service = Service(serve)
    tools = Tools({"look_up": look_up}, HandlerLoop.main(), 5.0)
    dialled = dial_leg(service, Late, SETTINGS, plan={"tools": tools})
    await asyncio.sleep(0.1)
    began = go_away(service)
    await asyncio.sleep(5.0)
    first, second = service.connections
    assert {"type": "result", "result": "found"} in first.texts()
    assert first.closed_at - began == pytest.approx(3.0, abs=0.2)
    assert not second.is_closed
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_who_never_answers_is_not_waited_for():
    """However late the successor is ready, it takes over before the service closes; until then the caller is not lost."""
    late = OPEN_SECONDS - 0.1

    async def serve(connection: MemoryConnection) -> None:
        await asyncio.sleep(late if len(service.connections) > 1 else 0.0)
        connection.say({"type": "ready"})
        await idle(connection)

    service = Service(serve)
    dialled = dial_leg(service, Late, SETTINGS)
    await dialled.platform.talk(WORDS)
    began = go_away(service)
    await asyncio.sleep(LEAVING_SECONDS)
    first, second = service.connections
    assert service.dialled_at[1] - began == pytest.approx(QUIET_SECONDS, abs=0.2)
    assert first.closed_at - began == pytest.approx(2 * QUIET_SECONDS + late, abs=0.3)
    assert first.closed_at - began < LEAVING_SECONDS
    assert not second.is_closed
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_an_end_that_is_named_again_has_one_successor():
    """The later time is the one that counts, and the first succession is given up, whether it has begun to dial or not."""

    async def serve(connection: MemoryConnection) -> None:
        if len(service.connections) == 2:  # and is given up, because the end is named once more
            await asyncio.sleep(1.0)
            go_away_again()
        connection.say({"type": "ready"})
        await idle(connection)

    def go_away_again() -> None:
        service.connections[0].say({"type": "go_away", "seconds": LEAVING_SECONDS + 2.0})

    service = Service(serve)
    dialled = dial_leg(service, Late, SETTINGS)
    await asyncio.sleep(0.1)
    for _ in range(3):
        go_away(service, LEAVING_SECONDS + 5.0)
    began = go_away(service, LEAVING_SECONDS + 5.0)
    await asyncio.sleep(12.0)
    first, given_up, successor = service.connections
    assert [at - began for at in service.dialled_at[1:]] == [pytest.approx(5.0), pytest.approx(8.0)]
    assert first.is_closed
    assert given_up.is_closed
    assert not successor.is_closed
    await dialled.hung_up_on()
    await service.over()


@virtual
async def test_who_has_hung_up_has_no_successor():
    """The time for a quiet moment is over in the middle of a goodbye: the call ends behind it, and so does the other line."""
    service = Service(idle)
    dialled = dial_leg(service, Leaving, SETTINGS, plan={"may_hang_up": True})
    await asyncio.sleep(0.1)
    first = service.connection
    first.say(VOICE[:800])  # and is not done
    go_away(service)
    await asyncio.sleep(2 * QUIET_SECONDS - 1.0)
    first.say(VOICE[:24000])
    first.say({"type": "tool", "name": HANG_UP.name})
    session = await dialled.over()
    assert session.termination is Termination.HUNG_UP
    assert VOICE[:24000] in dialled.platform.heard()
    assert len(service.connections) == 2
    assert [text["type"] for text in service.connection.texts()] == ["start", "stop"]
    assert all(connection.is_closed for connection in service.connections)
    await service.over()


class Ending(Service):
    """It lets the call end while a successor is dialled, so many turns of the loop before that is there."""

    def __init__(self, turns: int) -> None:
        super().__init__(idle)
        self.turns = turns
        self.dialled: Dialled | None = None

    async def _dial(self, endpoint: Endpoint, timeout_seconds: float) -> MemoryConnection:
        if self.connections:
            assert self.dialled is not None
            self.dialled.platform.stop()
            for _ in range(self.turns):
                await asyncio.sleep(0)
        return await super()._dial(endpoint, timeout_seconds)


@virtual
async def test_a_successor_of_the_call_s_last_instant_is_closed():
    """In whichever turn of the loop it is handed over, before the call's end is known or after."""
    counts = []
    for turns in range(24):
        service = Ending(turns)
        service.dialled = dialled = dial_leg(service, Leaving, SETTINGS)
        await asyncio.sleep(0.1)
        go_away(service)
        session = await dialled.over()
        assert session.termination is Termination.COMPLETED
        assert all(connection.is_closed for connection in service.connections), f"left open, {turns} turns later"
        counts.append(len(service.connections))
        await service.over()
    assert counts == sorted(counts, reverse=True), "it is dialled until the end is known"
    assert set(counts) == {1, 2}
