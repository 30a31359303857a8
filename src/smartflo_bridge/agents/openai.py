"""OpenAI's Realtime API (GA) over WebSocket: mu-law both ways, nothing transcoded; or PCM16 at 24 kHz, where that is wanted.

The service finds the caller's turns itself. When the caller begins to speak it stops its own response, we stop what is
playing, and it is told how much of it was heard (`conversation.item.truncate`), so that it knows what it did not say. What
still comes of a response that was stopped is recognised by the response's id, and dropped.

Source: platform.openai.com/docs/api-reference/realtime-client-events and -server-events. All messages, both ways, are
checked against the types of the `openai` package in `tests/agents/test_openai.py`.
"""

import re
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from smartflo_bridge.agents.dialect import Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    Answer,
    BargeIn,
    Failed,
    GoAway,
    Ignored,
    LegEvent,
    Ready,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import ULAW_8K, AudioFormat
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, json_object, to_text
from smartflo_bridge.agents.openai_session import OpenAISettings, session_update

MAX_ITEMS = 64
"""Of which it is remembered that their speech is not their first content; that is rare."""

SESSION_SECONDS = 3600.0
"""A session's longest life, by the documentation; then it is closed with `session_expired`."""

_MAY_PASS = ("server_error", "rate_limit_exceeded", "session_expired", "rate_limit_error")
"""Codes and types of errors after which a new session may go well."""

_FATAL = (*_MAY_PASS, "invalid_api_key", "insufficient_quota", "model_not_found", "authentication_error")
"""Those after which this one is of no use. Others, such as a truncation that came too late, are passed over."""

_CODE = re.compile(r"[a-z0-9_.]{1,64}")


class _Delta(msgspec.Struct, frozen=True):
    """The one message that comes often, decoded without a detour."""

    type: Literal["response.output_audio.delta"]
    response_id: str
    item_id: str
    delta: bytes
    content_index: int = 0


_delta_decoder = msgspec.json.Decoder(_Delta)


