"""Calls to the played services over real connections, judged by the referee."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from agents.played_calls import PLAYED
from agents.support import SocketConnection
from integration.daemon import on_uvloop
from integration.legs import call_bot, check
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, Speak
from smartflo_bridge.simulator.progress import EndedBy

VOICE = prompt("menu")[:24000]
CALLER = built_in_voice()[:8000]


@pytest.mark.parametrize("kind", list(PLAYED))
def test_a_call_keeps_all_rules(kind: str, tmp_path: Path) -> None:
    """Greeted, talked over, answered, and hung up on by a tool, at the speed of a real service."""
    (tmp_path / "agent.key").write_text("secret-of-the-test\n")
    fake = PLAYED[kind].player()(VOICE, piece_bytes=3200)

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert "secret-of-the-test" in "".join(connection.request.headers.values())
        turns = asyncio.create_task(take_turns())
        await fake.serve(SocketConnection(connection))
        await turns

    async def take_turns() -> None:
        await asyncio.sleep(1.5)
        fake.caller_speaks()
        await asyncio.sleep(0.8)
        fake.respond()
        await asyncio.sleep(3.5)
        fake.calls = [("hang_up", {})]
        fake.respond()

    plan = CallPlan(actions=(Speak(1.2, CALLER),), linger_seconds=20.0)
    keys = {name.replace("_", "-"): value for name, value in PLAYED[kind].keys.items() if name != "url"}
    report = on_uvloop(call_bot(answer, plan, kind=kind, **{"key-file": str(tmp_path / "agent.key")}, **keys))
    check(report)
    assert report.ended_by is EndedBy.BRIDGE
    assert report.counts.clears == 1
    assert VOICE in report.heard
    assert CALLER in bytes(fake.heard)
