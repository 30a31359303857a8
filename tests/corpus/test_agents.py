"""Bad input of an agent, case by case, against the real daemon: category I, in three dialects.

All cases of one dialect are played at once, a few at a time, beside five neighbours whose agent is the same; then each has
its test. Behind what it sends the agent speaks: what the caller hears shows whether its connection is still what it was.
"""

import asyncio
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from corpus.case import Parts, load, text_of
from faults.agent import APOLOGY, AgentCall, FaultyAgent, told_call, whisper, with_faulty_agent
from faults.support import account_of
from faults.tongues import PipecatTongue, RawTongue, Tongue, TwilioTongue
from integration.daemon import Daemon, pairs, until
from smartflo_bridge.handlers.ivr import prompt

AT_ONCE = 20  # most of the time of each is that of its apology
CASE_SECONDS = 30.0
SILENT_SECONDS = 0.5
SECONDS = 120.0
NEIGHBOURS = 5
VOICE = whisper("agent", 0.2)
ONE_MOMENT = prompt("one-moment")
TONGUES: dict[str, Tongue] = {"raw": RawTongue(), "twilio": TwilioTongue(), "pipecat": PipecatTongue()}


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """What the agent does that is no text: characters are bytes, of a binary message or of the connection."""

    octets: Parts | None = None
    raw: Parts | None = None
    close: int | None = None
    abort: bool = False


class AgentCase(msgspec.Struct, forbid_unknown_fields=True):
    """A case of category I: what an agent sends, in a call of its own.

    Attributes:
        id: stable.
        what: in words.
        send: the messages; all of them, `times` over.
        action: what becomes of it: `accept`, also of what is ignored under its own name; `drop`, counted as malformed;
            `lost` for good, `again` reached, or `hang_up` understood; `silence` if the agent says nothing at all.
        code: the close code that is named where the agent is lost by one.
        kinds: in whose dialect.
        positions: `first` thing it says, or in the `call`, when it has heard the caller and been heard.
        heard: of what it sent, characters as bytes of mu-law.
    """

    id: str
    what: str
    send: list[Parts | Said]
    action: str
    code: int | None = None
    times: int = 1
    kinds: list[str] = msgspec.field(default_factory=lambda: list(TONGUES))
    positions: list[str] = msgspec.field(default_factory=lambda: ["first", "call"])
    heard: Parts = ""


CASES: list[AgentCase] = load("I", AgentCase)
PLACES = [(case, kind, position) for case in CASES for kind in case.kinds for position in case.positions]


class Outcome(msgspec.Struct):
    """What became of a case: the close that the caller got, all that it heard, and what the log says of call and leg."""

    code: int
    heard: bytes
    end: dict[str, str]
    leg: dict[str, str]
    lost: str


def role_of(case: AgentCase, position: str) -> Callable[[AgentCall], Any]:
    """Return what the agent does in a case."""

    async def act(call: AgentCall) -> None:
        listening = asyncio.ensure_future(call.listen())
        try:
            if call.number == 1:
                if position == "call":
                    await call.speak(VOICE)
                    await until(lambda: call.heard)
                for _ in range(case.times):
                    for each in case.send:
                        await send(call, each)
            if case.action != "silence":
                await call.speak(VOICE)
        finally:
            await asyncio.wait([listening])
            if error := listening.exception():
                assert isinstance(error, ConnectionClosed)

    return act


async def send(call: AgentCall, said: Parts | Said) -> None:
    """Send one of a case's messages."""
    if not isinstance(said, Said):
        await call.connection.send(text_of(said))
    elif said.octets is not None:
        await call.connection.send(text_of(said.octets).encode("latin-1"))
    elif said.raw is not None:
        call.connection.transport.write(text_of(said.raw).encode("latin-1"))
    elif said.close is not None:
        await call.connection.close(said.close)
    elif said.abort:
        call.connection.transport.abort()


