"""The stall finder: which line holds a loop up, said once a stall, and never for a process that stood still as a whole."""

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path

from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.server.stalls import ROUND_SECONDS, STALL_SECONDS, StallFinder, WatchedLoop, place_of


def test_a_loop_that_is_held_up(caplog):
    """Each stall is said while it lasts, with the line that blocks, once; another loop is not blamed for it."""

    async def main():
        home = HandlerLoop.in_thread()
        assert home.thread is not None
        loops = (
            WatchedLoop("the main loop stands still", asyncio.get_running_loop(), threading.get_ident()),
            WatchedLoop("a handler blocks its thread", *home.thread),
        )
        with StallFinder(*loops).watching() as finder:
            await asyncio.sleep(2 * ROUND_SECONDS)
            for _ in range(2):
                began_at = time.time()
                time.sleep(STALL_SECONDS + 3 * ROUND_SECONDS)  # noqa: ASYNC251 - that is what is tested
                assert caplog.records[-1].created - began_at <= STALL_SECONDS + 2 * ROUND_SECONDS
                await asyncio.sleep(2 * ROUND_SECONDS)
            assert finder.stalls == 2
        assert home.stop(1.0)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert len(caplog.messages) == 2
    for text in caplog.messages:
        words, _, place = text.partition(" at=")
        assert words == "the main loop stands still"
        file, number, function = place.split(":")
        assert function == "main"
        assert "time.sleep(STALL_SECONDS" in Path(file).read_text().splitlines()[int(number) - 1]


def test_a_loop_that_is_only_busy(caplog):
    """Half a second of work is nothing to report, however often it comes."""

    async def main():
        loop = WatchedLoop("held up", asyncio.get_running_loop(), threading.get_ident())
        with StallFinder(loop).watching() as finder:
            for _ in range(4):
                time.sleep(STALL_SECONDS / 2)  # noqa: ASYNC251 - that is what is tested
                await asyncio.sleep(0)
            assert finder.stalls == 0

    asyncio.run(main())
    assert caplog.messages == []


def test_a_process_that_stood_still():
    """What the loop owes is counted anew from when the finder itself could run again."""

    async def main():
        loop = WatchedLoop("held up", asyncio.get_running_loop(), threading.get_ident())
        assert not loop.ask(0.0)
        assert not loop.ask(STALL_SECONDS - 0.1)
        loop.forgive(100.0)
        assert not loop.ask(100.0)
        assert loop.ask(100.0 + STALL_SECONDS)
        assert not loop.ask(200.0), "said twice"
        await asyncio.sleep(0)
        assert not loop.ask(300.0), "a new question"
        assert loop.ask(300.0 + STALL_SECONDS)

    asyncio.run(main())


def test_the_place_is_the_user_s():
    """Inside a library, it is the line that called it."""
    seen = []

    class Tell:
        def __lt__(self, other):
            seen.append(place_of(sys._getframe()))
            return True

    min(Tell(), Tell())
    assert seen[0] is not None
    assert seen[0].endswith(":__lt__")
    assert place_of(None) is None

    def key(_):
        frame = sys._getframe()
        seen.append(place_of(frame))
        return 0

    sorted([1], key=key)
    assert seen[-1].startswith(__file__)
