"""Ultravox over its server WebSocket: PCM16 at 8 kHz both ways, so that nothing is resampled.

A call is made there over HTTP, and the answer has the address to join it at. The service finds the caller's turns itself.
It speaks ahead of the caller's ear, by as much as we said that we keep, and says `playback_clear_buffer` when what it sent
is not to be heard any more; what comes after that is new. There is no place to tell how much was heard.

Source: docs.ultravox.ai/apps/datamessages, /apps/websockets, and /api-reference/calls/calls-post. There is no vendor's
package with these messages; see `tests/agents/fake_ultravox.py` for what they are checked with.
"""

from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from smartflo_bridge.agents.dialect import Dialect, Endpoint, HttpRequest, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    BargeIn,
    Failed,
    GoAway,
    Ignored,
    LegEvent,
    Speech,
    SpeechDone,
    ToolCall,
    Transcript,
)
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, json_object, to_text
from smartflo_bridge.agents.ultravox_session import UltravoxSettings, call_request
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ

MAX_TRANSCRIPT_CHARACTERS = 4000
"""Of one utterance: some minutes of speech. More is not kept."""


class _Message(msgspec.Struct, frozen=True, rename="camel", tag_field="type"):
    pass


class _CallStarted(_Message, frozen=True, tag="call_started"):
    pass


class _State(_Message, frozen=True, tag="state"):
    state: str


class _Transcript(_Message, frozen=True, tag="transcript"):
    role: Literal["user", "agent"]
    text: str | None = None
    delta: str | None = None
    final: bool = False


class _Clear(_Message, frozen=True, tag="playback_clear_buffer"):
    pass


class _ToolInvocation(_Message, frozen=True, tag="client_tool_invocation"):
    tool_name: str
    invocation_id: str
    parameters: dict[str, object] = {}


_decoder: msgspec.json.Decoder[_CallStarted | _State | _Transcript | _Clear | _ToolInvocation] = msgspec.json.Decoder(
    _CallStarted | _State | _Transcript | _Clear | _ToolInvocation
)


class UltravoxDialect(Dialect):
    """One call there."""

    awaits_ready = False

    def __init__(self, settings: UltravoxSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = self.speaks = AudioFormat("pcm", SAMPLE_RATE_HZ)
        self._is_speaking = False
        self._saying = ""  # by the agent, as far as it is written down

    # --- The connection

    def request(self) -> HttpRequest:
        """Make a call."""
        url = urlsplit(self._settings.url)
        agent = f"/agents/{quote(self._settings.agent_id, safe='')}" if self._settings.agent_id else ""
        path = f"{url.path.rstrip('/')}{agent}/calls"
        address = urlunsplit((url.scheme.replace("ws", "http"), url.netloc, path, url.query, ""))
        body = to_text(call_request(self._settings, self._opening)).encode()
        return HttpRequest(address, {"X-API-Key": self._opening.key}, body)

    def endpoint(self, answer: bytes | None) -> Endpoint | Failed:
        """Return where the call is to be joined. The address is the secret; it needs no key."""
        made = json_object(answer or b"")
        address = made.get("joinUrl") if made is not None else None
        scheme = urlsplit(self._settings.url).scheme  # without TLS only where the service itself is, on this machine
        if not isinstance(address, str) or not address.startswith(("wss://", f"{scheme}://")):
            return Failed("its answer has no address to join the call at")
        if not address.isascii() or not address.isprintable() or " " in address:
            return Failed("its answer has an address that is none")
        return Endpoint(address)

    def receive(self, message: Message) -> list[LegEvent]:
        """Take speech, which is binary, or a word, which is JSON."""
        if isinstance(message, bytes):
            return [Speech(message)]
        try:
            word = _decoder.decode(message)
        except DECODE_ERRORS:
            found = json_object(message)
            return [Ignored(MALFORMED if found is None else str(found.get("type"))[:64])]
        match word:
            case _CallStarted():
                return [GoAway(float(self._settings.session_seconds))]
            case _State(state=state):
                return self._change(state)
            case _Clear():
                return [BargeIn()]
            case _Transcript():
                return self._write_down(word)
            case _ToolInvocation():
                return [ToolCall(word.invocation_id, word.tool_name, to_text(word.parameters))]

    def end(self) -> list[Message]:
        """Have the call ended there too, at once."""
        return [to_text({"type": "hang_up"})]

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Send audio as it is."""
        return [audio] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Tell of a key in words, which interrupt the agent, as a key does."""
        text = f"(I press {digit} on my keypad.)"
        return [to_text({"type": "user_text_message", "text": text, "urgency": "immediate"})]

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return a function's result."""
        return [to_text({"type": "client_tool_result", "invocationId": call, "result": result})]

    # --- Inside

    def _change(self, state: str) -> list[LegEvent]:
        was_speaking, self._is_speaking = self._is_speaking, state == "speaking"
        is_done = was_speaking and not self._is_speaking
        return [SpeechDone()] if is_done else [Ignored("state")]

    def _write_down(self, word: _Transcript) -> list[LegEvent]:
        """Put an utterance together: all of it so far, or what is new."""
        if word.role == "user":
            said = word.text or word.delta or ""
        else:
            said = word.text if word.text is not None else self._saying + (word.delta or "")
            self._saying = "" if word.final else said[:MAX_TRANSCRIPT_CHARACTERS]
        is_whole = word.final and said != ""
        return [Transcript(is_caller=word.role == "user", text=said)] if is_whole else [Ignored("transcript")]
