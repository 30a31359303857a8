"""ElevenLabs Agents over WebSocket: mu-law both ways, nothing transcoded, where the agent is set so; else what it names.

The agent is made at the service: its voice, its prompt, its tools and its audio formats. Pieces of speech are numbered, and
an interruption names the last that is stale: the service's own epoch. There is no place to tell how much was heard; it
works that out itself. A private agent is dialled at an address that is asked for over HTTP, with the key.

Source: elevenlabs.io/docs/api-reference/agents-platform/websocket. All messages, both ways, are checked with what the
`elevenlabs` package sends and takes in `tests/agents/test_elevenlabs.py`.
"""

import re
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from smartflo_bridge.agents.briefing import instructions_and_story
from smartflo_bridge.agents.dialect import Dialect, Endpoint, HttpRequest, Opening
from smartflo_bridge.agents.elevenlabs_session import ElevenLabsSettings, initiation
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
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import ULAW_8K, AudioFormat
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, json_object, to_text

FORMATS = {"ulaw_8000": ULAW_8K} | {
    f"pcm_{rate_hz}": AudioFormat("pcm", rate_hz) for rate_hz in (8000, 16000, 22050, 24000, 44100, 48000)
}
"""All that the service has for conversations."""

_HOPELESS_ERRORS = {
    "override_error": "it does not allow an override: see the agent's security settings",
    "missing_dynamic_variable": "the agent needs a dynamic variable: see `parameters`",
    "missing_fields": "it misses something in what it was told first",
    "invalid_message": "it does not understand what it was told",
    "value_error": "it does not take what it was told",
}
"""Types of `error` after which the same again will not help. After others it closes, or goes on."""

_HOPELESS = {
    "override": _HOPELESS_ERRORS["override_error"],
    "quota": "the quota is used up",
    "authoriz": "the agent is private, and the key is not valid for it",
    "does not exist": "there is no such agent",
}
"""What a close's reason may contain, and what it means. Others are not repeated: they may quote anything."""

_ERROR_TYPE = re.compile(r"[a-z_]{1,64}")


class _Metadata(msgspec.Struct, frozen=True):
    agent_output_audio_format: str
    user_input_audio_format: str = "pcm_16000"


class _Audio(msgspec.Struct, frozen=True):
    audio_base_64: bytes
    event_id: int


class _Numbered(msgspec.Struct, frozen=True):
    event_id: int


class _Heard(msgspec.Struct, frozen=True):
    user_transcript: str


class _Said(msgspec.Struct, frozen=True):
    agent_response: str


class _Corrected(msgspec.Struct, frozen=True):
    corrected_agent_response: str


class _Call(msgspec.Struct, frozen=True):
    tool_name: str
    tool_call_id: str
    parameters: dict[str, Any] = {}


class _Error(msgspec.Struct, frozen=True):
    error_type: str = "unknown"


class _Server(msgspec.Struct, frozen=True):
    """Any message: its type, and the member that goes with it."""

    type: str
    conversation_initiation_metadata_event: _Metadata | None = None
    audio_event: _Audio | None = None
    ping_event: _Numbered | None = None
    interruption_event: _Numbered | None = None
    user_transcription_event: _Heard | None = None
    agent_response_event: _Said | None = None
    agent_response_correction_event: _Corrected | None = None
    client_tool_call: _Call | None = None
    error_event: _Error | None = None


_decoder = msgspec.json.Decoder(_Server)


