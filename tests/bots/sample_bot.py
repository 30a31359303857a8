"""A bot shaped like Twilio's published sample for speech assistants: what most people's first bot is a copy of.

What is typical of it is here: it sends each delta of its service as one `media` of whatever length, at once and without
pacing, with a mark behind each; it knows the time only from the `timestamp` of the caller's media; and at a barge-in it
takes the difference for what was heard, and sends `clear`. In place of the service that the sample talks to, a stand-in
makes deltas of a recorded voice, and finds that the caller speaks when the audio is loud for a tenth of a second.
"""

import asyncio
import audioop
import base64
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

LOUD = 1000
"""RMS of the caller's speech; silence is below."""


class SampleBot:
    """One stream.

    Attributes:
        started: the `start` message, as it came.
        events: the names of all that came, in their order.
        sequence: their sequence numbers.
        heard_ms: what it would truncate its service's answer to, of each barge-in.
    """

    def __init__(self, voice: bytes, delta_bytes: int = 1777) -> None:
        self.started: dict[str, Any] = {}
        self.events: list[str] = []
        self.sequence: list[str] = []
        self.media: list[dict[str, str]] = []
        self.heard_ms: list[int] = []
        self.marks_returned = 0
        self._voice = voice
        self._delta_bytes = delta_bytes
        self._mark_queue: list[str] = []
        self._latest_media_timestamp = 0
        self._response_start: int | None = None
        self._loud_frames = 0

    async def serve(self, connection: ServerConnection) -> None:
        """Serve the stream until it is closed."""
        self._connection = connection
        with suppress(ConnectionClosed):
            async for text in connection:
                await self._take(json.loads(text))

    async def _take(self, data: dict[str, Any]) -> None:
        self.events.append(data["event"])
        if "sequenceNumber" in data:
            self.sequence.append(data["sequenceNumber"])
        match data["event"]:
            case "start":
                self.started = data
                await self._answer()
            case "media":
                self.media.append(data["media"])
                self._latest_media_timestamp = int(data["media"]["timestamp"])
                await self._listen(base64.b64decode(data["media"]["payload"]))
            case "mark":
                self.marks_returned += 1
                if self._mark_queue:
                    self._mark_queue.pop(0)

    async def _answer(self) -> None:
        for at in range(0, len(self._voice), self._delta_bytes):
            delta = base64.b64encode(self._voice[at : at + self._delta_bytes]).decode()
            await self._say("media", media={"payload": delta})
            if self._response_start is None:
                self._response_start = self._latest_media_timestamp
            await self._say("mark", mark={"name": "responsePart"})
            self._mark_queue.append("responsePart")

    async def _listen(self, ulaw: bytes) -> None:
        self._loud_frames = self._loud_frames + 1 if audioop.rms(audioop.ulaw2lin(ulaw, 2), 2) > LOUD else 0
        if self._loud_frames == 5 and self._mark_queue and self._response_start is not None:
            self.heard_ms.append(self._latest_media_timestamp - self._response_start)
            await self._say("clear")
            self._mark_queue.clear()
            self._response_start = None

    async def _say(self, event: str, **members: object) -> None:
        message = {"event": event, "streamSid": self.started["start"]["streamSid"], **members}
        await self._connection.send(json.dumps(message))
        await asyncio.sleep(0)
