"""Drives the daemon's own path of a frame, in process: what `scripts/bench/frame-cost` counts the instructions of.

    python frames.py

The daemon is the real one, with its listener, its connection, actor, session and echo; only its transport is in memory, so
no system call is in the figure, and its clocks are hands that this script moves by 20 ms a frame, so each frame takes the
same way however slowly it is run. The loop is asyncio's own: uvloop's machine code would be counted as well.
"""

import asyncio
import base64
import json
import os
import selectors
import time
from pathlib import Path
from typing import Any

FRAME_NS = 20_000_000
WARM_UP_FRAMES, MEASURED_FRAMES = 500, 1000
"""Enough for the caches of the interpreter and the garbage collector's rhythm; more than the head start of the echo."""


MOST_TURNS = 100
KEY = bytes(4)
"""A mask of zeros: what is masked with it stays as it is, and has to be unmasked all the same."""

hands_ns = 1_000_000_000


def clock_ns() -> int:
    """Return the time that this script has made."""
    return hands_ns


time.monotonic_ns = clock_ns  # before the daemon is imported: it takes the clock as it is then

from smartflo_bridge.config import Config  # noqa: E402 - see above
from smartflo_bridge.server.service import serving  # noqa: E402


class BusySelector(selectors.DefaultSelector):
    """Sees nothing, at once: everything comes in memory. It never waits, because nothing would ever wake it."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return nothing.

        Raises:
            RuntimeError: the loop would wait.
        """
        if timeout is None or timeout > 0:
            msg = "the daemon waits for something that does not come"
            raise RuntimeError(msg)
        return []


class HandLoop(asyncio.SelectorEventLoop):
    """A loop on the same clock, which keeps the protocol factory of the first server that was made: the calls'."""

    factory: Any = None

    def time(self) -> float:
        """Return the clock's time."""
        return hands_ns / 1e9

    async def create_server(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> asyncio.Server:  # noqa: ANN401
        """Make a server, and keep how it makes its connections."""
        self.factory = self.factory or protocol_factory
        return await super().create_server(protocol_factory, *args, **kwargs)


class MemoryTransport(asyncio.Transport):
    """A connection that takes all that is written, and counts it. It never fills up."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes = 0
        self.last = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take it."""
        self.writes += 1
        self.last = bytes(data)

    def get_write_buffer_size(self) -> int:
        """Return 0: it has been sent."""
        return 0

    def is_closing(self) -> bool:
        """Return False: nobody closes it."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Have none."""

    def pause_reading(self) -> None:
        """Go on: what comes is what the script sends."""

    def resume_reading(self) -> None:
        """Go on."""


def masked(event: dict[str, Any]) -> bytes:
    """Return an event as the platform's WebSocket sends it."""
    text = json.dumps(event, separators=(",", ":")).encode()
    header = bytes([0x81, 0x80 | len(text)]) if len(text) < 126 else bytes([0x81, 0xFE]) + len(text).to_bytes(2, "big")
    return header + KEY + text


def media(number: int) -> bytes:
    """Return a media event: 20 ms at many levels, no two of 50 alike."""
    ulaw = bytes((7 * n + 31 * (number % 50)) % 0x7F | 0x80 * (n & 1) for n in range(160))
    audio = {"chunk": str(number), "timestamp": str(20 * number), "payload": base64.b64encode(ulaw).decode()}
    return masked({"event": "media", "sequenceNumber": str(number + 1), "streamSid": "MZ1", "media": audio})


START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "1758000000.1",
        "from": "919800000001",
        "to": "918000000099",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
    },
}
REQUEST = (
    b"GET /vendor-stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def await_writes(transport: MemoryTransport, count: int) -> None:
    """Let the daemon run until it has written so often.

    Raises:
        RuntimeError: it does not.
    """
    for _ in range(MOST_TURNS):
        if transport.writes >= count:
            return
        await asyncio.sleep(0)
    msg = f"{transport.writes} writes, not {count}: an echo did not come at once. The last: {transport.last[:120]!r}"
    raise RuntimeError(msg)


async def send_frames(loop: HandLoop, frames: list[bytes]) -> None:
    """Place a call, and send frames; each must be answered before the next."""
    global hands_ns  # noqa: PLW0603 - the clock's hands
    config = Config(port=0, health_port=0, handler="echo", packet_seconds=0.02, ping_seconds=86400.0)
    async with serving(config, Path()):
        transport = MemoryTransport()
        connection = loop.factory()
        connection.connection_made(transport)
        connection.data_received(REQUEST)
        await await_writes(transport, 1)
        connection.data_received(masked({"event": "connected"}) + masked(START))
        before = transport.writes  # the 60 ms of silence that the echo begins with leave with the first
        for number, frame in enumerate(frames, 1):
            hands_ns += FRAME_NS
            connection.data_received(frame)
            await asyncio.sleep(0)  # the frame may be answered already, but timers have their turn between two
            await await_writes(transport, before + number)
            if number in (WARM_UP_FRAMES, WARM_UP_FRAMES + MEASURED_FRAMES):
                os.getsid(0)  # means nothing here: the mark that callgrind waits for
        if b'"media"' not in transport.last:
            msg = f"the last write is no audio: {transport.last[:120]!r}"
            raise RuntimeError(msg)
        print(f"{MEASURED_FRAMES} measured, {transport.writes} writes in all", flush=True)
        os._exit(0)  # what an end costs is nobody's question here


def main() -> None:
    """Send all frames; those after the warm-up are measured."""
    frames = [media(number) for number in range(1, WARM_UP_FRAMES + MEASURED_FRAMES + 1)]
    loop = HandLoop(BusySelector())
    loop.run_until_complete(send_frames(loop, frames))


if __name__ == "__main__":
    main()
