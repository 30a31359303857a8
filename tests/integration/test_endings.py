"""How calls end, well and badly: each ends its own call only, within its bound, with the right termination in the log.

Two neighbour calls go on beside every case, and hear each byte of their speech without a gap.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon import Daemon, counts, pairs, until
from integration.handlers.answers import speech
from integration.wire import FOR_EVER, Platform, check_speech, dialled, neighbours, plan, sid_of
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import Ending, HangUp, Press, StopReading
from smartflo_bridge.simulator.progress import EndedBy

START_DEADLINE_SECONDS = 1.0
IDLE_SECONDS = 1.5
WRITE_DEADLINE_SECONDS = 1.0
GRACE_SECONDS = 0.5
BUDGET = 5
FILLING = "1000"  # media and clears of 0.4 MB: more than the buffers take, less than the library is allowed to hold
LEFT_ALONE = "a handler does not end and is left alone "
SLACK_SECONDS = 1.0  # what a busy machine may add to a bound
READER_SECONDS = 15.0  # reliability, G7: a stopped reader while we send


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with short limits, and handlers of a user."""
    with Daemon(
        tmp_path_factory.mktemp("daemon"),
        handler="answers:answer",
        expects=["^handler failed ", "^a handler blocks its thread "],
        tracebacks=1,
        start_deadline_seconds=START_DEADLINE_SECONDS,
        idle_seconds=IDLE_SECONDS,
        write_deadline_seconds=WRITE_DEADLINE_SECONDS,
        handler_grace_seconds=GRACE_SECONDS,
        bad_message_budget=BUDGET,
    ) as running:
        yield running


async def started(platform: Platform, daemon: Daemon, role: str = "listen") -> None:
    """Start a stream, and wait until the daemon has it."""
    await platform.start(role=role, seed="own", seconds="5")
    await daemon.log.seen(f"call started stream_sid={platform.sid} ")


async def end_within(daemon: Daemon, platform: Platform, seconds: float) -> dict[str, str]:
    """Return what the end line of a call says; it must come within `seconds`."""
    return await asyncio.to_thread(daemon.end_of, platform.sid, seconds)


@pytest.mark.parametrize("way", ["RST", "FIN", "half close", "close 1000", "close 1001", "stop", "stop, no close"])
def test_the_platform_ends_a_call(daemon: Daemon, way: str) -> None:
    """By `stop`, by a close, or by vanishing: it is over within a second, and only the vanished was lost."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon, "speak")
            await platform.audio(800)
            match way:
                case "RST":
                    platform.reset()
                case "FIN":
                    await platform.audio(800)
                    platform.connection.transport.abort()
                case "half close":
                    platform.half_close()
                case "close 1000" | "close 1001":
                    await platform.connection.close(int(way[-4:]))
                case "stop":
                    await platform.stop()
                    assert await platform.closed(1 + SLACK_SECONDS) == (1000, "")
                case _:
                    await platform.stop()
                    platform.connection.transport.pause_reading()  # so the close goes unanswered
            # For an answer to our close 2 s are given; all else is quick.
            end = await end_within(daemon, platform, (2 if way == "stop, no close" else 1) + SLACK_SECONDS)
            if way == "stop, no close":
                assert float(end["seconds"]) > 1.9
            assert end["termination"] == ("peer_lost" if way in ("RST", "FIN", "half close") else "completed")

    asyncio.run(main())


def test_audio_after_stop_is_not_sent(daemon: Daemon) -> None:
    """After `stop` nothing more comes, although seconds of speech are queued; what was dropped is counted."""

    async def main() -> None:
        async with neighbours(daemon):
            report = await place_call(
                daemon.url, plan(HangUp(1.07, Ending.STOP_ONLY), role="speak", seed="own", seconds="10")
            )
        assert report.counts.media_after_stop == 0
        assert (report.ended_by, report.close_code) == (EndedBy.CALLER, 1000)
        assert report.closed_after_seconds is not None
        assert report.closed_after_seconds < SLACK_SECONDS
        check_speech(report, speech("own", 10))
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert int(end["frames_out"]) == report.counts.payload_bytes // 160
        assert int(end["frames_out"]) + counts(end["dropped_out"])["call_ended"] == 10 * 50
        assert sum(counts(end["marks"]).values()) == 10

    asyncio.run(main())


def test_a_handler_that_raises(daemon: Daemon) -> None:
    """Its call is closed with 1011, and its traceback is logged once."""

    async def main() -> None:
        async with neighbours(daemon):
            report = await place_call(daemon.url, plan(Press(0.3, "1"), FOR_EVER, role="fail"))
        assert (report.close_code, report.ended_by) == (1011, EndedBy.BRIDGE)
        assert report.duration_seconds < 0.3 + SLACK_SECONDS
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "handler_failed"

    asyncio.run(main())
    assert len(daemon.log.find("handler failed stream_sid=")) == 1
    assert len(daemon.log.find("RuntimeError: this handler fails on purpose")) == 1


def test_a_handler_that_calls_sys_exit(tmp_path: Path) -> None:
    """It ends its own call like any other failure, and is counted; the handlers of other calls, and of later ones, go on."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon):
            report = await place_call(daemon.url, plan(Press(0.3, "1"), HangUp(2.0), role="leave"))
            later = await place_call(daemon.url, plan(HangUp(1.0), role="speak", seed="later", seconds="0.5"))
        check_speech(later, speech("later", 0.5))
        assert report.close_code == 1011

    with Daemon(tmp_path, handler="answers:answer", expects=["^handler failed "], tracebacks=1) as daemon:
        asyncio.run(main(daemon))
    assert pairs(daemon.log.all()[-1])["failures"] == "handler:1"


