"""Faults 1, 2 and 5 to 16: what callers and the networks between do. The number of a fault is in its test's name.

Each ends its own call within its bound, or not at all, and the account balances; three neighbour calls lose no byte.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from faults.proxy import FaultProxy, fault_proxy
from faults.support import SLACK_SECONDS, CountedCall, account_of, counted_call, neighbours, resident_bytes, run
from integration.daemon import Daemon, counts, until
from integration.handlers.answers import speech
from integration.machine import again_if_starved
from integration.wire import Platform, check_speech, dialled, plan, sid_of
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import HangUp

START_DEADLINE_SECONDS = 1.5
IDLE_SECONDS = 3.0
WRITE_DEADLINE_SECONDS = 1.0
PING_SECONDS = 0.5
CLOSE_SECONDS = 2.0
GONE_SECONDS = 1.0  # reliability, G7: FIN, RST or a process killed


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all captures."""
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, captures: Path) -> Iterator[Daemon]:
    """A daemon with short limits that captures everything."""
    with Daemon(
        tmp_path_factory.mktemp("daemon"),
        handler="answers:answer",
        capture_dir=str(captures),
        start_deadline_seconds=START_DEADLINE_SECONDS,
        idle_seconds=IDLE_SECONDS,
        write_deadline_seconds=WRITE_DEADLINE_SECONDS,
    ) as running:
        yield running


async def end_within(daemon: Daemon, platform: Platform, seconds: float) -> dict[str, str]:
    """Return what the end line of a call says; it must come within `seconds` and what a busy machine adds."""
    return await asyncio.to_thread(daemon.end_of, platform.sid, seconds + SLACK_SECONDS)


def leave(platform: Platform) -> None:
    """Let the connection end with a FIN, without a close frame; what was to be read has been."""
    platform.connection.transport.close()


async def cut_in_a_frame(call: CountedCall, proxy: FaultProxy) -> None:
    """Let the network reset the connection in the middle of a message."""
    proxy.up.limit_bytes, proxy.up.limit_resets = proxy.up.passed_bytes + 500, True
    await call.platform.speak()


@pytest.mark.parametrize("fault", ["1: FIN", "2: RST in a frame", "7: half close"])
def test_gone_within_a_second(daemon: Daemon, captures: Path, fault: str) -> None:
    """Faults 1, 2, 7: the call is over, its peer lost; every whole message before was delivered."""

    async def main() -> None:
        async with (
            neighbours(daemon),
            fault_proxy(daemon.port) as proxy,
            counted_call(proxy.url, "own") as call,
        ):
            await call.talk(0.5)
            await call.check()
            match fault[0]:
                case "1":
                    leave(call.platform)
                case "2":
                    await cut_in_a_frame(call, proxy)
                case _:
                    proxy.half_close()
            end = await end_within(daemon, call.platform, GONE_SECONDS)
            assert end["termination"] == "peer_lost"
            account = await asyncio.to_thread(account_of, captures, call.platform.sid)
            assert account["ledger"]["received_bytes"] == account["ledger"]["delivered_bytes"] == len(call.said)

    run(main())


def test_5_a_caller_that_stops_reading_and_still_sends(daemon: Daemon, captures: Path) -> None:
    """Cut at the write deadline, although it is well alive; what it cost is bounded."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, dialled(proxy.url) as platform:
            before = resident_bytes(daemon.pid)
            proxy.down.stop_reading()
            platform.connection.transport.pause_reading()
            await platform.start(role="flood", times="1000")
            began_at = time.monotonic()
            said = 0
            while not daemon.log.find(f"call ended stream_sid={platform.sid} "):
                await platform.speak()
                said += 800
                await asyncio.sleep(0.05)
                assert time.monotonic() - began_at < WRITE_DEADLINE_SECONDS + SLACK_SECONDS
            assert resident_bytes(daemon.pid) - before < 8 << 20
            end = await end_within(daemon, platform, 0)
            assert end["termination"] == "peer_lost"
            account = await asyncio.to_thread(account_of, captures, platform.sid)
            assert 0 < account["ledger"]["received_bytes"] <= said

    run(main())


def test_6_a_line_of_4_kb_a_second_for_a_while(daemon: Daemon, captures: Path) -> None:
    """A third of what speech needs: the lead and the buffers take it up, nothing is lost, nothing is cut."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, counted_call(proxy.url, "own") as call:
            talking = asyncio.ensure_future(call.talk(4.0))
            await asyncio.sleep(1.0)  # of undisturbed speech
            proxy.down.bytes_per_second, proxy.down.slice_bytes = 4000, 200
            heard = len(call.heard)
            await asyncio.sleep(2.0)  # that is how long the line is narrow
            assert len(call.heard) - heard < 8000, "the line was not narrow"
            proxy.down.bytes_per_second = None
            await talking
            await call.stop()
            assert (await end_within(daemon, call.platform, 0))["termination"] == "completed"
            await asyncio.to_thread(account_of, captures, call.platform.sid)

    run(main())


