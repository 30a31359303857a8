"""Too many at once, over real sockets: handshakes that go nowhere, calls in a burst, a loop that is late, large requests."""

import asyncio
import itertools
import json
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from integration.daemon import WAIT_SECONDS, Daemon, until
from integration.handlers.answers import speech
from integration.test_gate import ask, talk
from integration.wire import dialled
from smartflo_bridge.server.admission import MAX_PENDING_PER_ADDRESS


def half_open(port: int, count: int, stack: ExitStack, address: str = "127.0.0.1") -> list[socket.socket]:
    """Begin so many requests that do not end, from an address of this machine."""
    sockets = []
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(address, 0)))
        sock.sendall(b"GET /vendor-stream HTTP/1.1\r\n")
        sockets.append(sock)
    return sockets


def is_cut(sock: socket.socket) -> bool:
    """True if the daemon has closed or reset this connection."""
    sock.settimeout(0)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_handshakes_that_go_nowhere_do_not_keep_others_out(tmp_path: Path) -> None:
    """From one address, what is over the limit is cut at once; from others, calls come in; after the time-out, from it too."""
    with Daemon(tmp_path, handler="answers:answer", open_seconds=4) as daemon, ExitStack() as stack:
        held = half_open(daemon.port, MAX_PENDING_PER_ADDRESS + 36, stack, "127.0.0.2")
        asyncio.run(until(lambda: daemon.sockets() == 4 + MAX_PENDING_PER_ADDRESS, 2))
        assert sum(is_cut(sock) for sock in held) == 36
        asyncio.run(talk(daemon))
        asyncio.run(until(lambda: daemon.sockets() == 4, 5))
        half_open(daemon.port, MAX_PENDING_PER_ADDRESS, stack, "127.0.0.2")
        asyncio.run(until(lambda: daemon.sockets() == 4 + MAX_PENDING_PER_ADDRESS))
        assert len(daemon.log.find("connections refused why=pending_of_address")) == 1


def test_a_trusted_proxy_is_not_limited_by_its_address(tmp_path: Path) -> None:
    """But by the limit for all."""
    with (
        Daemon(tmp_path, handler="answers:answer", trusted_proxies=["127.0.0.2"], open_seconds=10) as daemon,
        ExitStack() as stack,
    ):
        half_open(daemon.port, 200, stack, "127.0.0.2")
        asyncio.run(until(lambda: daemon.sockets() == 204))
        asyncio.run(talk(daemon))
        half_open(daemon.port, 100, stack, "127.0.0.2")
        daemon.log.wait_for("connections refused why=pending ")
        asyncio.run(until(lambda: daemon.sockets() == 4 + 256, 2))


def told(daemon: Daemon) -> dict[str, int]:
    """Return what the daemon's health says."""
    status, answer = ask(daemon.port, "/health", "")
    assert status == 200
    health: dict[str, int] = json.loads(answer.partition("\r\n\r\n")[2])
    return health


async def is_refused(daemon: Daemon) -> bool:
    """Open a connection; return True if it was refused for now, with the advice to try again."""
    refusal = None
    try:
        async with dialled(daemon.url):
            pass
    except InvalidStatus as error:
        refusal = error.response
    assert refusal is None or (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
    return refusal is not None


def test_a_burst_of_calls_is_let_in_at_the_rate(tmp_path: Path) -> None:
    """What is over it gets 503 and may try again; the live call is not affected, and a second later there is room."""

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            await platform.start(role="speak", seed="burst", seconds="2")
            refused = [await is_refused(daemon) for _ in range(6)]
            assert not refused[0], "two seconds' worth may come at once"
            assert sum(refused) >= 3
            assert told(daemon)["refused"] == sum(refused)
            assert await platform.audio(16_000) == speech("burst", 2)
            await until(lambda: told(daemon)["calls"] == 1)
            assert not await is_refused(daemon)

    with Daemon(tmp_path, handler="answers:answer", max_new_calls_per_second=1) as daemon:
        asyncio.run(main(daemon))
        assert len(daemon.log.find("connections refused why=rate")) == 1


def test_a_loop_that_is_late_takes_no_new_calls(tmp_path: Path) -> None:
    """For a second after it stood still, as the health and the log say too; the live call goes on, and then new ones come in."""

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            await platform.start(role="speak", seed="late", seconds="2")
            await platform.audio(800)
            daemon.signal(signal.SIGSTOP)
            await asyncio.sleep(0.8)
            daemon.signal(signal.SIGCONT)
            assert await is_refused(daemon)
            assert told(daemon)["loop_lag_p99_ms"] >= 250
            await platform.audio(8000)
            await asyncio.sleep(1.2)
            async with asyncio.timeout(WAIT_SECONDS):  # on a busy machine it may be late again
                while await is_refused(daemon):
                    await asyncio.sleep(0.2)

    late = "^the main loop is late ms="
    with Daemon(tmp_path, handler="answers:answer", shed_lag_seconds=0.25, expects=[late]) as daemon:
        asyncio.run(main(daemon))
        assert daemon.log.find(late.strip("^"))
        assert len(daemon.log.find("connections refused why=late")) == 1


# --- Large requests and messages


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/vendor-stream?" + "x" * 4000, "", 426),
        ("/vendor-stream?" + "x" * 4100, "", 414),
        ("/vendor-stream", "X: y\r\n" * 60, 426),
        ("/vendor-stream", "X: y\r\n" * 70, 431),
        ("/vendor-stream", f"X: {'y' * 4100}\r\n", 431),
    ],
)
def test_how_large_a_request_may_be(tmp_path: Path, target: str, headers: str, status: int) -> None:
    """A line of 4 KiB, 64 headers: half of what the library would take."""
    with Daemon(tmp_path, handler="answers:answer") as daemon:
        assert ask(daemon.port, target, headers)[0] == status


@pytest.mark.parametrize("fast_frames", [True, False])
def test_how_many_fragments_a_message_may_have(tmp_path: Path, *, fast_frames: bool) -> None:
    """Some; one more than 256 ends the call with 1009, though they be empty; a peer that goes on is cut."""

    async def main(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            await platform.start()
            await platform.connection.send(["{"] + [" "] * 200 + ["}"])
            await daemon.log.seen("call started")
            await platform.connection.send(["{"] + [""] * 260 + ["}"])
            assert (await platform.closed())[0] == 1009
        async with dialled(daemon.url) as platform:
            await platform.start()
            await daemon.log.seen("call started", 2)
            with suppress(ConnectionClosed):
                await platform.connection.send(itertools.chain(["{"], itertools.repeat("", 500_000)))
            assert (await platform.closed())[0] in (1009, 1006)

    with Daemon(tmp_path, handler="answers:answer", fast_frames=fast_frames) as daemon:
        asyncio.run(main(daemon))
        assert [end["termination"] for end in daemon.ended(2)] == ["protocol_error"] * 2