def test_a_handler_that_blocks(daemon: Daemon) -> None:
    """Two seconds of time.sleep in a handler: others hear what is queued without a gap, and it goes on afterwards."""

    async def main() -> None:
        async with neighbours(daemon):
            report = await place_call(daemon.url, plan(Press(0.3, "1"), HangUp(3.5), role="block"))
        check_speech(report, speech("awake", 0.2))
        assert report.first_audio_seconds is not None
        assert 2.3 <= report.first_audio_seconds < 2.3 + SLACK_SECONDS
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "completed"
        assert "dropped_in" not in end

    asyncio.run(main())


def test_a_platform_that_stops_reading_while_it_is_spoken_to(daemon: Daemon) -> None:
    """At the pace of speech the buffers on the way fill slowly, and it is cut all the same, within 15 s."""

    async def main() -> None:
        async with neighbours(daemon):
            report = await place_call(
                daemon.url, plan(StopReading(0.5), FOR_EVER, role="speak", seed="own", seconds="60")
            )
        assert report.ended_by == EndedBy.LOST
        assert report.duration_seconds < 0.5 + READER_SECONDS + SLACK_SECONDS
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "peer_lost"
        assert int(end["frames_out"]) + counts(end["dropped_out"])["call_ended"] == 60 * 50

    asyncio.run(main())


def test_a_platform_that_neither_reads_nor_says_anything(daemon: Daemon) -> None:
    """What its handler sent fills the buffers on the way and waits behind them: the write deadline cuts it."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            platform.connection.transport.pause_reading()
            await platform.start(role="flood", times=FILLING)
            end = await end_within(daemon, platform, WRITE_DEADLINE_SECONDS + SLACK_SECONDS)
            assert end["termination"] == "peer_lost"
            assert float(end["seconds"]) >= WRITE_DEADLINE_SECONDS

    asyncio.run(main())


def test_what_a_platform_that_does_not_read_costs(tmp_path: Path) -> None:
    """A handler that sends without end to it costs at most 8 MiB (reliability, G5), also with the default deadline."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            before = _resident_bytes(daemon.pid)
            platform.connection.transport.pause_reading()
            await platform.start(role="flood", times="1000000000")
            most = before
            while not daemon.log.find(f"call ended stream_sid={platform.sid} "):
                most = max(most, _resident_bytes(daemon.pid))
                await asyncio.sleep(0.05)
            assert most - before < 8 << 20

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        asyncio.run(main(daemon))


