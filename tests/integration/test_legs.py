"""Calls to voice agents over real connections, judged by the referee: bots of other people, and services that are played."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bots.running import pipecat_bot, write_voice
from bots.sample_bot import SampleBot
from integration.daemon import bridge, on_uvloop, url_of
from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule

VOICE = prompt("menu")
GAPS = {Rule.GAP_0_MS, Rule.GAP_60_MS, Rule.GAP_200_MS}
"""Where the machine is too busy for its pacing."""


async def call_agent(agent: dict[str, Any], plan: CallPlan) -> CallReport:
    """Call a bridge whose agent is configured so."""
    async with bridge(agent=agent) as service:
        return await place_call(url_of(service), plan)


async def call_bot(
    answer: Callable[[ServerConnection], Awaitable[None]], plan: CallPlan, **agent: object
) -> CallReport:
    """Serve a bot on a free port, and call it over the bridge."""
    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        return await call_agent({"url": url, **agent}, plan)


def check(report: CallReport) -> None:
    """Fail if the bridge broke a rule, or did not end the call as it should."""
    assert set(report.broken) <= GAPS, report.violations
    assert report.ended_well


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
