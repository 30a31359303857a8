"""Faults 29 to 32: what handlers of users do. Each costs its own call, and no neighbour a byte.

A handler that blocks its thread delays the others' handlers, and so their echoes; nothing of them is lost either.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from faults.support import SLACK_SECONDS, account_of, neighbours, resident_bytes, run
from integration.daemon import HANDLERS, Daemon, counts, until
from integration.wire import dialled

GRACE_SECONDS = 0.5
LEFT_ALONE = "^a handler does not end and is left alone "
BLOCKS = "^a handler blocks its thread "
STALL_SECONDS = 1.5  # reliability, G16: within which it is said
FAILED = "^handler failed "
KINDS = ("start", "media", "dtmf", "mark", "stop")


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all captures."""
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, captures: Path) -> Iterator[Daemon]:
    """A daemon whose handlers may fail, a traceback each."""
    with Daemon(
        tmp_path_factory.mktemp("daemon"),
        handler="answers:answer",
        expects=[FAILED, LEFT_ALONE, BLOCKS],
        tracebacks=len(KINDS) + 1,
        capture_dir=str(captures),
        handler_grace_seconds=GRACE_SECONDS,
    ) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_29_a_handler_that_raises_at_each_kind_of_event(daemon: Daemon, captures: Path, kind: str) -> None:
    """Its call is closed with 1011 at once, and its traceback is logged, once; at `stop` the call is over already."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await platform.start(role="fail_at", event=kind)
            if kind == "mark":
                await platform.say("mark", mark={"name": "never-sent"})  # which a handler never sees
            await platform.speak()
            await platform.press("1")
            if kind in ("mark", "stop"):
                await platform.stop()
            code, _ = await platform.closed(SLACK_SECONDS)
            end = await asyncio.to_thread(daemon.end_of, platform.sid)
            if kind in ("mark", "stop"):
                assert (code, end["termination"]) == (1000, "completed")
            else:
                assert (code, end["termination"]) == (1011, "handler_failed")
            await asyncio.to_thread(account_of, captures, platform.sid)
            assert len(daemon.log.find(f"handler failed stream_sid={platform.sid}")) == (kind != "mark")

    run(main())


def test_30_a_handler_that_blocks(daemon: Daemon, captures: Path) -> None:
    """Two seconds of time.sleep: the line that blocks is said within 1.5 s, once; its neighbours' echoes come later, all of them, and nothing of theirs is dropped."""

    async def main() -> None:
        async with neighbours(daemon) as calls, dialled(daemon.url) as platform:
            await platform.start(role="block")
            await platform.press("1")
            began_at = time.monotonic()
            await daemon.log.seen(BLOCKS.strip("^"))
            assert time.monotonic() - began_at < STALL_SECONDS + 0.25
            await platform.audio(1600)
            await asyncio.sleep(0.5)
            assert max(call.worst_seconds for call in calls) > 1.5, "it did not block"
            await platform.stop()
            assert await platform.closed(SLACK_SECONDS) == (1000, "")
            end = await asyncio.to_thread(daemon.end_of, platform.sid)
            assert end["termination"] == "completed"
            await asyncio.to_thread(account_of, captures, platform.sid)

    run(main())
    (said,) = daemon.log.find(BLOCKS.strip("^"))
    assert re.search(r" at=\S+/answers\.py:\d+:block$", said[1])
    number = int(said[1].rpartition(":block")[0].rpartition(":")[2])
    assert "time.sleep(2)" in (HANDLERS / "answers.py").read_text().splitlines()[number - 1]


@pytest.mark.parametrize("role", ["never_end", "ignore_cancelling"])
def test_31_a_handler_that_does_not_return(daemon: Daemon, captures: Path, role: str) -> None:
    """The caller is let go at once; the handler is cancelled after its grace, and left alone if it ignores that."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await platform.start(role=role)
            for _ in range(5):
                await platform.speak()
            await platform.stop()
            assert await platform.closed(SLACK_SECONDS) == (1000, "")
            end = await asyncio.to_thread(daemon.end_of, platform.sid, 2 * GRACE_SECONDS + SLACK_SECONDS)
            assert end["termination"] == "completed"
            assert counts(end["dropped_in"]) == {"unread": 25}
            account = await asyncio.to_thread(account_of, captures, platform.sid)
            assert account["ledger"]["delivered_bytes"] == 0

    run(main())
    assert len(daemon.log.find(LEFT_ALONE.strip("^"))) == (role == "ignore_cancelling")


def test_32_a_handler_that_floods(daemon: Daemon, captures: Path) -> None:
    """An hour of speech at once: `play` waits for room, so a minute of it is all that is held."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            before = resident_bytes(daemon.pid)
            await platform.start(role="speak_without_end")
            await platform.audio(16_000)
            assert resident_bytes(daemon.pid) - before < 8 << 20
            await platform.stop()
            assert await platform.closed(SLACK_SECONDS) == (1000, "")
            account = await asyncio.to_thread(account_of, captures, platform.sid)
            assert 60 * 8000 <= account["ledger"]["accepted_bytes"] <= 63 * 8000
            assert set(account["ledger"]["outbound_drops"]) == {"call_ended"}

    run(main())


def test_32_a_handler_that_floods_without_waiting(daemon: Daemon, captures: Path) -> None:
    """Marks in a loop without an await: it fails at a bound, and its call with it."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            before = resident_bytes(daemon.pid)
            await platform.start(role="mark_without_waiting")
            assert (await platform.closed(2 * SLACK_SECONDS))[0] == 1011
            assert resident_bytes(daemon.pid) - before < 8 << 20
            end = await asyncio.to_thread(daemon.end_of, platform.sid)
            assert end["termination"] == "handler_failed"
            await asyncio.to_thread(account_of, captures, platform.sid)

    run(main())


def test_keys_that_a_stuck_handler_never_takes(daemon: Daemon, captures: Path) -> None:
    """Keys are never dropped, so a caller who holds one down ends a call whose handler takes none: with 1011."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await platform.start(role="never_end")
            began_at = time.monotonic()
            closed = asyncio.ensure_future(platform.closed(15))
            number = 0
            with suppress(ConnectionClosed):  # it may be a press that finds it out
                while not closed.done():
                    await platform.press("5")
                    number += 1
                    await asyncio.sleep(began_at + number / 190 - time.monotonic())
            assert await closed == (1011, "the handler takes no events")
            assert 1024 < number < 1200
            account = await asyncio.to_thread(account_of, captures, platform.sid)
            assert account["termination"] == "limit"

    run(main())


def test_nothing_is_left(daemon: Daemon) -> None:
    """After all of this the daemon has as many sockets as at its start."""
    run(until(lambda: daemon.sockets() == 4))
