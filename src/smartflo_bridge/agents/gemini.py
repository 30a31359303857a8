"""Google's Gemini Live API over WebSocket: PCM16 at 16 kHz to it, at 24 kHz from it, both converted here.

The service finds the caller's turns itself and says `interrupted` when the caller speaks over it, but only until it takes
its turn for heard (`turnComplete`); what is then still playing is ours to interrupt. Of an interrupted turn nothing is
played up to its `turnComplete`, which ends it by the documentation. There is no place to tell how much was heard.

A connection lives for some ten minutes. The service announces its end (`goAway`), and gives handles with which another
connection goes on with the session.

Source: ai.google.dev/api/live and /gemini-api/docs/live-session. All messages, both ways, are checked against the types of
the `google-genai` package in `tests/agents/test_gemini.py`.
"""

import re
from typing import Any

import msgspec

from smartflo_bridge.agents.dialect import NORMAL_CLOSE, Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    Answer,
    BargeIn,
    Failed,
    GoAway,
    HangUpAsked,
    Ignored,
    LegEvent,
    Ready,
    Resumption,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.gemini_session import GeminiSettings, setup
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, json_object, to_text

MAX_TRANSCRIPT_CHARACTERS = 4000
"""Of one side in one turn: some minutes of speech. More is not kept."""

_RATES_HZ = range(8000, 48001)
_PCM = re.compile(r"audio/pcm(?:;.*?rate=(\d{1,6})\b.*)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")

_HOPELESS = {
    "api key": "the key is not valid",
    "quota": "the quota is used up",
    "billing": "the quota is used up",
    "not found for api version": "there is no such model, or it cannot talk",
}
"""What a close's reason may contain, and what it means. Others are not repeated: they may quote anything."""


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    """A message or a part of one, with the members that concern us."""


class _Blob(_Wire, frozen=True):
    data: bytes
    mime_type: str = "audio/pcm"


class _Part(_Wire, frozen=True):
    inline_data: _Blob | None = None


class _ModelTurn(_Wire, frozen=True):
    parts: tuple[_Part, ...] = ()


class _Text(_Wire, frozen=True):
    text: str = ""


class _Content(_Wire, frozen=True):
    model_turn: _ModelTurn | None = None
    interrupted: bool = False
    generation_complete: bool = False
    turn_complete: bool = False
    input_transcription: _Text | None = None
    output_transcription: _Text | None = None


class _FunctionCall(_Wire, frozen=True):
    name: str
    id: str = ""
    args: dict[str, Any] = {}


class _ToolCall(_Wire, frozen=True):
    function_calls: tuple[_FunctionCall, ...] = ()


class _Cancelled(_Wire, frozen=True):
    ids: tuple[str, ...] = ()


class _GoAway(_Wire, frozen=True):
    time_left: str = ""


class _Update(_Wire, frozen=True):
    new_handle: str = ""


class _Server(_Wire, frozen=True):
    setup_complete: dict[str, Any] | None = None
    server_content: _Content | None = None
    tool_call: _ToolCall | None = None
    tool_call_cancellation: _Cancelled | None = None
    go_away: _GoAway | None = None
    session_resumption_update: _Update | None = None


_decoder = msgspec.json.Decoder(_Server)


