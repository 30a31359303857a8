"""The raw leg: our own small protocol, made to be implemented in thirty lines. `docs/raw-leg.md` specifies it.

Audio is binary, either way, in messages of any length; everything else is JSON in text messages with a `type`. Nothing has
to be answered, and there is no handshake: an agent that only sends and takes audio is complete.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from smartflo_bridge.agents.dialect import Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import (
    MALFORMED,
    BargeIn,
    HangUpAsked,
    Ignored,
    LegEvent,
    MarkAsked,
    Ready,
    Speech,
    SpeechDone,
)
from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, names_another, to_text
from smartflo_bridge.agents.settings import KeySettings, WebSocketUrl

FormatName = Literal["mulaw;8000", "pcm16;8000", "pcm16;16000", "pcm16;24000"]

FORMATS: dict[str, AudioFormat] = {
    "mulaw;8000": AudioFormat("ulaw", 8000),
    "pcm16;8000": AudioFormat("pcm", 8000),
    "pcm16;16000": AudioFormat("pcm", 16000),
    "pcm16;24000": AudioFormat("pcm", 24000),
}


class RawSettings(KeySettings, frozen=True, kw_only=True):
    """The keys of `kind = "raw"`.

    Attributes:
        url: of the agent.
        key_file: a token that is sent as `Authorization: Bearer ...`; empty sends none.
        format: of the audio, both ways; the agent may answer in another one that it names.
    """

    url: WebSocketUrl
    format: FormatName = "mulaw;8000"


class _Ready(msgspec.Struct, frozen=True, tag_field="type", tag="ready"):
    format: FormatName | None = None


class _Clear(msgspec.Struct, frozen=True, tag_field="type", tag="clear"):
    pass


class _Mark(msgspec.Struct, frozen=True, tag_field="type", tag="mark"):
    name: Annotated[str, Meta(max_length=1024)]


class _Done(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    pass


class _HangUp(msgspec.Struct, frozen=True, tag_field="type", tag="hang_up"):
    pass


_decoder: msgspec.json.Decoder[_Ready | _Clear | _Mark | _Done | _HangUp] = msgspec.json.Decoder(
    _Ready | _Clear | _Mark | _Done | _HangUp
)


class RawDialect(Dialect):
    """One connection to an agent that speaks our protocol."""

    awaits_ready = False
    wants_speech_edges = True

    def __init__(self, settings: RawSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self.hears = self.speaks = FORMATS[settings.format]

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the agent's address, with the token where there is one."""
        assert answer is None
        key = self._opening.key
        return Endpoint(self._settings.url, {"Authorization": f"Bearer {key}"} if key else {})

    def opening(self) -> list[Message]:
        """Say `start`."""
        facts = self._opening.facts
        return [
            _text(
                "start",
                version=1,
                stream=facts.stream_sid,
                call=facts.call_sid,
                direction=facts.direction,
                **{"from": facts.from_number, "to": facts.to_number},
                custom=facts.custom_parameters,
                format=self._settings.format,
                resumed=not self._opening.is_first,
            )
        ]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take audio or a word."""
        if isinstance(message, bytes):
            return [Speech(message)]
        try:
            said = _decoder.decode(message)
        except DECODE_ERRORS:
            return [
                Ignored(
                    "unknown"
                    if names_another(message, "type", "ready", "clear", "mark", "done", "hang_up")
                    else MALFORMED
                )
            ]
        match said:
            case _Ready(format=name):
                return [Ready(FORMATS[name] if name else None)]
            case _Clear():
                return [BargeIn()]
            case _Mark(name=name):
                return [MarkAsked(name)]
            case _Done():
                return [SpeechDone()]
            case _HangUp():
                return [SpeechDone(), HangUpAsked()]

    def hear(self, audio: bytes) -> list[Message]:
        """Send audio as it is."""
        return [audio] if audio else []

    def press(self, digit: str) -> list[Message]:
        """Say `dtmf`."""
        return [_text("dtmf", digit=digit)]

    def notice_speech(self, *, is_speech: bool) -> list[Message]:
        """Say `speech_start` or `speech_end`: a small agent needs no detector of its own."""
        return [_text("speech_start" if is_speech else "speech_end")]

    def reach(self, name: str, *, was_played: bool) -> list[Message]:
        """Say `mark`, and whether it was heard or cleared."""
        return [_text("mark", name=name, played=was_played)]

    def tell_cleared(self, heard_ms: int) -> list[Message]:
        """Say `cleared`, and how much was heard since the last."""
        return [_text("cleared", heard_ms=heard_ms)]

    def end(self) -> list[Message]:
        """Say `stop`."""
        return [_text("stop")]


def _text(kind: str, **members: Any) -> Message:  # noqa: ANN401 - whatever JSON holds
    return to_text({"type": kind} | {name: value for name, value in members.items() if value is not None})