def test_6_a_line_of_4_kb_a_second_for_good(daemon: Daemon, captures: Path) -> None:
    """It falls behind without end, so it is cut once the buffers on the way are full, and they are small."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, dialled(proxy.url) as platform:
            proxy.down.bytes_per_second, proxy.down.slice_bytes = 4000, 200
            platform.connection.transport.pause_reading()
            await platform.start(role="flood", times="1000")
            end = await end_within(daemon, platform, WRITE_DEADLINE_SECONDS)
            assert end["termination"] == "peer_lost"
            await asyncio.to_thread(account_of, captures, platform.sid)

    run(main())


@pytest.fixture(scope="module")
def pinging(tmp_path_factory: pytest.TempPathFactory, captures: Path) -> Iterator[Daemon]:
    """A daemon that pings often."""
    folder = tmp_path_factory.mktemp("pinging")
    with Daemon(folder, handler="answers:answer", capture_dir=str(captures), ping_seconds=PING_SECONDS) as running:
        yield running


def mute_pongs(platform: Platform) -> None:
    """Let this end answer no pings any more."""
    send = platform.connection.protocol.send_frame

    def send_frame(frame: Frame) -> None:
        if frame.opcode is not Opcode.PONG:
            send(frame)

    platform.connection.protocol.send_frame = send_frame


def test_8_a_caller_that_never_answers_pings(pinging: Daemon, captures: Path) -> None:
    """It is unknown whether the platform does, so its call goes on, past many pings."""

    async def main() -> None:
        async with neighbours(pinging), counted_call(pinging.url, "own") as call:
            mute_pongs(call.platform)
            await call.talk(6 * PING_SECONDS)
            await call.stop()
            assert (await end_within(pinging, call.platform, 0))["termination"] == "completed"
            await asyncio.to_thread(account_of, captures, call.platform.sid)

    run(main())


def test_8_a_caller_that_answers_no_more_pings(pinging: Daemon, captures: Path) -> None:
    """One that has answered before is gone: found out although it is spoken to, and sooner than by the idle limit."""

    async def main() -> None:
        async with neighbours(pinging), dialled(pinging.url) as platform:
            await platform.start(role="speak", seed="own", seconds="20")
            await platform.audio(8000)  # meanwhile it answers the library's pings
            await asyncio.sleep(PING_SECONDS)
            mute_pongs(platform)
            assert await platform.closed(2 * PING_SECONDS + SLACK_SECONDS) == (1006, "")
            end = await end_within(pinging, platform, 0)
            assert end["termination"] == "peer_lost"
            assert float(end["seconds"]) < 6.0
            await asyncio.to_thread(account_of, captures, platform.sid)

    run(main())


def test_9_a_caller_that_never_answers_our_close(daemon: Daemon, captures: Path) -> None:
    """It is let go after two seconds."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, dialled(proxy.url) as platform:
            await platform.start()
            await platform.speak()
            await daemon.log.seen(f"call started stream_sid={platform.sid} ")
            proxy.down.is_black_hole = True
            await platform.stop()
            end = await end_within(daemon, platform, CLOSE_SECONDS)
            assert end["termination"] == "completed"
            assert float(end["seconds"]) > CLOSE_SECONDS - 0.1
            await asyncio.to_thread(account_of, captures, platform.sid)

    run(main())


def test_10_no_start(daemon: Daemon) -> None:
    """Closed with 1008 at the start deadline, whatever else is said."""

    async def main() -> None:
        async with neighbours(daemon), dialled(daemon.url) as platform:
            began_at = time.monotonic()
            await platform.speak()
            assert await platform.closed(START_DEADLINE_SECONDS + SLACK_SECONDS) == (1008, "no start")
            assert time.monotonic() - began_at > START_DEADLINE_SECONDS - 0.1

    run(main())


def test_11_stop_never_comes(daemon: Daemon, captures: Path) -> None:
    """A caller that just falls silent is gone at the idle limit."""

    async def main() -> None:
        async with neighbours(daemon), counted_call(daemon.url, "own") as call:
            await call.talk(0.3)
            await call.check()
            end = await end_within(daemon, call.platform, IDLE_SECONDS)
            assert end["termination"] == "limit"
            account = await asyncio.to_thread(account_of, captures, call.platform.sid)
            assert (account["code"], account["reason"]) == (1001, "nothing heard")

    run(main())


