"""Faults 22 and 24 to 27: an agent that fails, stops reading, floods, talks garbage or closes in the middle of a call.

Fault 23, a network that goes dark, is in `test_dark_services.py`.
"""

import asyncio
import audioop
import json
import time
from pathlib import Path

from faults.agent import (
    APOLOGY,
    AgentCall,
    FaultyAgent,
    Told,
    check_end,
    lost_call,
    told_call,
    whisper,
    with_faulty_agent,
)
from faults.support import SLACK_SECONDS, resident_bytes
from integration.daemon import Daemon, until
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.speech import SpeechDetector
from smartflo_bridge.handlers.ivr import prompt

SECOND_BYTES = 8000
FRAME_BYTES = 160
FRAME_SECONDS = 0.02
FALLBACK_SECONDS = 5.0
BUDGET = 20
LEAD_SECONDS = 0.5
QUEUE_SECONDS = 30.0
ONE_MAY_COST = 8 << 20
CLEAR_SECONDS = 0.05
TEN_MINUTES = 600
KEPT_SECONDS = 2.0
FIRST, SECOND = whisper("first", 1.0), whisper("second", 1.0)


async def hear_out(told: Told, closed: "asyncio.Future[int]", audio: bytes) -> None:
    """Wait until the caller has heard this, and hang up."""
    await told.until_heard(audio)
    await told.platform.stop()
    assert await closed == 1000


async def _reset(call: AgentCall) -> None:
    """Speak, and die with a RST; speak otherwise when called again."""
    if call.number == 1:
        await call.speak(FIRST)
        await until(lambda: len(call.heard) > SECOND_BYTES)
        call.reset()
    await call.speak(SECOND)
    await call.listen()


def test_22_a_service_that_dies_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """Reached again at once; the caller keeps the call, what was said meanwhile is heard, and the gap is counted."""

    async def reset(call: AgentCall) -> None:
        listening = asyncio.ensure_future(call.listen())
        await _reset(call)
        await asyncio.wait([listening])

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with told_call(daemon, "reset") as (told, closed):
            said = whisper("caller", 3.0)
            for at in range(0, len(said), 800):
                await told.platform.speak(said[at : at + 800])
                await asyncio.sleep(0.1)
            await hear_out(told, closed, SECOND)
        leg = await check_end(daemon, tmp_path, told, "completed")
        first, second = agent.calls
        assert (first.start["resumed"], second.start["resumed"]) == (False, True)
        assert FIRST in told.heard
        assert second.heard
        assert said.startswith(first.heard)
        assert said.endswith(second.heard), "nothing that was said after the loss is missing"
        assert leg["dials"] == "2"
        assert 0 < int(leg["away_ms"]) < SLACK_SECONDS * 1000
        assert daemon.log.find("agent away .* reason=.*connection lost")

    with_faulty_agent(tmp_path, main, {"reset": reset})


def test_24_a_service_that_stops_reading(tmp_path: Path) -> None:
    """What it does not take in two seconds is dropped, the oldest first, and counted; nothing else of it is lost."""
    speed = 3  # times real time: full buffers sooner
    is_deaf = asyncio.Event()

    async def be_deaf(call: AgentCall) -> None:
        call.connection.transport.pause_reading()
        await is_deaf.wait()
        call.connection.transport.resume_reading()
        await call.listen()

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with told_call(daemon, "deaf") as (told, closed):
            said = whisper("caller", 8.0 * speed)
            began_at = time.monotonic()
            for at in range(0, len(said), 800 * speed):
                await told.platform.speak(said[at : at + 800 * speed])
                await asyncio.sleep(max(began_at + at / SECOND_BYTES / speed - time.monotonic(), 0))
            is_deaf.set()
            (call,) = agent.calls
            await until(lambda: call.heard.endswith(said[-800:]))
            await told.platform.stop()
            assert await closed == 1000
        leg = await check_end(daemon, tmp_path, told, "completed")
        dropped = int(leg["frames_unheard"]) * FRAME_BYTES
        assert leg["dials"] == "1"
        assert dropped > SECOND_BYTES
        assert len(call.heard) + dropped == len(said)
        kept = round(KEPT_SECONDS * SECOND_BYTES) - 800 * speed
        assert call.heard.endswith(said[-kept:])
        assert said.startswith(call.heard[:-kept][:SECOND_BYTES])

    with_faulty_agent(tmp_path, main, {"deaf": be_deaf})


