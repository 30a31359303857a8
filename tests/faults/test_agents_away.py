"""Faults 17 to 21: an agent that cannot be reached, or not be trusted, when a call comes in."""

import asyncio
import itertools
from pathlib import Path

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from faults.agent import (
    APOLOGY,
    AgentCall,
    FaultyAgent,
    Told,
    TurnAway,
    check_end,
    lost_call,
    told_call,
    whisper,
    with_faulty_agent,
)
from faults.support import SLACK_SECONDS
from integration.daemon import Daemon

FALLBACK_SECONDS = 5.0
"""Reliability, G15."""

PAUSES_SECONDS = (0.2, 0.5, 1.0)
JITTER = 0.25
MAX_RETRY_AFTER_SECONDS = 2.0
VOICE = whisper("agent", 1.0)


async def greet(call: AgentCall) -> None:
    """Say something, and listen."""
    await call.speak(VOICE)
    await call.listen()


def refuse(status: int, **headers: str) -> TurnAway:
    """Return what answers each request with a status."""

    async def turn_away(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "no\n")  # type: ignore[arg-type] # a plain number does
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return turn_away


def check_pauses(asked_at: list[float], pauses: tuple[float, ...]) -> None:
    """Fail unless there were these pauses between tries, a quarter more or less, and none more."""
    found = [after - before for before, after in itertools.pairwise(asked_at)]
    assert len(found) == len(pauses), found
    for took, pause in zip(found, pauses, strict=True):
        assert pause * (1 - JITTER) <= took < pause * (1 + JITTER) + SLACK_SECONDS


def test_17_a_service_that_refuses_its_connection(tmp_path: Path) -> None:
    """Four tries, then an apology within 5 s; one that comes back meanwhile serves the call, as if nothing had been."""

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with told_call(daemon, "greet") as (told, closed):
            await told.until_heard(VOICE)
            await told.platform.stop()
            assert await closed == 1000
        leg = await check_end(daemon, tmp_path, told, "completed")
        assert leg["dials"] == "1"
        agent.refuse()
        told = await lost_call(daemon, tmp_path)
        assert sum(PAUSES_SECONDS) * (1 - JITTER) <= told.first_at(APOLOGY) < FALLBACK_SECONDS
        assert (await check_end(daemon, tmp_path, told, "agent_lost"))["dials"] == "4"
        async with told_call(daemon, "greet") as (told, closed):
            await asyncio.sleep(PAUSES_SECONDS[0] / 2)
            await agent.accept()
            await told.until_heard(VOICE)
            await told.platform.stop()
            assert await closed == 1000
        leg = await check_end(daemon, tmp_path, told, "completed")
        assert int(leg["dials"]) in (2, 3)

    with_faulty_agent(tmp_path, main, {"greet": greet})


def test_18_a_service_that_never_answers_the_upgrade(tmp_path: Path) -> None:
    """It is waited for as long as a caller can be kept, and no longer."""
    over = asyncio.Event()

    async def wait(connection: ServerConnection, request: Request) -> None:
        await over.wait()

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        agent.turn_away = wait
        told = await lost_call(daemon, tmp_path)
        assert FALLBACK_SECONDS - SLACK_SECONDS < told.first_at(APOLOGY) < FALLBACK_SECONDS + SLACK_SECONDS
        over.set()

    with_faulty_agent(tmp_path, main)


def test_19_a_service_that_answers_with_a_status(tmp_path: Path) -> None:
    """4xx is not asked twice, but for 429; what it asks for by Retry-After is obeyed up to 2 s; all within 5 s."""
    cases: dict[TurnAway, tuple[float, ...]] = {
        refuse(401): (),
        refuse(403): (),
        refuse(404): (),
        refuse(429): PAUSES_SECONDS,
        refuse(429, Retry_After="1"): (1.0, 1.0, 1.0),
        refuse(429, Retry_After="30"): (MAX_RETRY_AFTER_SECONDS,) * 2,  # a third would be beyond the budget
        refuse(500): PAUSES_SECONDS,
        refuse(503, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"): PAUSES_SECONDS,
    }

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with asyncio.TaskGroup() as calls:
            lost = []
            for turn_away, pauses in cases.items():
                agent.turn_away = turn_away
                agent.asked_at.clear()
                lost.append(calls.create_task(lost_call(daemon, tmp_path)))
                await daemon.log.seen(" leg ended ", len(lost))  # then its apology begins, and the next may call
                check_pauses(agent.asked_at, pauses)
        for call in lost:
            assert call.result().first_at(APOLOGY) < FALLBACK_SECONDS + SLACK_SECONDS

    with_faulty_agent(tmp_path, main)


def test_20_a_service_that_redirects(tmp_path: Path) -> None:
    """Elsewhere is nobody whom the configuration names: not a byte is sent there, and the caller is told at once."""
    statuses = (301, 302, 303, 307, 308)
    reached: list[object] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(1))
        writer.close()

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with await asyncio.start_server(elsewhere, "127.0.0.1", 0) as other, asyncio.TaskGroup() as calls:
            location = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/"
            for number, status in enumerate(statuses, 1):
                agent.turn_away = refuse(status, Location=location)
                agent.asked_at.clear()
                call = calls.create_task(lost_call(daemon, tmp_path))
                await daemon.log.seen(" leg ended ", number)
                assert len(agent.asked_at) == 1
                calls.create_task(check_soon(call))
        for status in statuses:
            assert daemon.log.find(f"agent lost .* status {status}, a redirect, which is not followed")
        assert not reached

    with_faulty_agent(tmp_path, main)


async def check_soon(call: asyncio.Task[Told]) -> None:
    """Fail unless the caller is told at once."""
    assert (await call).first_at(APOLOGY) < SLACK_SECONDS