def test_a_flood_of_pings(tmp_path: Path) -> None:
    """Pongs that nobody reads cost at most 8 MiB (reliability, F3): the connection is cut."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon)
            before = most = _resident_bytes(daemon.pid)
            transport = platform.connection.transport
            transport.pause_reading()
            pings = b"\x89\xfd\0\0\0\0" + b"x" * 125
            while not transport.is_closing():
                transport.write(500 * pings)
                most = max(most, _resident_bytes(daemon.pid))
                await asyncio.sleep(0.01)
            end = await end_within(daemon, platform, SLACK_SECONDS)
            assert end["termination"] == "peer_lost"
            assert most - before < 8 << 20

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        asyncio.run(main(daemon))


def test_a_handler_that_does_not_end(daemon: Daemon) -> None:
    """The platform is let go at once; the handler is cancelled when its grace is over."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon, "never_end")
            await platform.stop()
            assert await platform.closed(SLACK_SECONDS) == (1000, "")
            end = await end_within(daemon, platform, GRACE_SECONDS + SLACK_SECONDS)
            assert end["termination"] == "completed"
            assert float(end["seconds"]) >= GRACE_SECONDS

    asyncio.run(main())


def test_a_handler_that_ignores_being_cancelled(tmp_path: Path) -> None:
    """It is left alone after its grace and as long again, with one warning; the daemon ends without another word of it."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon, "ignore_cancelling")
            await platform.stop()
            assert await platform.closed(SLACK_SECONDS) == (1000, "")
            end = await end_within(daemon, platform, 2 * GRACE_SECONDS + SLACK_SECONDS)
            assert end["termination"] == "completed"
            assert float(end["seconds"]) >= 2 * GRACE_SECONDS
            assert len(daemon.log.find(LEFT_ALONE)) == 1

    with Daemon(
        tmp_path, handler="answers:answer", expects=[LEFT_ALONE], handler_grace_seconds=GRACE_SECONDS
    ) as daemon:
        asyncio.run(main(daemon))


def test_no_start(daemon: Daemon) -> None:
    """A connection without a stream is closed with 1008 at the start deadline; `connected` does not move it."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            began_at = time.monotonic()
            await platform.connection.send('{"event":"connected"}')
            assert await platform.closed(START_DEADLINE_SECONDS + SLACK_SECONDS) == (1008, "no start")
            assert time.monotonic() - began_at >= START_DEADLINE_SECONDS - 0.05

    asyncio.run(main())


def test_a_start_without_a_stream(daemon: Daemon) -> None:
    """Nothing could be answered: it is closed with 1008 at once."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await platform.connection.send('{"event":"start","start":{"callSid":"c1"}}')
            assert await platform.closed(SLACK_SECONDS) == (1008, "start has no streamSid")

    asyncio.run(main())


def test_a_stream_that_is_being_served_already(daemon: Daemon) -> None:
    """The second connection is closed with 1008; the first goes on, and its stream is free again after it."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as first:
            await started(first, daemon)
            async with dialled(daemon.url) as second:
                second.sid = first.sid
                await second.start(role="speak", seed="x", seconds="1")
                assert await second.closed(SLACK_SECONDS) == (1008, "this stream is being served already")
            await first.stop()
            assert await first.closed(SLACK_SECONDS) == (1000, "")
            await end_within(daemon, first, SLACK_SECONDS)
            async with dialled(daemon.url) as third:
                third.sid = first.sid
                await third.start(role="speak", seed="x", seconds="1")
                heard = await third.audio(800)
                assert heard == speech("x", 1)[: len(heard)]

    asyncio.run(main())


