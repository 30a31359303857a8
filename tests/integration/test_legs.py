"""Calls to voice agents over real connections, judged by the referee: bots of other people, and services that are played."""

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from agents.fake_openai import FakeOpenAI
from agents.support import SocketConnection
from bots.running import pipecat_bot, write_voice
from bots.sample_bot import SampleBot
from integration.daemon import KEYS, on_uvloop, url_of
from integration.legs import call_agent, call_bot, check
from secret_files import write_secret
from smartflo_bridge.config import config_from
from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.server.service import Service, serving
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.report import CallReport

VOICE = prompt("menu")


def serving_loudly(agent: dict[str, Any]) -> AbstractAsyncContextManager[Service]:
    """Serve as `bridge` does, where warnings are expected."""
    table = {name.replace("_", "-"): value for name, value in KEYS.items()}
    return serving(config_from(table | {"agent": agent}), Path.cwd())


def test_a_pipecat_bot_keeps_all_rules_behind_the_bridge(tmp_path: Path) -> None:
    """The bot that breaks three rules when it is called itself breaks none over the leg, unchanged; a key interrupts it."""
    with pipecat_bot(write_voice(tmp_path), tmp_path / "bot.log") as url:
        plan = CallPlan(actions=(Press(3.0, "1"), HangUp(4.0)))
        report = on_uvloop(call_agent({"kind": "twilio", "url": url}, plan))
    check(report)
    assert report.counts.media > 20
    assert report.counts.clears == 1
    assert report.counts.dropped_bytes > 0


def test_a_bot_like_twilio_s_sample_runs_unchanged() -> None:
    """Its voice is heard whole up to the barge-in, which it finds itself; all marks come back, and it is told of the end.

    Its own idea of what was heard, by the caller's timestamps, is right within the platform's cadence.
    """
    bot = SampleBot(VOICE)
    speak = Speak(2.0, built_in_voice()[:12000])
    report = on_uvloop(call_bot(bot.serve, CallPlan(actions=(speak, HangUp(4.5))), kind="twilio", parameters=["order"]))
    check(report)
    heard = report.heard.lstrip(SILENCE)
    assert VOICE.lstrip(SILENCE)[: 8 * 1500] == heard[: 8 * 1500]
    assert report.counts.clears == 1
    assert bot.heard_ms == [pytest.approx(2150, abs=250)]
    assert bot.marks_returned == -(-len(VOICE) // 1777)
    assert bot.events[:2] == ["connected", "start"]
    assert bot.events[-1] == "stop"
    assert bot.sequence == [str(number) for number in range(1, len(bot.sequence) + 1)]
    assert {len(media["payload"]) for media in bot.media} == {216}
    assert [int(media["timestamp"]) for media in bot.media] == [20 * number for number in range(len(bot.media))]
    start = bot.started["start"]
    assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert (start["streamSid"][:2], start["callSid"][:2]) == ("MZ", "CA")


def test_openai_over_real_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Greeted, talked over, answered, a tool called, and hung up on, at the speed of a real service.

    Neither the key nor a number nor what was said is in the log, however much it says.
    """
    caplog.set_level(logging.DEBUG, "smartflo_bridge")
    write_secret(tmp_path / "openai.key", "sk-secret-of-the-test\n")
    fake = FakeOpenAI(VOICE[:24000], delta_bytes=3200)

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/?model=gpt-realtime"
        assert connection.request.headers["Authorization"] == "Bearer sk-secret-of-the-test"
        turns = asyncio.create_task(take_turns())
        await fake.serve(SocketConnection(connection))
        await turns

    async def take_turns() -> None:
        await asyncio.sleep(1.5)
        fake.caller_speaks()
        await asyncio.sleep(0.8)
        fake.respond()
        await asyncio.sleep(3.5)
        fake._calls = [{"call_id": "c1", "name": "hang_up", "arguments": "{}"}]
        fake.respond()

    plan = CallPlan(actions=(Speak(1.2, built_in_voice()[:8000]),), linger_seconds=20.0)
    agent = {"kind": "openai", "key-file": str(tmp_path / "openai.key"), "greeting": "Hello!"}
    report = on_uvloop(call_bot(answer, plan, **agent))
    check(report)
    assert report.ended_by is EndedBy.BRIDGE
    assert report.counts.clears == 1
    assert VOICE[:24000] in report.heard
    ((_, heard_ms),) = fake.truncated
    assert heard_ms == pytest.approx(1450, abs=250)
    assert built_in_voice()[:8000] in bytes(fake.heard)
    (ended,) = [record.message for record in caplog.records if record.message.startswith("leg ended")]
    assert " kind=openai dials=1 " in ended
    assert " barge_ins=1 " in ended
    for secret in ("sk-secret", plan.from_number, plan.to_number, "What the agent said"):
        assert secret not in caplog.text


def test_the_call_outlives_its_service() -> None:
    """A service that is killed in the middle of the call is reached again where it comes up; then it is gone for good.

    The caller hears one apology, and the telephony connection is closed as it should be.
    """

    async def die(connection: ServerConnection) -> None:
        for _ in range(40):
            await connection.send(VOICE[:800])
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        connection.transport.abort()

    async def main() -> CallReport:
        server = await serve(die, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with serving_loudly({"kind": "raw", "url": url, "reconnect-seconds": 1.0}) as service:
            call = asyncio.create_task(place_call(url_of(service), CallPlan(linger_seconds=30.0)))
            await asyncio.sleep(1.5)
            server.close()
            return await call

    report = on_uvloop(main())
    check(report)
    assert report.ended_by is EndedBy.BRIDGE
    assert report.heard.count(prompt("apology")) == 1


@pytest.mark.parametrize("ends", ["caller", "agent"])
def test_neither_end_outlives_the_other(ends: str) -> None:
    """Within a second: the leg is closed when the caller hangs up, the call when the agent closes its connection."""
    times: dict[str, float] = {}

    async def answer(connection: ServerConnection) -> None:
        if ends == "agent":
            await asyncio.sleep(0.5)
            await connection.close()
            times["agent"] = time.monotonic()
        await connection.wait_closed()
        times.setdefault("closed", time.monotonic())

    async def main() -> None:
        report = await call_bot(answer, CallPlan(linger_seconds=1.0 if ends == "caller" else 20.0), kind="raw")
        times["over"] = time.monotonic()
        assert report.ended_by is (EndedBy.CALLER if ends == "caller" else EndedBy.BRIDGE)
        check(report)

    on_uvloop(main())
    assert times["over"] - times.get("agent", times["closed"]) < 1.0
