"""Calls to the played services over real connections, judged by the referee."""

import asyncio
import json
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from agents.played_calls import PLAYED
from agents.support import SocketConnection
from integration.daemon import on_uvloop
from integration.legs import call_agent, check
from secret_files import write_secret
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, Speak
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.report import CallReport

VOICE = prompt("menu")[:24000]
CALLER = built_in_voice()[:8000]


@pytest.mark.parametrize("kind", list(PLAYED))
def test_a_call_keeps_all_rules(kind: str, tmp_path: Path) -> None:
    """Greeted, talked over, answered, and hung up on by a tool, at the speed of a real service."""
    write_secret(tmp_path / "agent.key", "secret-of-the-test\n")
    fake = PLAYED[kind].player()(VOICE, piece_bytes=3200)

    seen: list[str] = []
    turns: list[asyncio.Task[None]] = []

    def sign(connection: ServerConnection, request: Request) -> Response | None:
        """Answer those that ask for an address first, as a service does; note the headers of all."""
        seen.extend(request.headers.values())
        if "/get-signed-url" not in request.path:
            return None
        port = connection.local_address[1]
        signed = json.dumps({"signed_url": f"ws://127.0.0.1:{port}/?signature=1"})
        return connection.respond(HTTPStatus.OK, signed)

    async def answer(connection: ServerConnection) -> None:
        if not turns:  # with the first of the line's connections
            turns.append(asyncio.create_task(take_turns()))
        await fake.serve(SocketConnection(connection))
        await turns[0]

    async def take_turns() -> None:
        await asyncio.sleep(1.5)
        fake.caller_speaks()
        await asyncio.sleep(0.8)
        fake.respond()
        await asyncio.sleep(3.5)
        fake.calls = [("hang_up", {})]
        fake.respond()

    plan = CallPlan(actions=(Speak(1.2, CALLER),), linger_seconds=20.0)
    keys = {name.replace("_", "-"): value for name, value in PLAYED[kind].keys.items()}

    async def main() -> CallReport:
        async with serve(answer, "127.0.0.1", 0, process_request=sign) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with fake.front(url, seen) as address:
                agent = {"kind": kind, "url": address, "key-file": str(tmp_path / "agent.key")}
                return await call_agent(keys | agent, plan)

    report = on_uvloop(main())
    check(report)
    assert any("secret-of-the-test" in value for value in seen)
    assert report.ended_by is EndedBy.BRIDGE
    assert report.counts.clears == 1
    assert VOICE in report.heard
    assert CALLER in bytes(fake.heard)