def test_25_a_service_that_sends_ten_minutes_at_once(tmp_path: Path) -> None:
    """It is not read beyond the queue, the caller is paced, and one `clear` empties all of it at once, three times over."""
    floods = [whisper(f"flood {n}", 60.0) for n in range(3)]
    sent: list[int] = []
    judged: list[int] = []
    said = prompt("menu")[: 2 * SECOND_BYTES]

    async def flood(call: AgentCall) -> None:
        listening = asyncio.ensure_future(call.listen())
        for number, minute in enumerate(floods):
            sent.append(0)
            for at in range(0, TEN_MINUTES * SECOND_BYTES, SECOND_BYTES):
                await call.speak(minute[at % len(minute) :][:SECOND_BYTES])
                sent[number] += SECOND_BYTES
            await until(lambda number=number: _kinds(call).count("cleared") > number)  # type: ignore[misc]
            await until(lambda number=number: number in judged)  # type: ignore[misc]
            await asyncio.sleep(LEAD_SECONDS)  # the caller ends its sentence
        await call.speak(SECOND)
        await listening

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        before = resident_bytes(daemon.pid)
        took = []
        async with told_call(daemon, "flood") as (told, closed):
            for number in range(len(floods)):
                await until(lambda number=number: len(sent) > number and sent[number] > SECOND_BYTES)  # type: ignore[misc]
                began_at, heard = time.monotonic(), len(told.heard)
                await asyncio.sleep(2.0)
                seconds = time.monotonic() - began_at
                assert sent[number] < TEN_MINUTES * SECOND_BYTES / 2
                assert len(told.heard) - heard <= (seconds + LEAD_SECONDS + 0.2) * SECOND_BYTES
                assert resident_bytes(daemon.pid) - before < ONE_MAY_COST
                took.append(await barge_in(told, said))
                cleared = told.cleared_at[-1][1]
                await until(lambda number=number: sent[number] == TEN_MINUTES * SECOND_BYTES)  # type: ignore[misc]
                assert len(told.heard) == cleared, "something of it came after the clear"
                judged.append(number)
            await told.until_heard(SECOND)
            await told.platform.stop()
            assert await closed == 1000
        await check_end(daemon, tmp_path, told, "completed")
        assert len(told.cleared_at) == len(floods)
        print("from speech to clear:", *(f"{seconds * 1000:.1f} ms" for seconds in took))
        assert min(took) < CLEAR_SECONDS, took  # the least: the others tell how busy the machine is
        assert max(took) < SLACK_SECONDS, took

    with_faulty_agent(tmp_path, main, {"flood": flood})


def _kinds(call: AgentCall) -> list[str]:
    return [text["type"] for text in call.texts]


async def barge_in(told: Told, said: bytes) -> float:
    """Speak until cleared, and then be silent; return the seconds from the frame that makes it speech to the `clear`."""
    detector = SpeechDetector()
    count = len(told.cleared_at)
    decided_at = 0.0
    began_at = time.monotonic()
    for at in range(0, len(said), FRAME_BYTES):
        frame = said[at : at + FRAME_BYTES]
        if any(edge.is_speech for edge in detector.feed(frame)) and not decided_at:
            decided_at = time.monotonic()
        await told.platform.speak(frame)
        await asyncio.sleep(max(began_at + (at / FRAME_BYTES + 1) * FRAME_SECONDS - time.monotonic(), 0))
        if len(told.cleared_at) > count:
            break
    await until(lambda: len(told.cleared_at) > count)
    for _ in range(30):
        await told.platform.speak(b"\xff" * FRAME_BYTES)
        await asyncio.sleep(FRAME_SECONDS)
    return told.cleared_at[count][0] - decided_at


GARBAGE = ("", "{", "[]", "null", '{"type":5}', '{"type":"mark"}', "[" * 50_000, '{"type":"ready","format":"mp3"}')


def test_26_a_service_that_talks_garbage(tmp_path: Path) -> None:
    """Twenty messages are dropped, counted, and forgiven; one more, and the caller gets the fallback."""

    async def talk(call: AgentCall) -> None:
        for number in range(BUDGET + (call.start["custom"]["role"] == "too much")):
            await call.connection.send(GARBAGE[number % len(GARBAGE)])
        await call.say("of another version")
        await call.speak(FIRST)
        await call.listen()

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with told_call(daemon, "enough") as (told, closed):
            await hear_out(told, closed, FIRST)
        leg = await check_end(daemon, tmp_path, told, "completed")
        assert (leg["malformed"], leg["dials"]) == (str(BUDGET), "1")
        lost = await lost_call(daemon, tmp_path, "too much")
        assert lost.first_at(APOLOGY) < FALLBACK_SECONDS
        leg = await check_end(daemon, tmp_path, lost, "agent_lost")
        assert (leg["malformed"], leg["dials"]) == (str(BUDGET + 1), "1")
        assert FIRST not in lost.heard
        assert daemon.log.find(f"agent lost .* sent {BUDGET + 1} messages that are none of its protocol")

    with_faulty_agent(tmp_path, main, {"enough": talk, "too much": talk})