class ElevenLabsDialect(Dialect):
    """One conversation."""

    def __init__(self, settings: ElevenLabsSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self._newest = self._stale_to = -1  # numbers of pieces of speech: the last that came, the last that is stale
        # Another conversation begins with its first message, which the caller knows. Where it may be overridden it has none.
        self._is_mute = not opening.is_first and not settings.greeting

    # --- The connection

    def request(self) -> HttpRequest | None:
        """Ask for the address of a private agent."""
        if not self._opening.key:
            return None
        url = urlsplit(self._settings.url)
        scheme = url.scheme.replace("ws", "http")
        path = f"{url.path.rstrip('/')}/get-signed-url"
        return HttpRequest(urlunsplit((scheme, url.netloc, path, self._query, "")), {"xi-api-key": self._opening.key})

    def endpoint(self, answer: bytes | None) -> Endpoint | Failed:
        """Return the agent's address: signed, or with its id."""
        if answer is None:
            joint = "&" if urlsplit(self._settings.url).query else "?"
            return Endpoint(f"{self._settings.url}{joint}{self._query}")
        signed = (json_object(answer) or {}).get("signed_url")
        if not isinstance(signed, str) or not _is_theirs(signed, self._settings.url):
            return Failed("it answered without an address of its own to dial")
        return Endpoint(signed)

    def opening(self) -> list[Message]:
        """Say what is other than the agent's own settings, and what it may know of the call."""
        return [initiation(self._settings, self._opening)]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take one message."""
        try:
            server = _decoder.decode(message)
        except DECODE_ERRORS:
            return [Ignored(MALFORMED)]
        return self._take(server) or [Ignored(server.type[:64])]

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """Judge a close: 1000 is the agent's hanging up."""
        for words, meaning in _HOPELESS.items():
            if words in reason.lower():
                return Failed(meaning)
        return super().closed(code, reason)

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send the caller's audio."""
        return [to_text({"user_audio_chunk": audio})] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Tell of a key in words. What the agent says next answers it."""
        self._stale_to, self._is_mute = self._newest, False
        return [to_text({"type": "user_message", "text": f"(I press {digit} on my keypad.)"})]

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """Drop what comes, up to the service's own word: it hears the caller as well."""
        self._is_mute = self._newest > self._stale_to
        return []

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return a tool's result."""
        is_error = set(json_object(result) or ()) == {"error"}
        return [to_text({"type": "client_tool_result", "tool_call_id": call, "result": result, "is_error": is_error})]

    # --- Inside

    @property
    def _query(self) -> str:
        return f"agent_id={quote(self._settings.agent_id, safe='')}"

    def _take(self, server: _Server) -> list[LegEvent]:
        match server:
            case _Server(type="audio", audio_event=_Audio() as audio):
                return self._speak(audio)
            case _Server(type="ping", ping_event=_Numbered(event_id=number)):
                return [Answer(to_text({"type": "pong", "event_id": number}))]
            case _Server(type="interruption", interruption_event=_Numbered(event_id=number)):
                self._stale_to, self._is_mute = max(number, self._stale_to), False
                return [BargeIn()]
            case _Server(type="user_transcript", user_transcription_event=_Heard(user_transcript=text)):
                self._is_mute = False
                return [Transcript(is_caller=True, text=text.strip())]
            case _Server(type="agent_response", agent_response_event=_Said(agent_response=text)):
                return [Transcript(is_caller=False, text=text.strip())]
            case _Server(type="agent_response_correction", agent_response_correction_event=_Corrected() as corrected):
                text = f"(I was interrupted. Heard was only: {corrected.corrected_agent_response.strip()})"
                return [Transcript(is_caller=False, text=text)]
            case _Server(type="client_tool_call", client_tool_call=_Call() as call):
                return [ToolCall(call.tool_call_id, call.tool_name, str(to_text(call.parameters)))]
            case _Server(
                type="conversation_initiation_metadata", conversation_initiation_metadata_event=_Metadata() as m
            ):
                return self._begin(m)
            case _Server(type="error", error_event=_Error(error_type=name)):
                return [_failure(name)]
            case _:
                return []

    def _begin(self, metadata: _Metadata) -> list[LegEvent]:
        """Read and obey: the formats are set on the agent."""
        for name in (metadata.user_input_audio_format, metadata.agent_output_audio_format):
            if name not in FORMATS:
                return [Failed(f"the agent is set to {name[:32] or 'no format'}, which it should not have")]
        self.hears = FORMATS[metadata.user_input_audio_format]
        self.speaks = FORMATS[metadata.agent_output_audio_format]
        if self._opening.said:
            story = instructions_and_story("", self._opening)
            return [Ready(), Answer(to_text({"type": "contextual_update", "text": story}))]
        return [Ready()]

    def _speak(self, audio: _Audio) -> list[LegEvent]:
        self._newest = max(self._newest, audio.event_id)
        if self._is_mute or audio.event_id <= self._stale_to:
            return [Ignored("stale speech")]
        return [Speech(audio.audio_base_64)]


def _failure(name: str) -> LegEvent:
    """Judge an error by its type; its text may quote anything."""
    if name == "max_duration_exceeded":  # a limit that is set on the agent: not to be got round
        return HangUpAsked()
    if name in _HOPELESS_ERRORS:
        return Failed(_HOPELESS_ERRORS[name])
    return Ignored(f"error {name if _ERROR_TYPE.fullmatch(name) else ''}".strip())


def _is_theirs(signed: str, configured: str) -> bool:
    """True if an address is as safe as the configured one, and the same company's: nobody else is to get the call."""
    try:
        found, own = urlsplit(signed), urlsplit(configured)
        hosts = {found.hostname, own.hostname}
    except ValueError:
        return False
    is_same = found.netloc == own.netloc or all(host and host.endswith(".elevenlabs.io") for host in hosts)
    return found.scheme == own.scheme and is_same and signed.isascii() and signed.isprintable()
