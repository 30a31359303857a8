"""Servers for the load generator to judge: an honest echo, and echoes that each do one thing wrong.

They run in this process, on a loop in a thread of its own: the generator is a process, so nothing holds it up.
"""

import asyncio
import base64
import json
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SPEED = Path(__file__).parents[2] / "scripts" / "bench" / "speed"

Answer = Callable[[ServerConnection, dict[str, Any], int], Awaitable[None]]
"""Answers one event of the platform; the number counts the call's media events from 0."""


def compiled(program: Path, *sources: Path) -> Path:
    """Build a program of the benchmarks; a warning of the compiler is an error."""
    command = ["gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, *sources, "-lm"]
    subprocess.run(command, check=True)
    return program


async def send_media(connection: ServerConnection, ulaw: bytes) -> None:
    """Send audio."""
    payload = base64.b64encode(ulaw).decode()
    await connection.send(json.dumps({"event": "media", "streamSid": "MZ", "media": {"payload": payload}}))


def audio_of(event: dict[str, Any]) -> bytes:
    """Return the audio of a media event; nothing of any other."""
    return base64.b64decode(event["media"]["payload"]) if event["event"] == "media" else b""


async def echo(connection: ServerConnection, event: dict[str, Any], _: int) -> None:
    """Answer each frame with itself."""
    if ulaw := audio_of(event):
        await send_media(connection, ulaw)


@contextmanager
def served(answer: Answer) -> Iterator[int]:
    """Serve; give the port."""
    ready: list[int] = []
    is_ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def handle(connection: ServerConnection) -> None:
        number = 0
        with suppress(ConnectionClosed):
            async for message in connection:
                event = json.loads(message)
                await answer(connection, event, number)
                number += event["event"] == "media"

    async def main() -> None:
        async with serve(handle, "127.0.0.1", 0, compression=None) as server:
            ready.append(next(iter(server.sockets)).getsockname()[1])
            is_ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert is_ready.wait(5)
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
