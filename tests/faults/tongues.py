"""The dialects that the faulty agent speaks, its side of them: no more than it needs to know its calls and to echo them."""

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from smartflo_bridge.agents.protobuf import bytes_field, fields, number_field
from smartflo_bridge.core.audio import pcm_to_ulaw, ulaw_to_pcm

Message = str | bytes
AUDIO, WORDS = 2, 4
"""Of the kinds of a pipecat `Frame`."""


class Tongue(Protocol):
    """One dialect.

    Attributes:
        keys: of the daemon's configuration, beside the URL.
    """

    keys: Mapping[str, Any]

    def start(self, message: Message) -> dict[str, Any] | None:
        """Return what the daemon says first, with the call's custom parameters as `custom`; None if this is not it."""
        ...

    def audio(self, message: Message) -> bytes | None:
        """Return the caller's audio in mu-law; None if this is something else."""
        ...

    def is_stop(self, message: Message) -> bool:
        """Return whether the call is over."""
        ...

    def speech(self, ulaw: bytes) -> Message:
        """Return what says this."""
        ...


class RawTongue:
    """Our own protocol."""

    keys: Mapping[str, Any] = MappingProxyType({"kind": "raw"})

    def start(self, message: Message) -> dict[str, Any] | None:
        """Return `start`."""
        said = json.loads(message)
        return dict(said) if said["type"] == "start" else None

    def audio(self, message: Message) -> bytes | None:
        """Return what is binary."""
        return message if isinstance(message, bytes) else None

    def is_stop(self, message: Message) -> bool:
        """Return whether it is `stop`."""
        return isinstance(message, str) and json.loads(message)["type"] == "stop"

    def speech(self, ulaw: bytes) -> Message:
        """Return the bytes."""
        return ulaw


class TwilioTongue:
    """Twilio's Media Streams."""

    keys: Mapping[str, Any] = MappingProxyType({"kind": "twilio"})

    def start(self, message: Message) -> dict[str, Any] | None:
        """Return `start`."""
        said = json.loads(message)
        if said["event"] != "start":
            return None
        return {"stream": said["streamSid"], "custom": said["start"]["customParameters"]}

    def audio(self, message: Message) -> bytes | None:
        """Return a payload."""
        said = json.loads(message)
        return base64.b64decode(said["media"]["payload"]) if said["event"] == "media" else None

    def is_stop(self, message: Message) -> bool:
        """Return whether it is `stop`."""
        return bool(json.loads(message)["event"] == "stop")

    def speech(self, ulaw: bytes) -> Message:
        """Return a `media`."""
        return json.dumps({"event": "media", "media": {"payload": base64.b64encode(ulaw).decode()}})


class PipecatTongue:
    """Pipecat's frames, at the telephone's rate; a bot is not told that the call is over."""

    keys: Mapping[str, Any] = MappingProxyType({"kind": "pipecat", "input_rate_hz": 8000, "output_rate_hz": 8000})

    def start(self, message: Message) -> dict[str, Any] | None:
        """Return the words about the call; they have no stream."""
        kind, frame = _frame(message)
        said = json.loads(frame[1]) if kind == WORDS else {}
        return dict(said["data"]["d"]) if said.get("type") == "client-message" else None

    def audio(self, message: Message) -> bytes | None:
        """Return an audio frame's."""
        kind, frame = _frame(message)
        return pcm_to_ulaw(frame[3]) if kind == AUDIO else None

    def is_stop(self, message: Message) -> bool:
        """Return False."""
        return False

    def speech(self, ulaw: bytes) -> Message:
        """Return an audio frame."""
        return bytes_field(AUDIO, bytes_field(3, ulaw_to_pcm(ulaw)) + number_field(4, 8000) + number_field(5, 1))


def _frame(message: Message) -> tuple[int, dict[int, Any]]:
    assert isinstance(message, bytes)
    ((kind, content),) = fields(message)
    assert isinstance(content, bytes)
    return kind, dict(fields(content))