class OpenAIDialect(Dialect):
    """One session."""

    def __init__(self, settings: OpenAISettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = self.speaks = ULAW_8K if settings.format == "mulaw" else AudioFormat("pcm", 24000)
        self._content_index: dict[str, int] = {}
        self._response: str | None = None  # the one that is being made
        self._stale: set[str] = set()
        self._pending_calls: set[str] = set()
        self._owes_response = False

    # --- The connection

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the address, with the model and the key."""
        assert answer is None
        url = self._settings.url
        joint = "&" if urlsplit(url).query else "?"
        headers = {"Authorization": f"Bearer {self._opening.key}"} if self._opening.key else {}
        return Endpoint(f"{url}{joint}model={quote(self._settings.model, safe='')}", headers)

    def receive(self, message: Message) -> list[LegEvent]:
        """Take one server event."""
        try:
            return self._hear_speech(_delta_decoder.decode(message))
        except DECODE_ERRORS:  # it is another one
            event = json_object(message)
        if event is None:
            return [Ignored(MALFORMED)]
        return self._take(str(event.get("type")), event)

    def _take(self, name: str, event: dict[str, Any]) -> list[LegEvent]:
        match name:
            case "response.output_audio.delta":
                return [Ignored(MALFORMED)]
            case "session.created":
                return [Answer(session_update(self._settings, self._opening))]
            case "session.updated":
                return self._begin(event)
            case "input_audio_buffer.speech_started":
                self._forget_response()
                return [BargeIn()]
            case "response.created":
                self._response = _text_at(event, "response", "id")
                return [Ignored(name)]
            case "response.done":
                return self._end_response(event)
            case "error":
                return [self._fail(event.get("error"))]
            case "conversation.item.input_audio_transcription.completed" | "response.output_audio_transcript.done":
                return [Transcript(is_caller="input" in name, text=_text_at(event, "transcript"))]
            case _:
                return [Ignored(name[:64])]

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Append the caller's audio."""
        return [to_text({"type": "input_audio_buffer.append", "audio": audio})] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Tell of a key in words, and ask for an answer to it."""
        said = _item(
            "message", role="user", content=[{"type": "input_text", "text": f"(I press {digit} on my keypad.)"}]
        )
        return [said, *self._ask_for_response()]

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """Stop the response that is being made."""
        running = self._response is not None
        self._forget_response()
        return [to_text({"type": "response.cancel"})] if running else []

    def tell_heard(self, item: str, heard_ms: int) -> list[Message]:
        """Truncate what was not heard."""
        if not item:
            return []
        index = self._content_index.get(item, 0)
        return [
            to_text(
                {
                    "type": "conversation.item.truncate",
                    "item_id": item,
                    "content_index": index,
                    "audio_end_ms": heard_ms,
                }
            )
        ]

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return a function's output; when all are there, ask for what is to be said about them."""
        self._pending_calls.discard(call)
        output = _item("function_call_output", call_id=call, output=result)
        return [output] if self._pending_calls else [output, *self._ask_for_response()]

    # --- Inside

    def _begin(self, event: dict[str, Any]) -> list[LegEvent]:
        """The session is as we asked, or it is of no use."""
        wanted = "audio/pcmu" if self._settings.format == "mulaw" else "audio/pcm"
        found = _text_at(event, "session", "audio", "output", "format", "type")
        if found != wanted:
            return [Failed(f"it speaks {found[:32] or 'nothing that it names'} instead of {wanted}")]
        begun: list[LegEvent] = [Ready(), GoAway(SESSION_SECONDS)]
        for said in self._opening.said:
            kind, role = ("input_text", "user") if said.is_caller else ("output_text", "assistant")
            begun.append(Answer(_item("message", role=role, content=[{"type": kind, "text": said.text}])))
        if self._opening.is_first and self._settings.greeting:
            request = {"instructions": f"Greet the caller. Say exactly this: {self._settings.greeting}"}
            begun.append(Answer(to_text({"type": "response.create", "response": request})))
        return begun

    def _hear_speech(self, delta: _Delta) -> list[LegEvent]:
        if delta.response_id in self._stale:
            return [Ignored("stale speech")]
        if delta.content_index:  # rarely is it another than the first
            self._content_index[delta.item_id] = delta.content_index
            if len(self._content_index) > MAX_ITEMS:
                del self._content_index[next(iter(self._content_index))]
        return [Speech(delta.delta, delta.item_id)]

    def _forget_response(self) -> None:
        if self._response is not None:
            self._stale.add(self._response)
            self._response = None

    def _end_response(self, event: dict[str, Any]) -> list[LegEvent]:
        """A response is complete, stopped, or has failed; what it wants to be called is known only now."""
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        identity = str(response.get("id"))
        is_stale = identity in self._stale
        self._stale.discard(identity)
        if identity == self._response:
            self._response = None
        ended: list[LegEvent] = [] if is_stale else [SpeechDone()]
        if response.get("status") == "failed":
            failed = self._fail(_at(response, "status_details", "error"))
            return [*ended, failed]
        if not is_stale:
            output = response.get("output")
            items = output if isinstance(output, list) else []
            calls = [_tool_call(item) for item in items if _at(item, "type") == "function_call"]
            self._pending_calls.update(call.id for call in calls)
            ended += calls
        if self._owes_response and self._response is None:
            self._owes_response = False
            ended.append(Answer(to_text({"type": "response.create"})))
        return ended

    def _ask_for_response(self) -> list[Message]:
        """Ask for a response, or for later while one is being made: the service refuses a second one."""
        if self._response is not None:
            self._owes_response = True
            return []
        return [to_text({"type": "response.create"})]

    def _fail(self, error: object) -> Failed | Ignored:
        """Judge an error by its code; its text may quote anything."""
        names = [
            name for name in (_at(error, "code"), _at(error, "type")) if isinstance(name, str) and _CODE.fullmatch(name)
        ]
        name = names[0] if names else "error"
        if not any(name in _FATAL for name in names):
            return Ignored(f"error {name}")
        return Failed(f"it reports {name}", may_retry=any(name in _MAY_PASS for name in names))


def _item(kind: str, **members: object) -> Message:
    return to_text({"type": "conversation.item.create", "item": {"type": kind} | members})


def _tool_call(item: dict[str, Any]) -> ToolCall:
    return ToolCall(str(item.get("call_id")), str(item.get("name")), str(item.get("arguments") or "{}"))


def _at(value: object, *path: str) -> object:
    """Return what is found along a path of members; None where it ends early."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text_at(value: object, *path: str) -> str:
    found = _at(value, *path)
    return found if isinstance(found, str) else ""
