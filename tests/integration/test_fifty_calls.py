"""Many calls at once: nobody hears a gap, and when they are over nothing is left of them.

The calls are placed by another process. What is left is counted in the daemon from outside, and in a bridge in this
process from inside.
"""

import asyncio
import json
import os
import urllib.request
from pathlib import Path

from integration.daemon import DEFAULT_LEAD_SECONDS, Daemon, bridge, on_uvloop, open_files, until, url_of
from integration.generator import Result, place
from integration.handlers.answers import answer
from integration.machine import GapsError, again_if_starved
from integration.wire import plan
from smartflo_bridge import Call
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import Action, Ending, HangUp, Press, StopReading

CALLS = 50
SECONDS = 20.0
SPEECH_SECONDS = 18.0
FRAMES = 900  # of that speech
MARKS = 18


def check(results: list[Result]) -> None:
    """Fail unless every caller heard all of their speech, and nothing else, without a gap."""
    worst = max(result.lateness_seconds for result in results)
    gaps = [gap for result in results for gap in result.gaps]
    if gaps:
        msg = f"{len(gaps)} gaps, the longest of {max(gaps)} s; the generator itself was {worst:.3f} s late"
        raise GapsError(msg)
    for result in results:
        assert result.heard_all
        assert (result.misaligned, result.faults) == (0, 0)
        assert result.marks == result.marks_echoed > 0
        assert result.close_code == 1000
        assert result.first_audio_seconds is not None
        assert result.first_audio_seconds < 1.0


@again_if_starved
def test_fifty_calls_of_twenty_seconds(tmp_path: Path) -> None:
    """No gap on a playout clock without a jitter buffer, every mark played, every frame accounted for, nothing left."""
    with Daemon(tmp_path, handler="answers:answer", lead_seconds=DEFAULT_LEAD_SECONDS) as daemon:
        idle = daemon.open_files()
        results = place(daemon.url, calls=CALLS, seconds=SECONDS, speech_seconds=SPEECH_SECONDS)
        ends = {end["stream_sid"]: end for end in daemon.ended(CALLS)}
        check(results)
        assert len(ends) == len(results) == CALLS
        for result in results:
            end = ends[result.stream_sid]
            assert end["termination"] == "completed"
            assert int(end["frames_in"]) == 5 * result.chunks_sent
            assert int(end["frames_out"]) == result.frames_received == FRAMES
            assert end["marks"] == f"played:{MARKS}"
            assert not {"dropped_in", "dropped_out", "gaps", "anomalies"} & set(end)
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.port}/health") as health:
            told = json.load(health)
        assert (told["calls"], told["calls_served"]) == (0, CALLS)
        asyncio.run(until(lambda: daemon.open_files() == idle))


@again_if_starved
def test_nothing_is_left_of_calls_that_are_over() -> None:
    """In the bridge itself: no call, no connection, no task, no file descriptor; and every ledger is balanced."""
    ledgers: list[Ledger] = []

    async def keep_ledger(call: Call) -> None:
        ledgers.append(call.counters)
        await answer(call)

    async def main() -> None:
        async with bridge(keep_ledger) as service:
            idle, files = asyncio.all_tasks(), open_files(os.getpid())
            for calls in (1, 10):
                results = await asyncio.to_thread(place, url_of(service), calls=calls, seconds=2.0, speech_seconds=1.0)
                check(results)
            await until(lambda: asyncio.all_tasks() == idle)
            assert len(service.registry) == service.registry.connections == 0
            assert service.registry.calls_served == len(ledgers) == 11
            assert open_files(os.getpid()) == files
        assert all(ledger.balanced for ledger in ledgers)
        assert all(ledger.delivered_bytes == ledger.received_bytes > 0 for ledger in ledgers)

    on_uvloop(main())


def test_nothing_is_left_however_calls_end() -> None:
    """The same of forty calls at once that end in every way, in the middle of their speech."""
    ledgers: list[Ledger] = []

    async def keep_ledger(call: Call) -> None:
        ledgers.append(call.counters)
        await answer(call)

    async def end(url: str, number: int) -> None:
        at_seconds = 0.3 + number / 40
        ways: list[tuple[Action, ...]] = [(HangUp(at_seconds, ending),) for ending in Ending]
        ways += [(StopReading(0.2), HangUp(at_seconds, Ending.DROP)), (Press(at_seconds, "1"), HangUp(3.0))]
        actions = ways[number % len(ways)]
        role = "hang_up" if isinstance(actions[0], Press) else "speak"
        await place_call(url, plan(*actions, role=role, seed=f"call {number}", seconds="0.5"))

    async def main() -> None:
        async with bridge(keep_ledger) as service:
            idle, files = asyncio.all_tasks(), open_files(os.getpid())
            await asyncio.gather(*(end(url_of(service), number) for number in range(40)))
            await until(lambda: asyncio.all_tasks() == idle)
            await until(lambda: open_files(os.getpid()) == files)
            assert len(service.registry) == service.registry.connections == 0
            assert service.registry.calls_served == len(ledgers) == 40
        assert all(ledger.balanced for ledger in ledgers)

    on_uvloop(main())
