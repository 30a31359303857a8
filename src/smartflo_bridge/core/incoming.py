"""What the platform says: one frozen struct for each of its events, and the parser of a message.

Shapes are protocol.md's, section 1, with all the variants seen: counters as numbers or strings, `streamSid` outside or
inside `start`, several forms of custom parameters. Unknown members are ignored. A handler iterates over these structs.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from smartflo_bridge.core.audio import duration_seconds, ulaw_to_pcm
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.parameters import flatten_parameters

Counter = Annotated[int, Meta(ge=0, le=2**53)] | Annotated[str, Meta(max_length=32)] | None
"""Documented as "Number", shown as a string. The bounds keep a number of thousands of digits out of `int`."""

Opaque = Annotated[str, Meta(max_length=128)] | None
"""An id or a number: never interpreted. Reliability, section 8: `max_id_len`."""


Number = Opaque | Annotated[int, Meta(ge=0, le=2**53)]
"""A telephone number. Shown as a string; a JSON number is no reason to lose a call."""


class _Event(msgspec.Struct, frozen=True, tag_field="event", rename="camel", kw_only=True, omit_defaults=True):
    """What all events but `connected` carry. One without a `streamSid` belongs to the connection's only stream."""

    sequence_number: Counter = None
    stream_sid: Opaque = None


class ConnectedEvent(msgspec.Struct, frozen=True, tag_field="event", tag="connected"):
    """The first message of a connection, where the platform sends it at all."""


