"""Deepgram's Voice Agent API over WebSocket: mu-law both ways in binary messages, nothing transcoded.

The service finds the caller's turns itself, and says when the caller begins to speak. Its speech has no number and no name:
what still comes of a turn that was interrupted is dropped up to its next word about the conversation, a transcript, a
thought, a function's call, or that a turn's speech begins or is complete. There is no place to tell how much was heard.

Source: developers.deepgram.com/docs/voice-agent. All messages, both ways, are checked against the types of the
`deepgram-sdk` package in `tests/agents/test_deepgram.py`.
"""

import re

import msgspec

from smartflo_bridge.agents.deepgram_session import DeepgramSettings, settings_message
from smartflo_bridge.agents.dialect import NORMAL_CLOSE, Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    Answer,
    BargeIn,
    Failed,
    HangUpAsked,
    Ignored,
    LegEvent,
    Ready,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, to_text

KEEP_ALIVE_SECONDS = 5.0
"""Deepgram's page on `KeepAlive` says 8: for a call whose platform sends no audio for a while."""

_HOPELESS = re.compile(r"(INVALID|UNPARSABLE|UNSUPPORTED|INSUFFICIENT|MISSING|UNAUTHORIZED)\w*")
"""Codes of errors after which the same again will not help. Every error ends the conversation, by the documentation."""

_CODE = re.compile(r"[A-Z0-9_]{1,64}")


class _Function(msgspec.Struct, frozen=True):
    id: str
    name: str
    arguments: str = "{}"
    client_side: bool = False


class _Server(msgspec.Struct, frozen=True):
    """Any message: its type, and what one or another has besides."""

    type: str
    role: str = ""
    content: str = ""
    code: str = ""
    functions: tuple[_Function, ...] = ()


_decoder = msgspec.json.Decoder(_Server)


class DeepgramDialect(Dialect):
    """One conversation."""

    keep_alive_seconds = KEEP_ALIVE_SECONDS

    def __init__(self, settings: DeepgramSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self._is_stale = False
        self._functions: dict[str, str] = {}  # the names of the calls that are not answered, by their ids

    # --- The connection

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the address; the key is in a header."""
        assert answer is None
        key = self._opening.key
        return Endpoint(self._settings.url, {"Authorization": f"Token {key}"} if key else {})

    def receive(self, message: Message) -> list[LegEvent]:
        """Take speech, which is binary, or a word, which is JSON."""
        if isinstance(message, bytes):
            return [Ignored("stale speech") if self._is_stale else Speech(message)]
        try:
            server = _decoder.decode(message)
        except DECODE_ERRORS:
            return [Ignored(MALFORMED)]
        return self._take(server)

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """Judge a close. This agent hangs up with a tool, so that no close is a goodbye."""
        if code in NORMAL_CLOSE:
            return Failed("it has ended the conversation", may_retry=True)
        return super().closed(code, reason)

    def keep_alive(self) -> list[Message]:
        """Say that we are still there."""
        return [to_text({"type": "KeepAlive"})]

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send the caller's audio as it is."""
        return [audio] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Tell of a key in words, which the agent answers."""
        return [to_text({"type": "InjectUserMessage", "content": f"(I press {digit} on my keypad.)"})]

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """Drop the rest of the turn: the service hears the caller as well."""
        self._is_stale = True
        return []

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return a function's result, unless the service has taken its call back."""
        name = self._functions.pop(call, None)
        if name is None:
            return []
        return [to_text({"type": "FunctionCallResponse", "id": call, "name": name, "content": result})]

    # --- Inside

    def _take(self, server: _Server) -> list[LegEvent]:
        match server.type:
            case "Welcome":
                return [Answer(settings_message(self._settings, self._opening))]
            case "SettingsApplied":
                return [Ready()]
            case "UserStartedSpeaking":
                self._is_stale = True
                return [BargeIn()]
            case "ConversationText":
                self._is_stale = False
                return [Transcript(is_caller=server.role == "user", text=server.content)]
            case "AgentAudioDone":
                was_stale, self._is_stale = self._is_stale, False
                return [Ignored("stale speech") if was_stale else SpeechDone()]
            case "AgentThinking" | "AgentStartedSpeaking":
                self._is_stale = False
                return [Ignored(server.type)]
            case "FunctionCallRequest" | "FunctionCallCancelled":
                is_asked = server.type == "FunctionCallRequest"
                return (self._call if is_asked else self._take_back)(server.functions) or [Ignored(server.type)]
            case "Error":
                code = server.code if _CODE.fullmatch(server.code) else "an error"
                return [Failed(f"it reports {code}", may_retry=not _HOPELESS.fullmatch(code))]
            case _:
                return [Ignored(server.type[:64])]

    def _call(self, functions: tuple[_Function, ...]) -> list[LegEvent]:
        """Functions are wanted; those that the service calls itself are its own business."""
        self._is_stale = False
        ours = [function for function in functions if function.client_side]
        self._functions |= {function.id: function.name for function in ours}
        return [ToolCall(function.id, function.name, function.arguments) for function in ours]

    def _take_back(self, functions: tuple[_Function, ...]) -> list[LegEvent]:
        """They run to their end, and nobody is told of it."""
        for function in functions:
            self._functions.pop(function.id, None)
        return []
