"""What the platform says, as messages: numbered as it numbers them, counters as strings as in its examples.

Shapes are those of protocol.md, section 1. Pure; the caller calls it, once a message, in the order of sending.
"""

import msgspec

from smartflo_bridge.core.incoming import (
    DTMF,
    ConnectedEvent,
    DTMFEvent,
    Mark,
    MarkEvent,
    Media,
    MediaEvent,
    MediaFormat,
    StartDetails,
    StartEvent,
    StopDetails,
    StopEvent,
)
from smartflo_bridge.simulator.plan import CallPlan

_encoder = msgspec.json.Encoder()

_MEDIA_FORMAT = MediaFormat(encoding="audio/x-mulaw", sample_rate=8000, bit_rate=64, bit_depth=8)


class CallIds(msgspec.Struct, frozen=True):
    """The platform's names for one call."""

    stream_sid: str
    call_sid: str
    account_sid: str


class Messages:
    """Makes the messages of one stream. `sequenceNumber` counts all kinds from 1 at `start`, `chunk` the media from 1."""

    def __init__(self, ids: CallIds) -> None:
        self._ids = ids
        self._sequence = 0
        self._chunks = 0

    def connected(self) -> bytes:
        """Return the first message of a connection."""
        return _encoder.encode(ConnectedEvent())

    def start(self, plan: CallPlan) -> bytes:
        """Return the message that begins the stream."""
        details = StartDetails(
            account_sid=self._ids.account_sid,
            stream_sid=self._ids.stream_sid,
            call_sid=self._ids.call_sid,
            from_number=plan.from_number,
            to_number=plan.to_number,
            direction=plan.direction,
            media_format=_MEDIA_FORMAT,
            custom_parameters=plan.custom_parameters,
        )
        return _encoder.encode(
            StartEvent(sequence_number=self._next(), stream_sid=self._ids.stream_sid, start=details),
        )

    def media(self, ulaw: bytes, timestamp_ms: int) -> bytes:
        """Return one chunk of the caller's audio."""
        self._chunks += 1
        media = Media(payload=ulaw, chunk=str(self._chunks), timestamp=str(timestamp_ms))
        return _encoder.encode(MediaEvent(sequence_number=self._next(), stream_sid=self._ids.stream_sid, media=media))

    def dtmf(self, digit: str) -> bytes:
        """Return one key press."""
        return _encoder.encode(
            DTMFEvent(sequence_number=self._next(), stream_sid=self._ids.stream_sid, dtmf=DTMF(digit)),
        )

    def mark(self, name: str) -> bytes:
        """Return the echo of a mark."""
        return _encoder.encode(
            MarkEvent(sequence_number=self._next(), stream_sid=self._ids.stream_sid, mark=Mark(name)),
        )

    def stop(self, reason: str) -> bytes:
        """Return the message that ends the stream."""
        details = StopDetails(account_sid=self._ids.account_sid, call_sid=self._ids.call_sid, reason=reason)
        return _encoder.encode(
            StopEvent(sequence_number=self._next(), stream_sid=self._ids.stream_sid, stop=details),
        )

    def _next(self) -> str:
        self._sequence += 1
        return str(self._sequence)
