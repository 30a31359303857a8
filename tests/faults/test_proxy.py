"""The fault proxy itself: each fault does what it says, and nothing else, before anything is concluded from it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from faults.proxy import CORRUPTION, FaultProxy, fault_proxy
from integration.daemon import on_uvloop

SECONDS = 5.0
MESSAGE = bytes(range(256)) * 40


class Ends:
    """Both ends of a connection through the proxy: plain sockets, that read and write when told."""

    def __init__(self, proxy: FaultProxy, caller: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.caller = caller
        self.server = server

    async def read(self, sock: socket.socket, size: int = 1 << 20, seconds: float = SECONDS) -> bytes:
        """Return what can be read at once, b"" at the end of the stream."""
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().sock_recv(sock, size)

    async def read_all(self, sock: socket.socket, size: int) -> bytes:
        """Return exactly so many bytes."""
        data = b""
        while len(data) < size:
            part = await self.read(sock, size - len(data))
            assert part
            data += part
        return data

    async def write(self, sock: socket.socket, data: bytes) -> None:
        """Write all of it."""
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_sendall(sock, data)

    async def fill(self, sock: socket.socket) -> int:
        """Write until nothing more is taken for half a second; return how much was."""
        taken = 0
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    await asyncio.get_running_loop().sock_sendall(sock, b"x" * 1000)
                taken += 1000
        return taken


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    """Connect through a proxy to a server that does nothing by itself."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as caller:
        listening.setblocking(False)
        caller.setblocking(False)
        async with fault_proxy(listening.getsockname()[1]) as proxy:
            await loop.sock_connect(caller, ("127.0.0.1", proxy.port))
            server, _ = await loop.sock_accept(listening)
            with server:
                server.setblocking(False)
                yield Ends(proxy, caller, server)


def test_without_a_fault_it_is_a_wire() -> None:
    """Both ways, both ends: every byte, in order, and each direction ends by itself."""

    async def main() -> None:
        async with ends() as both:
            for source, sink in ((both.caller, both.server), (both.server, both.caller)):
                await both.write(source, MESSAGE)
                assert await both.read_all(sink, len(MESSAGE)) == MESSAGE
            both.caller.shutdown(socket.SHUT_WR)
            assert await both.read(both.server) == b""
            await both.write(both.server, b"still here")
            assert await both.read(both.caller) == b"still here"
            both.server.shutdown(socket.SHUT_WR)
            assert await both.read(both.caller) == b""
            assert (both.proxy.up.passed_bytes, both.proxy.down.passed_bytes) == (len(MESSAGE), len(MESSAGE) + 10)

    on_uvloop(main())


def test_latency_and_jitter() -> None:
    """Each piece takes its time, at least the least and at most the most, and none overtakes another."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ends() as both:
            both.proxy.up.latency_seconds, both.proxy.up.jitter_seconds = 0.1, 0.05
            delays = []
            for number in range(10):
                sent_at = loop.time()
                await both.write(both.caller, bytes([number]))
                assert await both.read(both.server) == bytes([number])
                delays.append(loop.time() - sent_at)
            assert min(delays) > 0.04
            assert max(delays) < 0.15 + 0.1
            assert max(delays) - min(delays) > 0.01
            await both.write(both.server, b"quick")
            sent_at = loop.time()
            await both.read(both.caller)
            assert loop.time() - sent_at < 0.05
            for number in range(100):
                await both.write(both.caller, bytes([number]))
                await asyncio.sleep(0.001)
            assert await both.read_all(both.server, 100) == bytes(range(100))

    on_uvloop(main())


def test_bandwidth() -> None:
    """So many bytes a second, and no fewer."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ends() as both:
            both.proxy.up.bytes_per_second = 10_000
            both.proxy.up.slice_bytes = 500
            await both.write(both.caller, MESSAGE)
            began_at = loop.time()
            await both.read_all(both.server, len(MESSAGE))
            assert 0.9 < loop.time() - began_at < 1.6

    on_uvloop(main())


def test_slicing() -> None:
    """Pieces of one byte arrive as such, and together they are what was sent."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.slice_bytes = 1
            both.proxy.up.bytes_per_second = 1000
            await both.write(both.caller, b"piecemeal")
            pieces = [await both.read(both.server) for _ in range(9)]
            assert all(len(piece) == 1 for piece in pieces)
            assert b"".join(pieces) == b"piecemeal"

    on_uvloop(main())


def test_coalescing() -> None:
    """What was sent in ten pieces arrives in one, and what ends the stream comes behind it."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.coalesce_seconds = 0.3
            for number in range(10):
                await both.write(both.caller, bytes([number]) * 10)
                await asyncio.sleep(0.01)
            both.caller.shutdown(socket.SHUT_WR)
            assert await both.read(both.server) == b"".join(bytes([number]) * 10 for number in range(10))
            assert await both.read(both.server) == b""

    on_uvloop(main())


