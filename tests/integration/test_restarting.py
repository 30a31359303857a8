"""Rolling restarts: two bridges take the calls of one port, and one after the other is replaced while calls come and go.

Nobody may be refused, nobody told to come again, and no live call may lose a byte that ends within the drain. There are two
ways to share a port: one listening socket that both inherit, as from systemd, and `reuse-port`.
"""

import asyncio
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from integration.daemon import Daemon, bridge, counts, on_uvloop, pairs
from integration.steady import SteadyCalls, steady_calls
from integration.test_stopping import inheriting
from integration.wire import dialled

CALLS_PER_SECOND = 50  # reliability, G9
CALL_SECONDS = 1.2
SPEECH_SECONDS = 0.6
RESTARTS = 4
FRAMES_IN_CHUNK = 5
REQUEST = (
    b"GET /vendor-stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Start = Callable[[], Daemon]


@contextmanager
def inherited(folder: Path) -> Iterator[Start]:
    """Yield what makes bridges that all inherit one listening socket; it stays open whoever of them ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:

        def start() -> Daemon:
            command, fds = inheriting(sock, "calls"), [sock.fileno()]
            return Daemon(folder, handler="answers:answer", drain_seconds=20, command=command, pass_fds=fds)

        yield start


@contextmanager
def reused(folder: Path) -> Iterator[Start]:
    """Yield what makes bridges that each open the same port, and the same health port."""
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_server(("127.0.0.1", 0)) as health:
        ports = {"port": sock.getsockname()[1], "health_port": health.getsockname()[1]}

    def start() -> Daemon:
        return Daemon(folder, handler="answers:answer", drain_seconds=20, reuse_port=True, **ports)

    yield start


WAYS = {"inherited": inherited, "reuse-port": reused}


def replace_one_after_the_other(fleet: list[Daemon], start: Start, stack: ExitStack) -> list[Daemon]:
    """Restart the bridges in turn, each once the one before is ready and has a call; return all that there were."""
    everybody = list(fleet)
    for number in range(RESTARTS):
        old = fleet[number % len(fleet)]
        old.log.wait_for(" call started ", 5)
        old.signal(signal.SIGTERM)
        assert old.wait(25) == 0
        fleet[number % len(fleet)] = stack.enter_context(start())
        everybody.append(fleet[number % len(fleet)])
    for daemon in fleet:
        daemon.log.wait_for(" call started ", 5)
    return everybody


@pytest.mark.parametrize("way", WAYS)
def test_a_rolling_restart_refuses_nobody(tmp_path: Path, way: str) -> None:
    """50 new calls a second, four restarts: every call is answered, and hears and is heard to its last byte."""
    with WAYS[way](tmp_path) as start, ExitStack() as stack:
        fleet = [stack.enter_context(start()) for _ in range(2)]
        port = fleet[0].port
        with steady_calls(
            f"ws://127.0.0.1:{port}/vendor-stream",
            calls_per_second=CALLS_PER_SECOND,
            seconds=CALL_SECONDS,
            speech_seconds=SPEECH_SECONDS,
        ) as calls:
            began_at = time.monotonic()
            everybody = replace_one_after_the_other(fleet, start, stack)
            seconds = time.monotonic() - began_at
        assert calls.failures == []
        assert len(calls.results) >= CALLS_PER_SECOND * seconds * 0.9, "the generator did not keep its rate"
        check_calls(calls, everybody)
        for daemon in everybody[:RESTARTS]:
            (draining,) = daemon.log.wait_for(" draining ")
            assert int(pairs(draining)["calls"]) > 0, "there was nothing to be lost"


def check_calls(calls: SteadyCalls, everybody: list[Daemon]) -> None:
    """Fail unless each call ended well, heard everything, and each frame that it sent is in the account of its bridge."""
    results = {result.stream_sid: result for result in calls.results}
    ends = [end for daemon in everybody for end in daemon.ended(len(daemon.log.find(" call started ")))]
    assert Counter(end["stream_sid"] for end in ends) == Counter(results.keys())
    for end in ends:
        result = results[end["stream_sid"]]
        assert (result.close_code, result.lost_nothing, result.faults) == (1000, True, 0), result
        assert (end["termination"], end.get("dropped_in"), end.get("dropped_out")) == ("completed", None, None), end
        assert int(end["frames_in"]) == result.chunks_sent * FRAMES_IN_CHUNK, end
        assert counts(end["marks"]) == {"played": result.marks}, end


@pytest.mark.parametrize("way", WAYS)
def test_instances_share_the_calls_of_a_port(tmp_path: Path, way: str) -> None:
    """Of a hundred calls that come one after the other, each of two bridges gets a good part, and both serve them at once."""
    with WAYS[way](tmp_path) as start, start() as one, start() as other:
        with steady_calls(one.url, calls_per_second=100, seconds=1.5, speech_seconds=0.2) as calls:
            one.log.wait_for(" call started ", 10)
            other.log.wait_for(" call started ", 10)
            time.sleep(1.0)  # that is a hundred calls
        assert calls.failures == []
        shares = [len(daemon.log.find(" call started ")) for daemon in (one, other)]
        assert sum(shares) == len(calls.results)
        assert min(shares) >= sum(shares) / 10, shares


def test_a_port_is_shared_only_where_both_say_so(tmp_path: Path) -> None:
    """A second bridge on a port that the first did not open for others does not start: that may be a mistake."""
    with Daemon(tmp_path) as one:
        for is_shared in (False, True):
            second = Daemon(tmp_path, port=one.port, reuse_port=is_shared)
            with pytest.raises(AssertionError, match=r"exit code 2(?s:.*)port: cannot listen on 127\.0\.0\.1:"), second:
                pass


def test_who_waits_at_a_port_is_taken_before_it_is_shut() -> None:
    """The kernel has accepted them, and would reset them: they are served, though the daemon has yet to hear of them."""

    async def main() -> None:
        async with bridge(drain_seconds=0.5, handler="silence") as service:
            # Nothing is awaited here, so the loop takes none of them before it is told to stop.
            for _ in range(50):
                sock = socket.create_connection(("127.0.0.1", service.port), timeout=5)
                sock.sendall(REQUEST)
                waiting.append(sock)
            service.requests.request(is_interactive=True)

    waiting: list[socket.socket] = []
    try:
        on_uvloop(main())
        assert Counter(sock.recv(12) for sock in waiting) == {b"HTTP/1.1 101": 50}
    finally:
        for sock in waiting:
            sock.close()


def test_a_handshake_without_an_end_holds_up_nothing(tmp_path: Path) -> None:
    """Who is connected and says nothing has until `open-seconds`, in a drain as ever."""
    with (
        Daemon(tmp_path, drain_seconds=60, open_seconds=1.0) as daemon,
        socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as silent,
    ):
        silent.sendall(REQUEST[:40])
        time.sleep(0.2)  # it is in its handshake now, which nothing announces
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(4.0) == 0


def test_a_handshake_after_the_drain_gets_503(tmp_path: Path) -> None:
    """While those who are cut take their leave, nobody new is let in."""

    async def main(daemon: Daemon) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        async with dialled(daemon.url) as stuck:
            stuck.connection.transport.pause_reading()
            await stuck.start(role="flood", times="1000")
            await daemon.log.seen("call started")
            writer.write(REQUEST[:40])
            daemon.signal(signal.SIGTERM)
            await daemon.log.seen("draining")
            daemon.signal(signal.SIGTERM)
            await asyncio.sleep(0.5)  # it is hurrying now; for the stuck one it waits 2 s
            writer.write(REQUEST[40:])
            assert (await reader.read(12)) == b"HTTP/1.1 503"
            writer.close()
            assert await asyncio.to_thread(daemon.wait, 6.0) == 0

    with Daemon(tmp_path, handler="answers:answer", drain_seconds=60, write_deadline_seconds=60) as daemon:
        asyncio.run(main(daemon))
