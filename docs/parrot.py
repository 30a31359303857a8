"""An agent without an account, for the raw leg: it greets, says back what it hears, and hangs up at 9."""

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, serve

from smartflo_bridge.handlers.ivr import prompt  # recorded speech; yours comes from a speech service


async def answer(connection: ServerConnection) -> None:
    """Serve one call: binary messages are audio, mu-law at 8 kHz, the others are JSON."""
    said, is_speaking = b"", False
    async for message in connection:
        if isinstance(message, bytes):
            said = said + message if is_speaking else (said + message)[-3200:]  # its beginning is told a little late
            continue
        match json.loads(message):
            case {"type": "start"}:
                await connection.send(prompt("greeting"))
            case {"type": "speech_start"}:
                is_speaking = True
                await connection.send('{"type": "clear"}')
            case {"type": "speech_end"}:
                is_speaking = False
                await connection.send(prompt("playback") + said)
            case {"type": "dtmf", "digit": "9"}:
                await connection.send('{"type": "clear"}')
                await connection.send(prompt("goodbye"))
                await connection.send('{"type": "hang_up"}')


async def main() -> None:
    """Wait for calls."""
    async with serve(answer, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
