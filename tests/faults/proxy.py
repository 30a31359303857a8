"""A TCP proxy between a caller and the daemon that does to a connection what networks do: the fault proxy.

Each direction is a `Flow` whose faults can be set before a connection is opened, and changed while it is open. The two
ends of the proxy are sockets with small buffers, so that a stalled direction is felt by its sender soon, as it is
through a narrow network; what it does not imitate is loss below TCP (the tests in network namespaces do).
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any

READ_BYTES = 4096
BUFFER_BYTES = 16 * 1024
"""Of the proxy's sockets. The kernel doubles it."""

NARROW_PIECES = 4
"""Read ahead where the bandwidth is limited: a narrow line has no memory of its own that its sender could fill."""

CORRUPTION = 0x20
"""The bit that is changed in a corrupted byte."""

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER for a close that sends a RST."""


class Ending(Enum):
    """How a direction ended."""

    FIN = "its source said all that it had to say"
    RESET = "one of its ends is gone, or is to hear that the other is"
    CUT = "it reached its limit"


class Flow:
    """One direction, with its faults; all are off at first.

    Attributes:
        latency_seconds: that everything takes.
        jitter_seconds: that it may take more or less, at random; the order is kept.
        bytes_per_second: of bandwidth; None is as fast as can be.
        slice_bytes: pieces in which everything is passed on, each in a segment of its own; None for as it came.
        coalesce_seconds: for which pieces are held back, to be passed on in one.
        slow_close_seconds: for which the end of the stream is held back.
        limit_bytes: after so many the connection ends, with a RST if `limit_resets`.
        corrupt_at: the byte, counted from the connection's first, that gets one bit changed.
        is_black_hole: everything is taken, and nothing passed on, not even the end.
        read_bytes: taken so far.
        passed_bytes: passed on so far.
    """

    def __init__(self, seed: int) -> None:
        self.latency_seconds = 0.0
        self.jitter_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.slice_bytes: int | None = None
        self.coalesce_seconds = 0.0
        self.slow_close_seconds = 0.0
        self.limit_bytes: int | None = None
        self.limit_resets = False
        self.corrupt_at: int | None = None
        self.is_black_hole = False
        self.read_bytes = 0
        self.passed_bytes = 0
        self._random = random.Random(seed)
        self._may_read = asyncio.Event()
        self._may_write = asyncio.Event()
        self.flow()

    def stop_reading(self) -> None:
        """Take nothing more, or one piece more: the sender feels it as a receiver that does not read."""
        self._may_read.clear()

    def stop_writing(self) -> None:
        """Take everything, and hold it: the sender feels nothing, and it comes in one burst when it flows again."""
        self._may_write.clear()

    def flow(self) -> None:
        """Take and pass on again."""
        self._may_read.set()
        self._may_write.set()

    async def run(self, source: socket.socket, sink: socket.socket) -> Ending:
        """Pass on until the source ends or a fault does; return how."""
        queue: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()
        reading = asyncio.ensure_future(self._read(source, queue))
        try:
            return await self._write(sink, queue)
        except OSError:
            return Ending.RESET
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _read(self, source: socket.socket, queue: asyncio.Queue[tuple[float, bytes | None]]) -> None:
        """Put what comes into the queue with the time when it is due; then b"" for a FIN, or None for a RST."""
        loop = asyncio.get_running_loop()
        due = 0.0
        data: bytes | None = b"-"
        while data:
            await self._may_read.wait()
            while self.bytes_per_second is not None and queue.qsize() > NARROW_PIECES:
                await asyncio.sleep(0.01)
            try:
                data = await loop.sock_recv(source, READ_BYTES)
            except OSError:
                data = None
            if data:
                data = self._corrupted(data)
                self.read_bytes += len(data)
            if not self.is_black_hole:
                delay = self.latency_seconds + self._random.uniform(-self.jitter_seconds, self.jitter_seconds)
                due = max(due, loop.time() + max(delay, 0))
                queue.put_nowait((due, data))

    async def _write(self, sink: socket.socket, queue: asyncio.Queue[tuple[float, bytes | None]]) -> Ending:
        loop = asyncio.get_running_loop()
        held = b""
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            await self._may_write.wait()
            if data and self.coalesce_seconds and not held:
                await asyncio.sleep(self.coalesce_seconds)
            held += data or b""
            if data and self.coalesce_seconds and not queue.empty():
                continue
            if await self._pass_on(held, sink):
                return Ending.RESET if self.limit_resets else Ending.CUT
            held = b""
            if data is None:
                return Ending.RESET
            if not data:
                await asyncio.sleep(self.slow_close_seconds)
                sink.shutdown(socket.SHUT_WR)
                return Ending.FIN

    async def _pass_on(self, data: bytes, sink: socket.socket) -> bool:
        """Write in pieces, at the pace; return True if the limit was reached."""
        room = len(data) if self.limit_bytes is None else self.limit_bytes - self.passed_bytes
        for piece in self._pieces(data[:room]):
            await asyncio.get_running_loop().sock_sendall(sink, piece)
            self.passed_bytes += len(piece)
            if self.bytes_per_second is not None:
                await asyncio.sleep(len(piece) / self.bytes_per_second)
            elif self.slice_bytes is not None:
                await asyncio.sleep(0)  # the other direction is to have its turn too
        return len(data) > room

    def _corrupted(self, data: bytes) -> bytes:
        if self.corrupt_at is None or not self.read_bytes <= self.corrupt_at < self.read_bytes + len(data):
            return data
        place = self.corrupt_at - self.read_bytes
        return data[:place] + bytes([data[place] ^ CORRUPTION]) + data[place + 1 :]

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self.slice_bytes or max(len(data), 1)
        return [data[at : at + size] for at in range(0, len(data), size)]


class FaultProxy:
    """A listening port whose connections lead to another one.

    Attributes:
        port: where callers connect.
        up: from the caller to the daemon.
        down: from the daemon to the caller.
    """

    def __init__(self, target_port: int, seed: int = 1) -> None:
        self.up = Flow(seed)
        self.down = Flow(seed + 1)
        self._target_port = target_port
        self._sock = _narrow(socket.socket())
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen()
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        self._open: dict[tuple[socket.socket, socket.socket], asyncio.Event] = {}

    @property
    def url(self) -> str:
        """Where a call through this proxy is placed."""
        return f"ws://127.0.0.1:{self.port}/vendor-stream"

    def reset(self) -> None:
        """End all connections with a RST, to both ends."""
        for is_reset in self._open.values():
            is_reset.set()

    def half_close(self) -> None:
        """Let the daemon hear that the caller has nothing more to say; the other direction stays open."""
        for _, daemon in self._open:
            daemon.shutdown(socket.SHUT_WR)

    async def run(self) -> None:
        """Accept and pass on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                caller, _ = await asyncio.get_running_loop().sock_accept(self._sock)
                tasks.create_task(self._carry(caller))

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    async def _carry(self, caller: socket.socket) -> None:
        daemon = _narrow(socket.socket())
        daemon.setblocking(False)
        is_reset = self._open[caller, daemon] = asyncio.Event()
        try:
            await asyncio.get_running_loop().sock_connect(daemon, ("127.0.0.1", self._target_port))
            if await self._carry_both_ways(caller, daemon, is_reset):
                for sock in (caller, daemon):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        finally:
            del self._open[caller, daemon]
            caller.close()
            daemon.close()

    async def _carry_both_ways(self, caller: socket.socket, daemon: socket.socket, is_reset: asyncio.Event) -> bool:
        """Return True if the connection is to end with a RST."""
        flows = {
            asyncio.ensure_future(self.up.run(caller, daemon)),
            asyncio.ensure_future(self.down.run(daemon, caller)),
        }
        reset = asyncio.ensure_future(is_reset.wait())
        left: set[asyncio.Future[Any]] = {*flows, reset}
        try:
            while True:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                endings = {flow.result() for flow in flows & done}
                if reset in done or Ending.RESET in endings:
                    return True
                if Ending.CUT in endings or left == {reset}:
                    return False
        finally:
            for one in (*flows, reset):
                one.cancel()
            await asyncio.gather(*flows, reset, return_exceptions=True)


@asynccontextmanager
async def fault_proxy(target_port: int) -> AsyncIterator[FaultProxy]:
    """Run a proxy in front of a port; leave nothing of it behind."""
    proxy = FaultProxy(target_port)
    running = asyncio.ensure_future(proxy.run())
    try:
        yield proxy
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        proxy.close()


def _narrow(sock: socket.socket) -> socket.socket:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
