"""The referee over real connections: it finds what bots of other people do wrong, and nothing in ours.

The naive bots are `bots/naive_bot.py`, on `websockets` alone. The other one is built on pipecat-ai, as its examples are,
and runs as a process of its own, in an environment that is made once, below `.cache/`.
"""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bots.naive_bot import MISTAKES, Bot
from bots.running import pipecat_bot, write_voice
from integration.daemon import bridge, on_uvloop, url_of
from smartflo_bridge.calls.home import Handler
from smartflo_bridge.cli.call import command
from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.handlers.echo import echo
from smartflo_bridge.handlers.ivr import ivr, prompt
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Press, Speak
from smartflo_bridge.simulator.referee import RefereeSettings
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.watermark import stamp

BOUND_SECONDS = 60.0

ALL_GAPS = {Rule.GAP_0_MS, Rule.GAP_60_MS, Rule.GAP_200_MS}

FINDS: dict[str, set[Rule]] = {
    "faultless": set(),
    "sends_all_at_once": {Rule.BURST},
    "cuts_anywhere": {Rule.MISALIGNED_PAYLOAD},
    "sends_a_wav_file": {Rule.WAV_HEADER, Rule.PCM_AS_ULAW, Rule.CLICK},
    "sends_pcm": {Rule.PCM_AS_ULAW, Rule.CLICK},
    "sends_24_khz": {Rule.WRONG_RATE},
    "pads_with_zeros": {Rule.CLICK},
    "forgets_the_chunk": {Rule.CHUNK_OUT_OF_ORDER},
    "sends_bytes": {Rule.BINARY_MESSAGE},
    "breaks_lines": {Rule.NOT_BASE64},
    "sends_nothing": {Rule.EMPTY_PAYLOAD},
    "mistakes_the_call_for_the_stream": {Rule.UNKNOWN_STREAM_SID},
    "greets_too_early": {Rule.SENT_BEFORE_START},
    "paces_by_sleeping": {Rule.GAP_0_MS},
    "stutters": ALL_GAPS,
    "repeats_its_mark": {Rule.MARK_REPEATED},
    "goes_on_after_a_clear": {Rule.STALE_AUDIO},
    "talks_after_stop": {Rule.SENT_AFTER_STOP},
    "never_closes": {Rule.NOT_CLOSED},
    "closes_with_a_failure": {Rule.CLOSE_CODE},
    "dies": {Rule.CONNECTION_LOST},
    "says_nothing": {Rule.NO_ANSWER},
    "sends_megabytes": {Rule.OVERSIZED_MESSAGE},
}

JUDGING = {
    "sends_24_khz": RefereeSettings(buffer_seconds=60.0, judges_rate=True),
    "says_nothing": RefereeSettings(answer_seconds=0.5),
}
HANGS_UP_AT = {"paces_by_sleeping": 1.5, "stutters": 1.2}


def voice() -> bytes:
    """Return the naive bots' speech."""
    return prompt("greeting") + prompt("menu")


async def judge(name: str) -> set[Rule]:
    """Call a naive bot; return the rules that it broke."""

    async def answer(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await MISTAKES[name](Bot(connection, voice()))

    plan = CallPlan(
        actions=(HangUp(HANGS_UP_AT.get(name, 0.8)),), cadence_ms=20, wait_seconds=2.5, start_after_seconds=0.05
    )
    async with asyncio.timeout(BOUND_SECONDS), serve(answer, "127.0.0.1", 0, max_size=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        report = await place_call(url, plan, judging=JUDGING.get(name))
    # How far behind a bot gets that cannot keep time is a matter of the machine's moods.
    return set(report.broken) - (ALL_GAPS - {Rule.GAP_0_MS} if name == "paces_by_sleeping" else set())


def test_every_mistake_is_found_for_what_it_is() -> None:
    """One bot a mistake, each on its own server: the referee names its rule, and no other."""
    assert FINDS.keys() == MISTAKES.keys()

    async def main() -> dict[str, set[Rule]]:
        found = {}
        for names in (list(FINDS)[start::6] for start in range(6)):
            found |= dict(zip(names, await asyncio.gather(*map(judge, names)), strict=True))
        return found

    assert asyncio.run(main()) == FINDS


@pytest.mark.quiet
def test_nothing_is_found_in_ours() -> None:
    """The menu, interrupted twice, listened to, and its speech analysed; and the echo of a voice, with a short cadence."""

    async def call(handler: Handler, plan: CallPlan, *, judges_rate: bool = False) -> CallReport:
        judging = RefereeSettings(judges_rate=judges_rate)
        async with bridge(handler) as service:
            return await place_call(url_of(service), plan, judging=judging)

    presses = (Press(1.5, "1"), Press(4.5, "2"), HangUp(9.0))
    menu = CallPlan(actions=(Speak(0.0, built_in_voice()), *presses), start_after_seconds=0.05)
    echoed = CallPlan(actions=(Speak(0.0, built_in_voice()),), cadence_ms=20, start_after_seconds=0.05)

    async def main() -> list[CallReport]:
        return list(await asyncio.gather(call(ivr, menu, judges_rate=True), call(echo, echoed)))

    for report in on_uvloop(main()):
        assert report.broken == {}, report.violations
        assert report.ended_well
        assert report.counts.media > 50


def test_a_cooperating_bot_is_judged_by_its_watermarks() -> None:
    """Strict: silence of the old utterance after its clear is found out, which no ear could; the new one is not."""

    async def stamping(bot: Bot, rest: int) -> None:
        await bot.answer()
        await bot.play(stamp(bot.voice[:8000], 1))
        await bot.say("clear")
        await bot.play(stamp(SILENCE * 1600, rest))
        await bot.wait_for_stop()

    async def main(rest: int) -> CallReport:
        async def answer(connection: ServerConnection) -> None:
            await stamping(Bot(connection, voice()), rest)

        async with asyncio.timeout(BOUND_SECONDS), serve(answer, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            return await place_call(url, CallPlan(linger_seconds=0.3), judging=RefereeSettings(is_strict=True))

    old, new = asyncio.run(main(1)), asyncio.run(main(2))
    assert set(old.broken) == {Rule.STALE_AUDIO}
    assert "utterance 1" in old.violations[0].detail
    assert new.broken == {}
    assert new.watermarks_seen == 60


def test_a_pipecat_bot_is_found_out(tmp_path: Path) -> None:
    """With its Twilio serializer at 24 kHz, every payload is misaligned, none is numbered, and stop does not close.

    What it gets right is not blamed: the rate, the pace, the interruption.
    """
    out = tmp_path / "report.json"
    with pipecat_bot(write_voice(tmp_path), tmp_path / "bot.log") as url:
        arguments = [url, "--press", "1@3s", "--hang-up-at", "4s", "--json", str(out)]
        result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1, result.output
    (call,) = json.loads(out.read_text())["calls"]
    gaps = {rule.value for rule in ALL_GAPS}  # where the machine is too busy for its pacing
    assert set(call["broken"]) - gaps == {"misaligned_payload", "chunk_out_of_order", "not_closed"}
    assert call["broken"]["misaligned_payload"] == call["counts"]["media"] > 20
    assert call["counts"]["clears"] == 1
    first = next(one for one in call["violations"] if one["rule"] == "misaligned_payload")
    assert first["place"] == "docs/protocol.md#to-the-platform"
    assert "misaligned_payload, " in result.output
