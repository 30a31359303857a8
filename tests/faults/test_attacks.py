"""Hostile peers: what each costs in memory, and that twenty calls beside it lose nothing (reliability, G5 and G6).

One connection may cost at most 8 MiB, a hundred 128 MiB. Each attack lasts a second or two here; SMARTFLO_TEST_LONG makes
it ten, the attackers more, and the loop be judged: for that nothing else may run on the machine.
"""

import asyncio
import os
import socket
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from faults.support import neighbours, resident_bytes, run
from integration.daemon import Daemon, until
from integration.wire import Platform, dialled

IS_LONG = bool(os.environ.get("SMARTFLO_TEST_LONG"))
ATTACK_SECONDS = 10.0 if IS_LONG else 1.5
MANY = 100 if IS_LONG else 20
NEIGHBOURS = 20
ONE_COSTS = 8 << 20
HUNDRED_COST = 128 << 20
STALL_MS = 150.0
NEVER_STARTED = ""
MASK = b"\0\0\0\0"

Attack = Callable[[Platform], Awaitable[None]]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon as it is by default."""
    with Daemon(tmp_path_factory.mktemp("daemon"), handler="answers:answer", open_seconds=3.0) as running:
        yield running


async def pour(platform: Platform, piece: bytes) -> None:
    """Write the same bytes again and again, as fast as they are taken, until the time is over or the connection is."""
    transport = platform.connection.transport
    loop = asyncio.get_running_loop()
    end_at = loop.time() + ATTACK_SECONDS
    while loop.time() < end_at and not transport.is_closing():
        if transport.get_write_buffer_size() < 1 << 20:
            transport.write(piece)
        await asyncio.sleep(0)


async def pings(platform: Platform) -> None:
    """Ping, and read no pong (F3)."""
    platform.connection.transport.pause_reading()
    await pour(platform, 200 * (b"\x89\xfd" + MASK + b"x" * 125))


async def fragments(platform: Platform) -> None:
    """Begin a message that never ends (F4)."""
    platform.connection.transport.write(b"\x01\x81" + MASK + b"{")
    await pour(platform, 500 * (b"\x00\x80" + MASK))


async def messages(platform: Platform) -> None:
    """Say more than a call can have to say."""
    text = b'{"event":"dtmf","dtmf":{"digit":"1"}}'
    await pour(platform, 100 * (b"\x81" + bytes([0x80 | len(text)]) + MASK + text))


async def unknown_events(platform: Platform) -> None:
    """Say what nobody knows."""
    text = b'{"event":"surprise"}'
    await pour(platform, 100 * (b"\x81" + bytes([0x80 | len(text)]) + MASK + text))


async def large_messages(platform: Platform) -> None:
    """Say it in messages as large as they may be."""
    text = b'{"event":"surprise"}' + b" " * 65_000
    await pour(platform, b"\x81\xfe" + len(text).to_bytes(2, "big") + MASK + text)


async def audio(platform: Platform) -> None:
    """Speak a hundred times as fast as anybody can."""
    with suppress(ConnectionClosed):
        for _ in range(200):
            await platform.speak(b"\x31" * 8000)


async def unread_speech(platform: Platform) -> None:
    """Be spoken to without end, and read nothing."""
    platform.connection.transport.pause_reading()
    await asyncio.sleep(ATTACK_SECONDS)


async def huge_frame(platform: Platform) -> None:
    """Announce a message of four exbibytes, and begin it."""
    platform.connection.transport.write(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + MASK)
    await pour(platform, b"x" * 65_536)


async def compressed(platform: Platform) -> None:
    """Send what would be a gigabyte if anybody inflated it; that was not agreed upon."""
    bomb = zlib.compress(b"\0" * (64 << 20), 9)[2:60_002]
    await pour(platform, b"\xc1\xfe" + len(bomb).to_bytes(2, "big") + MASK + bomb)


async def slow_message(platform: Platform) -> None:
    """Say one long message, of which a byte comes every few milliseconds after the first half."""
    transport = platform.connection.transport
    transport.write(b"\x81\xfe" + (60_000).to_bytes(2, "big") + MASK + b" " * 30_000)
    end_at = asyncio.get_running_loop().time() + ATTACK_SECONDS
    while asyncio.get_running_loop().time() < end_at and not transport.is_closing():
        transport.write(b" ")
        await asyncio.sleep(0.005)


async def silence(platform: Platform) -> None:
    """Say nothing at all, not even `start`, and answer nothing."""
    platform.connection.transport.pause_reading()
    await asyncio.sleep(ATTACK_SECONDS)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "pings": (pings, "listen"),
    "fragments": (fragments, "listen"),
    "messages": (messages, "listen"),
    "unknown events": (unknown_events, "listen"),
    "large messages": (large_messages, "listen"),
    "audio": (audio, "listen"),
    "unread speech": (unread_speech, "speak_without_end"),
    "a huge frame": (huge_frame, "listen"),
    "compressed": (compressed, "listen"),
    "a slow message": (slow_message, "listen"),
    "silence": (silence, NEVER_STARTED),
}


async def most_while(pid: int, attacking: asyncio.Future[object]) -> int:
    """Return the most memory that a process has while an attack lasts."""
    most = 0
    while not attacking.done():
        most = max(most, resident_bytes(pid))
        await asyncio.sleep(0.02)
    await attacking
    return most


async def attack(daemon: Daemon, name: str, count: int) -> None:
    """Attack on so many connections at once."""
    carry_out, role = ATTACKS[name]
    async with AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(dialled(daemon.url)) for _ in range(count)]
        for platform in platforms:
            if role is not NEVER_STARTED:
                await platform.start(role=role)
        await asyncio.gather(*(carry_out(platform) for platform in platforms))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("count", [1, MANY])
def test_an_attack(daemon: Daemon, name: str, count: int) -> None:
    """It costs no more memory than it may, and twenty calls beside it lose no byte."""

    async def main() -> None:
        async with neighbours(daemon, NEIGHBOURS):
            before = resident_bytes(daemon.pid)
            most = await most_while(daemon.pid, asyncio.ensure_future(attack(daemon, name, count)))
            cost = most - before
            stall_ms = (await daemon.vitals())["lag_max_ms"]  # of the last minute
            print(f"{name} x {count}: {cost / (1 << 20):.1f} MiB, {stall_ms:.0f} ms")
            assert cost < (ONE_COSTS if count == 1 else HUNDRED_COST)
            assert stall_ms <= STALL_MS or not IS_LONG

    run(main(), 120)


def test_slow_handshakes(daemon: Daemon) -> None:
    """Hundreds of requests that never end are cut in time, and cost little; calls go on."""

    async def main() -> None:
        async with neighbours(daemon, NEIGHBOURS):
            before = resident_bytes(daemon.pid)
            sockets = daemon.sockets()
            slow = []
            for _ in range(300):
                sock = socket.create_connection(("127.0.0.1", daemon.port))
                sock.sendall(b"GET /vendor-stream HTTP/1.1\r\nX: ")
                slow.append(sock)
            await asyncio.sleep(0.5)
            assert resident_bytes(daemon.pid) - before < HUNDRED_COST
            await until(lambda: daemon.sockets() <= sockets, 6.0)
            for sock in slow:
                sock.close()

    run(main(), 120)


def test_connections_that_come_and_go(daemon: Daemon) -> None:
    """A thousand connects, half of them reset: nothing is left, nothing is logged, and calls go on."""

    async def main() -> None:
        async with neighbours(daemon, NEIGHBOURS):
            before, lines, sockets = resident_bytes(daemon.pid), len(daemon.log.all()), daemon.sockets()
            for number in range(1000):
                sock = socket.create_connection(("127.0.0.1", daemon.port))
                if number % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()
                if number % 20 == 0:
                    await asyncio.sleep(0.01)
            await until(lambda: daemon.sockets() <= sockets)
            assert resident_bytes(daemon.pid) - before < ONE_COSTS
            assert len(daemon.log.all()) == lines

    run(main(), 120)


def test_nothing_is_left(daemon: Daemon, tmp_path: Path) -> None:
    """After all of this the daemon has as many sockets as at its start."""
    run(until(lambda: daemon.sockets() == 4))