@pytest.mark.parametrize("fault", ["12: slices", "13: coalesced", "14: latency", "15: stall"])
def test_nothing_is_lost(daemon: Daemon, captures: Path, fault: str) -> None:
    """Faults 12 to 15: bytes one at a time, 40 frames in one segment, 300 +- 200 ms, 2 s of nothing: all comes, in order."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, counted_call(proxy.url, "own") as call:
            cadence_seconds = 0.1
            match fault[:2]:
                case "12":
                    proxy.up.slice_bytes = proxy.down.slice_bytes = 1
                case "13":
                    proxy.up.coalesce_seconds, cadence_seconds = 0.8, 0.02
                case "14":
                    for flow in (proxy.up, proxy.down):
                        flow.latency_seconds, flow.jitter_seconds = 0.3, 0.2
                case _:
                    asyncio.get_running_loop().call_later(0.5, proxy.up.stop_writing)
                    asyncio.get_running_loop().call_later(2.5, proxy.up.flow)
            await call.talk(3.2, cadence_seconds)
            await call.stop()
            assert (await end_within(daemon, call.platform, 1.0))["termination"] == "completed"
            account = await asyncio.to_thread(account_of, captures, call.platform.sid)
            assert account["ledger"]["delivered_bytes"] == account["ledger"]["sent_bytes"] == len(call.said)

    run(main())


@again_if_starved
def test_14_jitter_is_absorbed_by_the_lead(daemon: Daemon) -> None:
    """Speech over a line of 300 +- 200 ms is heard without a gap: the lead is half a second here."""

    async def main() -> None:
        async with fault_proxy(daemon.port) as proxy:
            for flow in (proxy.up, proxy.down):
                flow.latency_seconds, flow.jitter_seconds = 0.3, 0.2
            report = await place_call(proxy.url, plan(HangUp(4.0), role="speak", seed="own", seconds="3"))
        check_speech(report, speech("own", 3))
        assert len(report.heard.strip(b"\xff")) == 3 * 8000
        assert (await asyncio.to_thread(daemon.end_of, sid_of(report)))["termination"] == "completed"

    run(main())


def test_16_a_stall_that_a_slow_handler_cannot_catch_up_with(daemon: Daemon, captures: Path) -> None:
    """What comes in one burst beyond the bound costs the oldest audio, counted; the rest is in order, the call goes on."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, dialled(proxy.url) as platform:
            await platform.start(role="sleep_over", seconds="4")
            call = CountedCall(platform, "own")
            listening = asyncio.ensure_future(call.listen())
            await call.talk(0.5)
            proxy.up.stop_writing()
            await call.talk(IDLE_SECONDS - 0.5)
            proxy.up.flow()
            await call.talk(1.0)
            await until(lambda: call.heard)
            await call.talk(0.5)
            await until(lambda: call.heard.endswith(call.said[-800:]))
            listening.cancel()
            await platform.stop()
            end = await end_within(daemon, platform, 0)
            assert end["termination"] == "completed"
            account = await asyncio.to_thread(account_of, captures, platform.sid)
            lost = account["ledger"]["inbound_drops"]["slow_handler"]
            assert account["ledger"]["received_bytes"] == len(call.said) == len(call.heard) + lost
            assert counts(end["dropped_in"]) == {"slow_handler": lost // 160}
            kept_bytes = 8 * 800 - 800  # what was ready before; the start is one of the eight
            assert call.heard == call.said[:kept_bytes] + call.said[kept_bytes + lost :]

    run(main())


def test_16_a_stall_of_ten_seconds(tmp_path: Path) -> None:
    """Below the idle limit it costs nothing but time, at the shortest cadence too: 500 messages at once are no flood."""

    async def main(daemon: Daemon) -> None:
        async with fault_proxy(daemon.port) as proxy, counted_call(proxy.url, "own") as call:
            await call.talk(0.5, 0.02)
            proxy.up.stop_writing()
            await call.talk(10.0, 0.02)
            proxy.up.flow()
            await call.talk(0.5, 0.02)
            await until(lambda: call.heard.endswith(call.said[-160:]), 20)
            await call.platform.stop()
            end = await asyncio.to_thread(daemon.end_of, call.platform.sid)
            assert end["termination"] == "completed"
            account = await asyncio.to_thread(account_of, tmp_path, call.platform.sid)
            lost = account["ledger"]["inbound_drops"].get("slow_handler", 0)
            assert len(call.heard) + lost == len(call.said) == account["ledger"]["received_bytes"]

    with Daemon(tmp_path, handler="answers:answer", capture_dir=str(tmp_path), inbound_seconds=4) as daemon:
        run(main(daemon))


def test_a_corrupt_byte(daemon: Daemon, captures: Path) -> None:
    """TCP lets one through in a thousand million: the message is dropped and counted, or the connection ends; no more."""

    async def main() -> None:
        async with neighbours(daemon), fault_proxy(daemon.port) as proxy, counted_call(proxy.url, "own") as call:
            await call.talk(0.3)
            await call.check()
            proxy.up.corrupt_at = proxy.up.read_bytes + 20  # inside the next message's JSON
            await call.platform.speak()
            await call.talk(0.3)
            await call.stop()
            end = await end_within(daemon, call.platform, 0)
            assert end["termination"] == "completed"
            account = await asyncio.to_thread(account_of, captures, call.platform.sid)
            assert sum(account["ledger"]["anomalies"].values()) >= 1

    run(main())


def test_nothing_is_left(daemon: Daemon) -> None:
    """After all of this the daemon has as many sockets as at its start."""
    run(until(lambda: daemon.sockets() == 4))