def expected(case: AgentCase, position: str) -> bytes:
    """Return all that the caller is to hear; a lost agent's apology comes behind it."""
    before = VOICE if position == "call" else b""
    ours = text_of(case.heard).encode("latin-1")
    return before + ours + (VOICE if case.action in ("accept", "drop", "again") else b"")


async def play(daemon: Daemon, folder: Path, case: AgentCase, position: str) -> Outcome:
    """Call the agent in a case; return what came of it."""
    async with told_call(daemon, f"{case.id}-{position}") as (told, closed), asyncio.timeout(CASE_SECONDS):
        await told.platform.speak(whisper("caller", 0.1))
        if case.action not in ("lost", "hang_up"):
            whole = expected(case, position)
            await until(lambda: audible(told.heard).startswith(whole), CASE_SECONDS)
            await asyncio.sleep(SILENT_SECONDS if case.action == "silence" else 0)
            await told.platform.stop()
        code = await closed
    sid = told.platform.sid
    end = await asyncio.to_thread(daemon.end_of, sid)
    await asyncio.to_thread(account_of, folder, sid)
    (leg,) = await daemon.log.seen(rf" leg ended stream_sid={re.escape(sid)} ")
    lost = daemon.log.find(rf"agent lost stream_sid={re.escape(sid)} ")
    return Outcome(code, told.heard, end, pairs(leg), lost[0][1] if lost else "")


def audible(heard: bytes) -> bytes:
    """Return what was heard of the agent: nothing of a case is silence, and pauses are the machine's.

    So is the word that a caller gets who has heard nothing for a second.
    """
    return heard.replace(ONE_MOMENT, b"").replace(b"\xff", b"")


@pytest.fixture(scope="module")
def outcomes_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[tuple[str, str], Outcome]]:
    """Return what plays all cases in a dialect, once."""

    def played(kind: str) -> dict[tuple[str, str], Outcome]:
        places = [(case, position) for case, of, position in PLACES if of == kind]
        folder = tmp_path_factory.mktemp(kind)
        outcomes = {}
        room = asyncio.Semaphore(AT_ONCE)

        async def one(daemon: Daemon, case: AgentCase, position: str) -> None:
            async with room:
                outcomes[case.id, position] = await play(daemon, folder, case, position)

        async def main(daemon: Daemon, agent: FaultyAgent) -> None:
            async with asyncio.TaskGroup() as tasks:
                for case, position in places:
                    tasks.create_task(one(daemon, case, position))

        roles = {f"{case.id}-{position}": role_of(case, position) for case, position in places}
        with_faulty_agent(folder, main, roles, tongue=TONGUES[kind], count=NEIGHBOURS, seconds=SECONDS)
        return outcomes

    return functools.cache(played)


@pytest.mark.parametrize(
    ("case", "kind", "position"),
    [pytest.param(*place, id=f"{place[0].id}-{place[1]}-{place[2]}") for place in PLACES],
)
def test_what_an_agent_sends(
    outcomes_of: Callable[[str], dict[tuple[str, str], Outcome]], case: AgentCase, kind: str, position: str
) -> None:
    """It is heard, dropped and counted, forgiven or the end of that agent, as its line says; the caller keeps the call."""
    outcome = outcomes_of(kind)[case.id, position]
    whole = audible(expected(case, position))
    assert outcome.code == 1000
    assert audible(outcome.heard)[: len(whole)] == whole, case.what
    endings = {"lost": "agent_lost", "hang_up": "hung_up"}
    assert outcome.end["termination"] == endings.get(case.action, "completed"), case.what
    assert outcome.heard.count(APOLOGY) == (case.action == "lost")
    assert outcome.leg["dials"] == ("2" if case.action == "again" else "1")
    counted = case.times * len(case.send) if case.action == "drop" else 0
    if case.action != "lost":
        assert int(outcome.leg.get("malformed", "0")) == counted, case.what
        assert audible(outcome.heard) == whole
    if case.code is not None:
        assert f"closed with {case.code}" in outcome.lost