def test_a_platform_that_falls_silent(daemon: Daemon) -> None:
    """Without any message for the idle limit the call is closed with 1001, although it is being spoken to."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon, "speak")
            began_at = time.monotonic()
            assert await platform.closed(IDLE_SECONDS + SLACK_SECONDS) == (1001, "nothing heard")
            assert time.monotonic() - began_at >= IDLE_SECONDS - 0.2
            end = await end_within(daemon, platform, SLACK_SECONDS)
            assert end["termination"] == "limit"

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before start", "in the stream"])
def test_malformed_messages_past_the_budget(daemon: Daemon, when: str) -> None:
    """So many are ignored; one more closes the connection with 1008."""
    bad = ["{", "[]", "42", '{"event":"media"}', '{"event":"media","media":{"payload":"!!!!"}}', "{}", '{"a":' * 10_000]

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            if when == "in the stream":
                await started(platform, daemon, "speak")
            for message in bad[:BUDGET]:
                await platform.connection.send(message)
            if when == "in the stream":
                assert await platform.audio(8000) == speech("own", 5)[:8000]
            await platform.connection.send(bad[BUDGET])
            assert await platform.closed(SLACK_SECONDS) == (1008, "too many malformed messages")
            if when == "in the stream":
                end = await end_within(daemon, platform, SLACK_SECONDS)
                assert end["termination"] == "protocol_error"
                assert counts(end["anomalies"])["malformed"] == BUDGET + 1

    asyncio.run(main())


def test_a_message_that_is_too_large(daemon: Daemon) -> None:
    """It is closed with 1009, and the log says whose fault it was."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await started(platform, daemon)
            await platform.connection.send(json.dumps({"event": "x", "y": "z" * 65_536}))
            assert (await platform.closed(SLACK_SECONDS))[0] == 1009
            end = await end_within(daemon, platform, SLACK_SECONDS)
            assert end["termination"] == "protocol_error"

    asyncio.run(main())


def test_a_handler_that_hangs_up(daemon: Daemon) -> None:
    """What is queued is heard to its end, then the call is closed with 1000."""

    async def main() -> None:
        async with neighbours(daemon):
            report = await place_call(daemon.url, plan(FOR_EVER, role="hang_up", seed="bye", seconds="1"))
        check_speech(report, speech("bye", 1))
        assert len(report.heard.strip(b"\xff")) == 8000
        assert (report.close_code, report.ended_by) == (1000, EndedBy.BRIDGE)
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "hung_up"

    asyncio.run(main())


@pytest.mark.parametrize("stops", [True, False], ids=["with stop", "without stop"])
def test_hanging_up_by_end(tmp_path: Path, stops: bool) -> None:
    """`end` is said once all has been heard; the platform's `stop` completes it, and without one 2 s pass."""

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            await platform.start(role="hang_up", seed="bye", seconds="0.5")
            mark = await platform.until("mark")
            await asyncio.sleep(0.5)  # it is being heard
            await platform.say("mark", mark=mark["mark"])
            end = await platform.until("end")
            assert (end["streamSid"], end["call_sid"]) == (platform.sid, "c1")
            began_at = time.monotonic()
            if stops:
                await platform.stop()
            assert await platform.closed(3 + SLACK_SECONDS) == (1000, "")
            took = time.monotonic() - began_at
            assert took < SLACK_SECONDS if stops else 1.9 <= took < 2 + SLACK_SECONDS
            line = await end_within(daemon, platform, SLACK_SECONDS)
            assert line["termination"] == "hung_up"

    with Daemon(tmp_path, handler="answers:answer", hang_up="end") as daemon:
        asyncio.run(main(daemon))


def test_the_longest_call(tmp_path: Path) -> None:
    """By our own clock, whatever the platform says: a call is closed with 1000 when it has lasted long enough."""
    with Daemon(tmp_path, handler="answers:answer", max_call_seconds=1.5) as daemon:
        report = asyncio.run(place_call(daemon.url, plan(FOR_EVER, role="speak", seed="own", seconds="10")))
        end = daemon.end_of(sid_of(report))
    check_speech(report, speech("own", 10))
    assert (report.close_code, report.close_reason) == (1000, "maximum length of a call")
    assert 1.4 <= report.duration_seconds < 1.5 + SLACK_SECONDS
    assert end["termination"] == "limit"


def test_nothing_is_left(daemon: Daemon) -> None:
    """After all of this the daemon has as many sockets as at its start, and serves."""

    async def main() -> None:
        await until(lambda: daemon.sockets() == 4)  # two ports, and how each of two loops wakes itself
        async with neighbours(daemon):
            pass

    asyncio.run(main())


def _resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    (text,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(text.split()[1]) * 1024
