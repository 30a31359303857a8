"""OpenAI's Realtime service, played in memory; each message, both ways, is checked with the types of the `openai` package.

It makes speech faster than real time, stops its response when it hears that the caller speaks, and goes on sending what it
had made already, as the real one may. It recognises no speech: the test says when the caller begins. It is unrealistic in
that it never drops a truncation, and that its sessions last for ever unless it is told otherwise.
"""

import asyncio
import base64
import itertools
import json
from typing import Annotated, Any

import pytest

from agents.played import extras
from agents.support import MemoryConnection, SocketConnection

pytest.importorskip("openai", reason="the vendor's types are in the extra `dev`")
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import Field, TypeAdapter

# A message is of the one class whose `type` it has. Without being told so, pydantic tries it on each of them: fifty.
_client: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])
_server: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])


def check_client(message: str) -> Any:
    """Return a message of the bridge as the vendor's type; fail if it is none, or has members that no type has."""
    event = _client.validate_json(message)
    assert not extras(event), (extras(event), message)
    return event


def server_event(kind: str, **members: object) -> str:
    """Return a message of the service, which the vendor's types accept."""
    text = json.dumps({"type": kind, "event_id": f"event_{next(_numbers)}", **members})
    event = _server.validate_json(text)
    assert event.type == kind, (event, text)
    assert not extras(event), extras(event)
    return text


_numbers = itertools.count(1)


class FakeOpenAI:
    """One session.

    Attributes:
        heard: the audio that was appended.
        truncated: item and ms, of each truncation.
        outputs: what functions have returned.
        made: the speech of each item, by its id.
    """

    def __init__(self, speech: bytes, *, delta_bytes: int = 2000, calls: tuple[dict[str, str], ...] = ()) -> None:
        self.heard = bytearray()
        self.truncated: list[tuple[str, int]] = []
        self.outputs: list[tuple[str, str]] = []
        self.created: list[Any] = []
        self.said: list[tuple[str, str]] = []
        self.made: dict[str, bytes] = {}
        self.session: Any = None
        self.keeps_format = True
        self._speech = speech
        self._delta_bytes = delta_bytes
        self._calls = list(calls)
        self._response: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def serve(self, connection: MemoryConnection | SocketConnection) -> None:
        """Serve a connection until the bridge closes it."""
        self.connection = connection
        self._say("session.created", session={"type": "realtime", "model": "gpt-realtime"})
        while (message := await connection.hear()) is not None:
            assert isinstance(message, str)
            self._take(check_client(message))
        if self._task is not None:
            self._task.cancel()

    def _say(self, kind: str, **members: object) -> None:
        self.connection.say(server_event(kind, **members))

    def _take(self, event: Any) -> None:
        match event.type:
            case "session.update":
                self.session = event.session
                session = event.session.model_dump(mode="json", exclude_none=True)
                if not self.keeps_format:
                    session["audio"]["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
                self._say("session.updated", session=session)
            case "input_audio_buffer.append":
                self.heard += base64.b64decode(event.audio)
            case "response.create":
                self.created.append(event.response)
                self.respond()
            case "response.cancel":
                self.cancel("client_cancelled")
            case "conversation.item.truncate":
                self._truncate(event)
            case "conversation.item.create":
                self._keep(event.item)

    def _truncate(self, event: Any) -> None:
        made = self.made[event.item_id]
        assert 0 <= event.audio_end_ms <= len(made) // 8, "longer than it is: the real service answers with an error"
        self.truncated.append((event.item_id, event.audio_end_ms))
        self._say(
            "conversation.item.truncated",
            item_id=event.item_id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    def _keep(self, item: Any) -> None:
        if item.type == "function_call_output":
            self.outputs.append((item.call_id, item.output))
        else:
            self.said.append((item.role, item.content[0].text))

    def respond(self) -> None:
        """Begin a response; there may be none being made."""
        assert self._response is None, "conversation_already_has_active_response"
        self._task = asyncio.get_running_loop().create_task(self._make())

    def caller_speaks(self) -> None:
        """Find that the caller has begun to speak: say so, and stop the response, some of which is on its way."""
        self._say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_caller")
        if self._response is not None:
            response, item = self._response, f"item_of_{self._response}"
            for _ in range(3):  # made already
                self._delta(response, item)
            self.cancel("turn_detected")

    def cancel(self, reason: str) -> None:
        """Stop the response."""
        if self._response is None:
            return
        if self._task is not None:
            self._task.cancel()
        details = {"type": "cancelled", "reason": reason}
        self._done(self._response, "cancelled", status_details=details)

    def fail(self, code: str) -> None:
        """Report an error."""
        error = {"type": "invalid_request_error", "code": code, "message": "Incorrect API key provided: sk-12345"}
        self._say("error", error=error)

    async def _make(self) -> None:
        number = next(_numbers)
        response, item = f"resp_{number}", f"item_of_resp_{number}"
        self._response = response
        self.made[item] = b""
        self._say("response.created", response={"id": response, "status": "in_progress"})
        if self._calls:
            call = self._calls.pop(0)
            self._done(response, "completed", output=[{"type": "function_call", **call}])
            return
        for _ in range(0, len(self._speech), self._delta_bytes):
            self._delta(response, item)
            await asyncio.sleep(0.02)
        self._say("response.output_audio.done", response_id=response, item_id=item, output_index=0, content_index=0)
        self._say(
            "response.output_audio_transcript.done",
            response_id=response,
            item_id=item,
            output_index=0,
            content_index=0,
            transcript="What the agent said.",
        )
        self._done(response, "completed", output=[])

    def _delta(self, response: str, item: str) -> None:
        at = len(self.made[item])
        piece = self._speech[at : at + self._delta_bytes]
        if not piece:
            return
        self.made[item] += piece
        delta = base64.b64encode(piece).decode()
        self._say(
            "response.output_audio.delta",
            response_id=response,
            item_id=item,
            output_index=0,
            content_index=0,
            delta=delta,
        )

    def _done(self, response: str, status: str, **members: object) -> None:
        self._response = None
        self._say("response.done", response={"id": response, "status": status, **members})