def test_26_a_service_whose_audio_is_not_what_it_says(tmp_path: Path) -> None:
    """PCM of another rate where mu-law was agreed, and text as audio, are refused unheard; samples cut anywhere are whole again."""
    voice = prompt("menu")[: 3 * SECOND_BYTES]
    wrong, _ = audioop.ratecv(ulaw_to_pcm(voice), 2, 1, 8000, 16000, None)
    pieces = (1, 3, 319, 0, 7, 1601)

    async def wrong_rate(call: AgentCall) -> None:
        await call.speak(wrong)
        await call.listen()

    async def text(call: AgentCall) -> None:
        for number in range(100):
            await call.speak(
                json.dumps({"type": "transcript", "text": "Hello, how are you today?", "n": number}).encode()
            )
        await call.listen()

    async def odd(call: AgentCall) -> None:
        await call.say("ready", format="pcm16;8000")
        pcm, at, number = ulaw_to_pcm(voice), 0, 0
        while at < len(pcm):
            size = pieces[number % len(pieces)]
            await call.speak(pcm[at : at + size])
            at, number = at + size, number + 1
        await call.say("done")
        await call.listen()

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with told_call(daemon, "odd") as (told, closed):
            await hear_out(told, closed, voice)
        assert (await check_end(daemon, tmp_path, told, "completed"))["dials"] == "1"
        for number, role in enumerate(("wrong rate", "text"), 1):
            lost = await lost_call(daemon, tmp_path, role)
            assert lost.heard.strip(b"\xff") == APOLOGY.strip(b"\xff")
            assert (await check_end(daemon, tmp_path, lost, "agent_lost"))["dials"] == "1"
            assert len(daemon.log.find("agent lost .* its speech is .*, where mu-law at 8000 Hz was agreed")) == number

    with_faulty_agent(tmp_path, main, {"wrong rate": wrong_rate, "text": text, "odd": odd})


HANGS_UP = (1000,)
AGAIN = (1001, 1011, 1012, 1013, 3000, 4000, 4999)
FOR_GOOD = (1002, 1003, 1007, 1008, 1009, 1010)


def test_27_a_service_that_closes(tmp_path: Path) -> None:
    """1000 is its hanging up, after what it said; where another try may help it is reached again; else the fallback."""

    async def close(call: AgentCall) -> None:
        await call.speak(FIRST if call.number == 1 else SECOND)
        if call.number == 1:
            await call.connection.close(int(call.start["custom"]["role"]), "as the test says")
        else:
            await call.listen()

    async def hung_up(daemon: Daemon, code: int) -> None:
        async with told_call(daemon, str(code)) as (told, closed):
            assert await closed == 1000
        assert FIRST in told.heard
        assert APOLOGY not in told.heard
        assert (await check_end(daemon, tmp_path, told, "hung_up"))["dials"] == "1"

    async def reached_again(daemon: Daemon, code: int) -> None:
        async with told_call(daemon, str(code)) as (told, closed):
            await hear_out(told, closed, SECOND)
        assert FIRST in told.heard
        leg = await check_end(daemon, tmp_path, told, "completed")
        assert leg["dials"] == "2"
        assert int(leg["away_ms"]) < SLACK_SECONDS * 1000

    async def given_up(daemon: Daemon, code: int) -> None:
        lost = await lost_call(daemon, tmp_path, str(code))
        assert FIRST in lost.heard
        assert (await check_end(daemon, tmp_path, lost, "agent_lost"))["dials"] == "1"
        assert daemon.log.find(f"agent lost .* connection closed with {code}")

    async def main(daemon: Daemon, agent: FaultyAgent) -> None:
        async with asyncio.TaskGroup() as calls:
            for check, codes in ((hung_up, HANGS_UP), (reached_again, AGAIN), (given_up, FOR_GOOD)):
                for code in codes:
                    calls.create_task(check(daemon, code))

    with_faulty_agent(tmp_path, main, {str(code): close for code in (*HANGS_UP, *AGAIN, *FOR_GOOD)})
