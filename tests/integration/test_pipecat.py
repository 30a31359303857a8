"""A call to a bot on pipecat's own WebSocket server, in a process of its own, judged by the referee."""

import audioop
import time
import wave
from pathlib import Path

from bots.running import pipecat_bot, write_voice
from integration.daemon import on_uvloop
from integration.legs import call_agent, check
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE, ulaw_to_pcm
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import CallPlan, Press, Speak
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.report import CallReport

VOICE = prompt("menu")


def likeness(first: bytes, second: bytes) -> float:
    """Return by how much the second piece of PCM16 is in the first, wherever it fits best: 1 for the same, 0 for unlike."""
    at, _ = audioop.findfit(first, second)
    found = first[2 * at : 2 * at + len(second)]
    return audioop.findfactor(found, second)


def without_gaps(report: CallReport) -> bytes:
    """Return what the caller heard, but for the gaps that a late machine makes; the rest is judged as strictly as ever."""
    heard = bytearray(report.heard)
    for gap in reversed(report.gaps):
        start = round(gap.at_seconds * SAMPLE_RATE_HZ)
        del heard[start : start + round(gap.seconds * SAMPLE_RATE_HZ)]
    return bytes(heard)


def test_a_bot_on_pipecat_s_own_server(tmp_path: Path) -> None:
    """It greets when it is told that we are ready, hears the caller, is interrupted by a key, and hangs up at another.

    Nothing in it is ours: transport, serializer and RTVI are pipecat's, at their own rates, 16 and 24 kHz.
    """
    heard = tmp_path / "heard.wav"
    caller = built_in_voice()[:8000]
    with pipecat_bot(write_voice(tmp_path), tmp_path / "bot.log", "pipecat_server.py", heard) as url:
        plan = CallPlan(actions=(Speak(0.5, caller), Press(2.5, "1"), Press(3.5, "0")), linger_seconds=20.0)
        report = on_uvloop(call_agent({"kind": "pipecat", "url": url}, plan))
        for _ in range(100):
            if heard.exists():
                break
            time.sleep(0.1)
    check(report)
    assert report.ended_by is EndedBy.BRIDGE
    assert report.counts.clears == 1
    spoken = ulaw_to_pcm(without_gaps(report).strip(SILENCE))
    assert likeness(ulaw_to_pcm(VOICE), spoken[: 2 * 8000]) > 0.9
    assert 1.0 < len(spoken) / 16000 < 2.6
    with wave.open(str(heard)) as recording:
        assert recording.getframerate() == 16000
        pcm = audioop.ratecv(recording.readframes(recording.getnframes()), 2, 1, 16000, 8000, None)[0]
    assert likeness(pcm, ulaw_to_pcm(caller)) > 0.9