def test_a_stalled_reader() -> None:
    """Its sender is stopped by the buffers on the way, soon, and nothing is lost when it reads again."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.stop_reading()
            taken = await both.fill(both.caller)
            assert taken < 4 << 20  # the test's own socket has a buffer of the system's
            both.proxy.up.flow()
            assert len(await both.read_all(both.server, taken)) == taken

    on_uvloop(main())


def test_a_stalled_writer() -> None:
    """Its sender feels nothing, the receiver gets nothing, and then all of it."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.stop_writing()
            await both.write(both.caller, MESSAGE * 100)
            with pytest.raises(TimeoutError):
                await both.read(both.server, seconds=0.3)
            both.proxy.up.flow()
            assert await both.read_all(both.server, len(MESSAGE) * 100) == MESSAGE * 100

    on_uvloop(main())


def test_a_black_hole() -> None:
    """What is said into it is gone, and so is the end; the other direction goes on."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.is_black_hole = True
            await both.write(both.caller, MESSAGE)
            both.caller.shutdown(socket.SHUT_WR)
            with pytest.raises(TimeoutError):
                await both.read(both.server, seconds=0.3)
            assert (both.proxy.up.read_bytes, both.proxy.up.passed_bytes) == (len(MESSAGE), 0)
            await both.write(both.server, b"hello?")
            assert await both.read(both.caller) == b"hello?"

    on_uvloop(main())


@pytest.mark.parametrize("by", ["the proxy", "the caller", "the server"])
def test_a_reset(by: str) -> None:
    """Both ends get a RST, also when one of them sent it."""

    async def main() -> None:
        async with ends() as both:
            await both.write(both.caller, b"x")
            await both.read(both.server)
            gone = {"the caller": both.caller, "the server": both.server}.get(by)
            if gone is None:
                both.proxy.reset()
            else:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                gone.close()
            for sock in {both.caller, both.server} - {gone}:
                with pytest.raises(ConnectionResetError):
                    await both.read(sock)

    on_uvloop(main())


def test_a_half_close() -> None:
    """The server hears the end, and the caller may still listen to it."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.half_close()
            assert await both.read(both.server) == b""
            await both.write(both.server, b"goodbye")
            assert await both.read(both.caller) == b"goodbye"

    on_uvloop(main())


def test_a_slow_close() -> None:
    """The end comes later than it was said, and after all that was said before."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ends() as both:
            both.proxy.up.slow_close_seconds = 0.4
            began_at = loop.time()
            await both.write(both.caller, b"last words")
            both.caller.shutdown(socket.SHUT_WR)
            assert await both.read(both.server) == b"last words"
            assert await both.read(both.server) == b""
            assert 0.35 < loop.time() - began_at < 1.0

    on_uvloop(main())


@pytest.mark.parametrize("resets", [True, False])
def test_a_limit(resets: bool) -> None:
    """Exactly so many bytes pass, and then both ends hear that it is over."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.limit_bytes, both.proxy.up.limit_resets = 1000, resets
            await both.write(both.caller, MESSAGE[:1000])
            assert await both.read_all(both.server, 1000) == MESSAGE[:1000]
            await both.write(both.caller, b"one more")
            for sock in (both.server, both.caller):
                try:
                    assert await both.read(sock) == b""
                    assert not resets
                except ConnectionResetError:
                    assert resets
            assert both.proxy.up.passed_bytes == 1000

    on_uvloop(main())


def test_a_corrupt_byte() -> None:
    """One bit of the one byte that was named, wherever the pieces begin."""

    async def main() -> None:
        async with ends() as both:
            both.proxy.up.corrupt_at = 5000
            for at in range(0, len(MESSAGE), 777):
                await both.write(both.caller, MESSAGE[at : at + 777])
            got = await both.read_all(both.server, len(MESSAGE))
            assert [place for place in range(len(MESSAGE)) if got[place] != MESSAGE[place]] == [5000]
            assert got[5000] == MESSAGE[5000] ^ CORRUPTION

    on_uvloop(main())