class MediaFormat(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the platform says of its audio. Only `audio/x-mulaw` at 8000 Hz has been seen."""

    encoding: Opaque = None
    sample_rate: Counter = None
    bit_rate: Counter = None
    bit_depth: Counter = None

    @property
    def is_ulaw_8k(self) -> bool:
        """True unless it names another encoding or rate than the one this bridge speaks."""
        return self.encoding in (None, "audio/x-mulaw", "audio/pcmu") and self.sample_rate in (None, 8000, "8000")


class StartDetails(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The inner object of `start`."""

    stream_sid: Opaque = None
    account_sid: Opaque = None
    call_sid: Opaque = None
    from_number: Number = field(default=None, name="from")
    to_number: Number = field(default=None, name="to")
    direction: Opaque = None
    media_format: MediaFormat | None = None
    custom_parameters: Any = None


class StartEvent(_Event, frozen=True, tag="start", kw_only=True):
    """A stream begins. The properties say each thing once, wherever the platform put it."""

    start: StartDetails | None = None
    from_outside: Number = field(default=None, name="from")
    to_outside: Number = field(default=None, name="to")

    @property
    def details(self) -> StartDetails:
        """The inner object, empty where the platform left it out."""
        return self.start or StartDetails()

    @property
    def sid(self) -> str | None:
        """The stream's id; the outer place wins, because all later events use it. None: nothing could be answered."""
        return self.stream_sid or self.details.stream_sid or None

    @property
    def sids(self) -> tuple[str | None, ...]:
        """The names under which the stream's messages may come; None is for one that names no stream."""
        return (self.sid, self.details.stream_sid, None)

    @property
    def sids_differ(self) -> bool:
        """True if the two places name different streams."""
        inside = self.details.stream_sid
        return bool(self.stream_sid and inside and self.stream_sid != inside)

    @property
    def call_sid(self) -> str | None:
        """The telephone call's id: what the platform's REST interface wants."""
        return self.details.call_sid

    @property
    def from_number(self) -> str | None:
        """The caller's number. Never log it."""
        return _text(self.details.from_number or self.from_outside)

    @property
    def to_number(self) -> str | None:
        """The number that was called. Never log it."""
        return _text(self.details.to_number or self.to_outside)

    @property
    def direction(self) -> str | None:
        """`inbound`, `outbound`, or None where the platform does not say."""
        return self.details.direction

    @property
    def custom_parameters(self) -> dict[str, str]:
        """The custom parameters, flattened: see `flatten_parameters`. Made anew at each access."""
        return flatten_parameters(self.details.custom_parameters)


class Media(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The inner object of `media`. `timestamp` is ms since the stream's start, `chunk` counts from 1."""

    payload: bytes
    chunk: Counter = None
    timestamp: Counter = None


class MediaEvent(_Event, frozen=True, tag="media", kw_only=True, gc=False):
    """Audio of the caller, of any length."""

    media: Media

    @property
    def ulaw(self) -> bytes:
        """The audio as it came: mu-law, 8000 Hz, mono."""
        return self.media.payload

    @property
    def pcm(self) -> bytes:
        """The audio as PCM16, 8000 Hz, mono. Converted anew at each access."""
        return ulaw_to_pcm(self.media.payload)

    @property
    def seconds(self) -> float:
        """How long the audio plays."""
        return duration_seconds(len(self.media.payload))


class DTMF(msgspec.Struct, frozen=True, gc=False):
    """The inner object of `dtmf`: one digit and nothing else."""

    digit: Annotated[str, Meta(min_length=1, max_length=8)] | Annotated[int, Meta(ge=0, le=9)]


class DTMFEvent(_Event, frozen=True, tag="dtmf", kw_only=True, gc=False):
    """The caller pressed a key. Never log which."""

    dtmf: DTMF

    @property
    def digit(self) -> str:
        """One of 0-9, `*`, `#`, A-D."""
        return str(self.dtmf.digit)


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The inner object of `mark`."""

    name: Annotated[str, Meta(max_length=256)]


class MarkEvent(_Event, frozen=True, tag="mark", kw_only=True, gc=False):
    """The platform has reached a mark of ours."""

    mark: Mark

    @property
    def name(self) -> str:
        """The name under which we sent it."""
        return self.mark.name


class StopDetails(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The inner object of `stop`."""

    account_sid: Opaque = None
    call_sid: Opaque = None
    reason: Annotated[str, Meta(max_length=1024)] | None = None


class StopEvent(_Event, frozen=True, tag="stop", kw_only=True):
    """The stream is over. Not every call sends it: a connection may just die."""

    stop: StopDetails | None = None

    @property
    def reason(self) -> str | None:
        """The platform's free text."""
        return self.stop.reason if self.stop else None


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event that this version does not know. It is counted and ignored; it never ends a call."""

    name: str


KnownEvent = ConnectedEvent | StartEvent | MediaEvent | DTMFEvent | MarkEvent | StopEvent
IncomingEvent = KnownEvent | UnknownEvent

_EVENT_NAMES = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})


MAX_NAME = 128
"""Characters kept of an unknown event's name."""


class _Named(msgspec.Struct):
    event: str


def _text(number: str | int | None) -> str | None:
    return None if number is None else str(number)


_decoder: msgspec.json.Decoder[KnownEvent] = msgspec.json.Decoder(KnownEvent)
_name_decoder = msgspec.json.Decoder(_Named)

# Raised by msgspec beside its own: text that is no UTF-8, and nesting of some ten thousand levels.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


def parse_incoming_event(text: bytes | str) -> IncomingEvent:
    """Parse one message of the platform.

    Raises:
        ProtocolError: it is malformed: not JSON, not an object, a member missing or of the wrong type, bad base64. The
            error's text names the place, not the content.
    """
    try:
        return _decoder.decode(text)
    except DECODE_ERRORS as error:
        return _unknown_or_malformed(text, error)


def _unknown_or_malformed(text: bytes | str, error: Exception) -> UnknownEvent:
    """Tell an unknown event from a malformed known one: msgspec raises the same for both."""
    try:
        name = _name_decoder.decode(text).event
    except DECODE_ERRORS:
        name = None
    if name is None or name in _EVENT_NAMES:
        where = f" in {name}" if name else ""
        msg = f"malformed message{where}: {_without_content(error)}"
        raise ProtocolError(msg) from None
    return UnknownEvent(name[:MAX_NAME])


def _without_content(error: Exception) -> str:
    """Say what was wrong without quoting the message: msgspec puts a bad tag into its text, Python bad bytes."""
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeError():
            return "not UTF-8"
        case _:
            return str(error).split("'", 1)[0].strip()
