"""What we say to the platform: one frozen struct for each of our events, their encoder, and a builder for them.

Member order is the examples' of protocol.md, section 1. The encoder writes bytes; nothing on the way needs a str.
"""

from collections.abc import Iterable
from typing import Any, Self

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, ulaw_from_base64


class ConnectedEvent(msgspec.Struct, frozen=True, tag_field="event", tag="connected"):
    """The greeting that some old clients wait for; the documented platform sends it itself."""


class Media(msgspec.Struct, frozen=True, gc=False):
    """The inner object of `media`. The payload is mu-law of n x 160 bytes; `chunk` counts our media events from 1."""

    payload: bytes
    chunk: int


class MediaEvent(msgspec.Struct, frozen=True, tag_field="event", tag="media", rename="camel", gc=False):
    """Audio to be played to the caller after what was sent before."""

    stream_sid: str
    media: Media


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The inner object of `mark`: a short ASCII name, unique among those not yet echoed."""

    name: str


class MarkEvent(msgspec.Struct, frozen=True, tag_field="event", tag="mark", rename="camel", gc=False):
    """A point in the audio that the platform echoes when it has played up to it."""

    stream_sid: str
    mark: Mark


class ClearEvent(msgspec.Struct, frozen=True, tag_field="event", tag="clear", rename="camel", gc=False):
    """Empties the platform's buffer: the caller hears nothing more of what was sent."""

    stream_sid: str


class EndEvent(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """Hangs up, by an event that the platform does not document (protocol.md, section 5)."""

    stream_sid: str = msgspec.field(name="streamSid")
    call_sid: str


OutgoingEvent = ConnectedEvent | MediaEvent | MarkEvent | ClearEvent | EndEvent

_encoder = msgspec.json.Encoder()


def encode_outgoing_event(event: OutgoingEvent) -> bytes:
    """Return the message for one event: JSON, the payload as base64."""
    return _encoder.encode(event)


class EventBuilder:
    """Builds one outgoing event, member by member.

    `EventBuilder().type("media").sid(sid).sequence(1).payload(payload=ulaw).build()`. Members that a type does not have
    are refused by `build`, so that a mistake shows where it is made.
    """

    def __init__(self) -> None:
        self._type: str | None = None
        self._members: dict[str, Any] = {}

    def type(self, name: str) -> Self:
        """Choose the event: connected, media, mark, clear or end."""
        self._type = name
        return self

    def sid(self, stream_sid: str) -> Self:
        """Name the stream."""
        return self._set("stream_sid", stream_sid)

    def call_sid(self, call_sid: str) -> Self:
        """Name the call (for end)."""
        return self._set("call_sid", call_sid)

    def sequence(self, chunk: int) -> Self:
        """Number a media event: 1 for the stream's first, and one more for each that follows."""
        return self._set("chunk", chunk)

    def payload(self, payload: bytes | str) -> Self:
        """Give a media event its audio: mu-law bytes, or the base64 of them. A multiple of 160 bytes, at least 160.

        Raises:
            ProtocolError: a str that is not strict base64.
            ValueError: a length that the platform would play with gaps.
        """
        ulaw = ulaw_from_base64(payload) if isinstance(payload, str) else payload
        if not ulaw or len(ulaw) % FRAME_BYTES:
            msg = f"a payload is a multiple of {FRAME_BYTES} bytes of mu-law and not empty; this one has {len(ulaw)}"
            raise ValueError(msg)
        return self._set("payload", ulaw)

    def name(self, name: str) -> Self:
        """Name a mark."""
        return self._set("name", name)

    def build(self) -> OutgoingEvent:
        """Return the event; `encode_outgoing_event` makes its message.

        Raises:
            ValueError: no or an unknown type; a member missing, or one that the type does not have.
        """
        members = _MEMBERS.get(self._type or "")
        if members is None:
            msg = f"the type of an event is one of {', '.join(_MEMBERS)}; not {self._type!r}"
            raise ValueError(msg)
        if self._members.keys() != members:
            msg = f"{self._type} takes {_in_words(members)}; given: {_in_words(self._members)}"
            raise ValueError(msg)
        return _build(self._type or "", self._members)

    def _set(self, member: str, value: object) -> Self:
        self._members[member] = value
        return self


_MEMBERS: dict[str, set[str]] = {
    "connected": set(),
    "media": {"stream_sid", "chunk", "payload"},
    "mark": {"stream_sid", "name"},
    "clear": {"stream_sid"},
    "end": {"stream_sid", "call_sid"},
}


def _in_words(members: Iterable[str]) -> str:
    """Name members as the builder's methods are called."""
    methods = {"stream_sid": "sid", "chunk": "sequence"}
    return ", ".join(sorted(methods.get(member, member) for member in members)) or "nothing"


def _build(kind: str, members: dict[str, Any]) -> OutgoingEvent:
    match kind:
        case "connected":
            return ConnectedEvent()
        case "media":
            return MediaEvent(members["stream_sid"], Media(members["payload"], members["chunk"]))
        case "mark":
            return MarkEvent(members["stream_sid"], Mark(members["name"]))
        case "clear":
            return ClearEvent(members["stream_sid"])
        case _:
            return EndEvent(members["stream_sid"], members["call_sid"])
