"""The connection of a simulated call: sends and reads messages, as fast or as badly as the plan wants.

It bounds every wait and knows the library's ways of ending; what is said is the caller's business.
"""

import asyncio
import socket

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

SEND_SECONDS = 20.0
"""How long one send may wait for the bridge to read; then the connection counts as lost. As long as a missed ping."""

SMALLEST_RECEIVE_BUFFER_BYTES = 4096
"""So that a platform that stopped reading is felt by the bridge in seconds, not when megabytes of kernel buffers are full."""

_GIVEN_UP = frozenset({1002, 1007, 1009})
"""Codes with which our library ends a connection whose other end breaks the WebSocket protocol or its limits."""


class Wire:
    """One open connection. Everything but `stop_reading` and its like raises `ConnectionClosed` when it is gone."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._clock = asyncio.get_running_loop().time
        self._is_silent = False
        self._bytes_per_second: float | None = None
        self._read_at = 0.0  # not before; only if there is a rate
        self.is_reading = True
        self.is_disturbed = False
        self.send_blocked_seconds = 0.0

    @property
    def close_code(self) -> int | None:
        """The far end's code, in its close frame or in the answer to ours. None: it said none."""
        received = self._connection.protocol.close_rcvd
        return received.code if received else None

    @property
    def close_reason(self) -> str:
        """The text that goes with it."""
        received = self._connection.protocol.close_rcvd
        return received.reason if received else ""

    @property
    def our_code(self) -> int | None:
        """The code with which our library gave the connection up, if it did."""
        sent = self._connection.protocol.close_sent
        return sent.code if sent and sent.code in _GIVEN_UP else None

    async def send(self, message: bytes) -> None:
        """Send a text message; cut the connection if that takes too long."""
        if self._is_silent:
            return
        began_at = self._clock()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._connection.send(message, text=True)
        except TimeoutError:
            self._connection.transport.abort()
            await self._connection.wait_closed()
            raise self._connection.protocol.close_exc from None
        finally:
            self.send_blocked_seconds = max(self.send_blocked_seconds, self._clock() - began_at)

    async def message_before(self, deadline: float) -> str | bytes | None:
        """Wait for the next message; None: the deadline (of the loop's clock) came first."""
        try:
            async with asyncio.timeout_at(deadline):
                if self.is_reading:
                    return await self._recv()
                await self._connection.wait_closed()
                raise self._connection.protocol.close_exc
        except TimeoutError:
            return None

    async def leftovers(self) -> list[str | bytes]:
        """Return what arrived before the connection was lost and was not read yet."""
        messages: list[str | bytes] = []
        try:
            while self.is_reading:
                messages.append(await self._connection.recv())
        except ConnectionClosed:
            pass
        return messages

    def stop_reading(self) -> None:
        """Read nothing any more."""
        self.is_reading, self.is_disturbed = False, True
        self._connection.transport.pause_reading()
        self._shrink()

    def read_at(self, bytes_per_second: float | None) -> None:
        """Read so much a second, or (None) all there is."""
        self.is_reading = True
        self._bytes_per_second = bytes_per_second
        if bytes_per_second is not None:
            self.is_disturbed = True
            self._shrink()
        self._connection.transport.resume_reading()

    def fall_silent(self) -> None:
        """Neither read nor send any more; what is to be sent is dropped."""
        self._is_silent = True
        self.stop_reading()

    async def close(self) -> None:
        """Close with a frame, and wait for the answer, within the library's bound."""
        await self._connection.close()

    def drop(self) -> None:
        """End the TCP connection without a close frame."""
        self._connection.transport.abort()

    async def _recv(self) -> str | bytes:
        if self._bytes_per_second is None:
            return await self._connection.recv()
        await asyncio.sleep(self._read_at - self._clock())
        message = await self._connection.recv()
        self._read_at = self._clock() + len(message) / self._bytes_per_second
        return message

    def _shrink(self) -> None:
        kernel = self._connection.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_RECEIVE_BUFFER_BYTES)