class GeminiDialect(Dialect):
    """One connection of a session."""

    def __init__(self, settings: GeminiSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = AudioFormat("pcm", int(settings.input_format.partition(";")[2]))
        self.speaks = AudioFormat("pcm", 24000)
        self._is_ready = False
        self._is_leaving = False
        self._is_turn = False  # the agent's: its speech has begun, and it may still be interrupted by the service
        self._is_speaking = False
        self._is_stale = False
        self._functions: dict[str, str] = {}  # the names of the calls that are not answered, by their ids
        self._heard = self._said = ""

    # --- The connection

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the address; the key is in a header."""
        assert answer is None
        key = self._opening.key
        return Endpoint(self._settings.url, {"x-goog-api-key": key} if key else {})

    def opening(self) -> list[Message]:
        """Say `setup`."""
        return [setup(self._settings, self._opening)]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take one message, text or binary: it is JSON either way."""
        try:
            server = _decoder.decode(message)
        except DECODE_ERRORS:
            return [Ignored(MALFORMED)]
        happened: list[LegEvent] = []
        if server.setup_complete is not None:
            happened += self._begin()
        if server.server_content is not None:
            happened += self._take(server.server_content)
        if server.tool_call is not None:
            happened += self._call(server.tool_call)
        if server.tool_call_cancellation is not None:
            for identity in server.tool_call_cancellation.ids:
                self._functions.pop(identity, None)
        if server.session_resumption_update is not None and (handle := server.session_resumption_update.new_handle):
            happened.append(Resumption(handle))
        if server.go_away is not None and not self._is_leaving:
            self._is_leaving = True
            happened.append(GoAway(_seconds(server.go_away.time_left)))
        return happened or [Ignored(next(iter(json_object(message) or ()), "empty")[:64])]

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """Judge a close. This service never hangs up: it ends connections, also with 1000, and the call goes on."""
        for words, meaning in _HOPELESS.items():
            if words in reason.lower():
                return Failed(meaning)
        if code in NORMAL_CLOSE:
            return Failed("it has ended the session", may_retry=True)
        failed = super().closed(code, reason)
        if isinstance(failed, Failed) and self._is_ready:  # so it did like what we sent first
            return Failed(failed.reason, may_retry=True)
        return failed

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send the caller's audio."""
        if not audio:
            return []
        return [_realtime(audio={"data": audio, "mimeType": f"audio/pcm;rate={self.hears.rate_hz}"})]

    def press(self, digit: str) -> list[Message]:
        """Tell of a key in words."""
        return [_realtime(text=f"(I press {digit} on my keypad.)")]

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """Drop the rest of the turn: the service finds out by itself that the caller speaks."""
        self._is_stale = self._is_stale or self._is_turn
        self._is_speaking = False
        return []

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return a function's result, unless the service has taken its call back."""
        name = self._functions.pop(call, None)
        if name is None:
            return []
        answer = json_object(result)
        response = {"id": call, "name": name, "response": {"output": result} if answer is None else answer}
        return [to_text({"toolResponse": {"functionResponses": [response]}})]

    # --- Inside

    def _begin(self) -> list[LegEvent]:
        self._is_ready = True
        if not (self._opening.is_first and self._settings.greeting):
            return [Ready()]
        return [Ready(), Answer(_realtime(text=f"Greet the caller. Say exactly this: {self._settings.greeting}"))]

    def _take(self, content: _Content) -> list[LegEvent]:
        """Take what is said. One message may hold several things; they are in the order of a turn."""
        happened: list[LegEvent] = []
        if content.input_transcription is not None:
            self._heard = _longer(self._heard, content.input_transcription.text)
        if content.output_transcription is not None:
            self._said = _longer(self._said, content.output_transcription.text)
        if content.interrupted:
            self._is_stale, self._is_speaking = True, False
            happened.append(BargeIn())
        for part in content.model_turn.parts if content.model_turn is not None else ():
            if part.inline_data is not None:
                happened += self._speak(part.inline_data)
        if content.generation_complete or content.turn_complete:
            happened += self._finish()
        if content.turn_complete:
            happened += self._end_turn()
        return happened

    def _speak(self, blob: _Blob) -> list[LegEvent]:
        found = _PCM.fullmatch(blob.mime_type)
        if found is None:
            return [Ignored(blob.mime_type[:64])]
        if self._is_stale:
            return [Ignored("stale speech")]
        self._is_turn = self._is_speaking = self.notices_barge_in = True
        rate_hz = int(found[1] or self.speaks.rate_hz)
        if rate_hz == self.speaks.rate_hz:
            return [Speech(blob.data)]
        if rate_hz not in _RATES_HZ:
            return [Failed(f"it speaks at {rate_hz} Hz")]
        self.speaks = AudioFormat("pcm", rate_hz)
        return [Ready(self.speaks), Speech(blob.data)]

    def _finish(self) -> list[LegEvent]:
        was_speaking, self._is_speaking = self._is_speaking, False
        return [SpeechDone()] if was_speaking else []

    def _end_turn(self) -> list[LegEvent]:
        """The service takes the turn for heard, or has dropped it: what comes next is another one."""
        self._is_turn = self._is_stale = self.notices_barge_in = False
        sides = ((True, self._heard), (False, self._said))
        self._heard = self._said = ""
        return [Transcript(is_caller=is_caller, text=text.strip()) for is_caller, text in sides if text.strip()]

    def _call(self, asked: _ToolCall) -> list[LegEvent]:
        """Functions are wanted. The agent waits for them: what it was saying is complete."""
        calls: list[LegEvent] = []
        for call in asked.function_calls:
            identity = call.id or call.name
            self._functions[identity] = call.name
            calls.append(ToolCall(identity, call.name, str(to_text(call.args))))
        return [*self._finish(), *calls]


def _realtime(**members: object) -> Message:
    return to_text({"realtimeInput": members})


def _longer(text: str, more: str) -> str:
    return (text + more)[:MAX_TRANSCRIPT_CHARACTERS]


def _seconds(duration: str) -> float:
    """Return a protobuf duration; 0, at once, where it is none."""
    found = _DURATION.fullmatch(duration)
    return float(found[1]) if found else 0.0
