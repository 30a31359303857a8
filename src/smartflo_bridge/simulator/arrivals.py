"""One message of the far end, decoded once: what it says, and what is wrong with its shape. Pure.

More lenient than the bridge's own events: what is only wrong is still played, so that the caller of a faulty bot hears
what its real callers would. The line plays an arrival, the referee judges it.
"""

import re

import msgspec

from smartflo_bridge.core.audio import FRAME_BYTES, ulaw_from_base64
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import DECODE_ERRORS, Counter, Mark
from smartflo_bridge.simulator.rules import Fault

EVENTS = frozenset({"connected", "media", "mark", "clear", "end"})
"""What the far end may say. Protocol, "To the platform"."""

_SHOWN_CHARACTERS = 160
"""Of a message in a violation: two lines of a terminal."""

_PAYLOAD = re.compile(r'("payload"\s*:\s*")([^"]{0,16})([^"]*)')


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it arrived. `event` is None where it could not be read at all."""

    raw: bytes | str
    event: str | None = None
    stream_sid: str | None = None
    ulaw: bytes = b""
    chunk: Counter = None
    mark: str | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def shown(self) -> str:
        """The message, shortened for people: of a payload only its beginning and its length."""
        if isinstance(self.raw, bytes):
            return f"{len(self.raw)} bytes: {self.raw[:32]!r}{'...' if len(self.raw) > 32 else ''}"
        text = _PAYLOAD.sub(_short_payload, self.raw)
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


class _Media(msgspec.Struct, gc=False):
    payload: str
    chunk: Counter = None


class _Message(msgspec.Struct, rename="camel", gc=False):
    event: str
    stream_sid: str | None = None
    media: _Media | None = None
    mark: Mark | None = None


_decoder = msgspec.json.Decoder(_Message)


def parse_arrival(message: bytes | str) -> Arrival:
    """Decode a text message of the far end (as text, or the bytes of it)."""
    text = message.decode(errors="replace") if isinstance(message, bytes) else message
    try:
        decoded = _decoder.decode(message)
    except DECODE_ERRORS:
        return Arrival(raw=text, faults=(Fault.MALFORMED_MESSAGE,))
    match decoded:
        case _Message(event="media", media=_Media() as media):
            return _media(text, decoded.stream_sid, media)
        case _Message(event="mark", mark=Mark(name=name)):
            return Arrival(raw=text, event="mark", stream_sid=decoded.stream_sid, mark=name)
        case _Message(event="media" | "mark"):
            faults: tuple[Fault, ...] = (Fault.MALFORMED_MESSAGE,)
        case _:
            faults = () if decoded.event in EVENTS else (Fault.UNKNOWN_EVENT,)
    return Arrival(raw=text, event=decoded.event, stream_sid=decoded.stream_sid, faults=faults)


def arrival_of(message: str | bytes) -> Arrival:
    """Decode a message as a WebSocket library hands it over: text as str, binary as bytes."""
    return parse_arrival(message) if isinstance(message, str) else binary_arrival(message)


def binary_arrival(message: bytes) -> Arrival:
    """Take a binary message: the protocol has none, whatever is inside."""
    return Arrival(raw=message, faults=(Fault.BINARY_MESSAGE,))


def _media(text: str, stream_sid: str | None, media: _Media) -> Arrival:
    faults: tuple[Fault, ...] = (Fault.NOT_BASE64,)
    try:
        ulaw = ulaw_from_base64(media.payload)
    except ProtocolError:
        ulaw = b""
    else:
        faults = _wrong_with_length(len(ulaw))
    return Arrival(raw=text, event="media", stream_sid=stream_sid, ulaw=ulaw, chunk=media.chunk, faults=faults)


def _wrong_with_length(byte_count: int) -> tuple[Fault, ...]:
    if byte_count == 0:
        return (Fault.EMPTY_PAYLOAD,)
    return (Fault.MISALIGNED_PAYLOAD,) if byte_count % FRAME_BYTES else ()


def _short_payload(found: re.Match[str]) -> str:
    start, shown, rest = found.groups()
    return f"{start}{shown}...({len(shown) + len(rest)} characters)" if rest else found[0]
