"""The protocol's rules, as far as a capture shows them kept or broken: what the picture of a call warns of.

A fold beside `transcript`, message by message. A `Finding` names who broke the rule, and its place in docs/protocol.md. It
is also the form in which another judge's list, such as the simulator's referee's, comes into a report: see `cli.report`.
"""

from enum import StrEnum

import msgspec

from smartflo_bridge.core import incoming, outgoing
from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES

CROSSING_NS = 250_000_000
"""What we send so soon after a `stop` may have crossed it on the wire, as in `simulator.line`."""

MAX_FINDINGS = 1000
"""More of one call help nobody, and would make its page large."""


class Culprit(StrEnum):
    """Who broke a rule."""

    US = "us"
    PLATFORM = "platform"


class Finding(msgspec.Struct, frozen=True):
    """A broken rule: in words, when in seconds since the connection was accepted, and where docs/protocol.md has it.

    `message` is the index of the offending message in what was said; None for one of audio.
    """

    at_seconds: float
    culprit: Culprit
    rule: str
    text: str
    place: str
    message: int | None = None


class Rules:
    """Watches one call. `findings` in the order of the messages; `sequence_gaps` are counted, and no fault."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.sequence_gaps = 0
        self._stream_sid: str | None = None
        self._stopped_ns: int | None = None
        self._last_sequence: int | None = None
        self._last_chunk = 0

    def hear(self, at_ns: int, event: incoming.IncomingEvent, message: int | None = None) -> None:
        """Judge an event of the platform."""
        match event:
            case incoming.UnknownEvent():
                self._blame_platform(at_ns, "unknown_event", "an event of unknown type", "1", message)
                return
            case incoming.ConnectedEvent():
                return
            case incoming.StartEvent():
                self._hear_start(at_ns, event, message)
            case _ if self._stream_sid is None:
                self._blame_platform(at_ns, "before_start", "a message before the start", "2", message)
            case _ if self._stopped_ns is not None:
                self._blame_platform(at_ns, "after_stop", "a message after the stop", "2", message)
            case _ if event.stream_sid not in (None, self._stream_sid):
                self._blame_platform(at_ns, "foreign_stream", "a message for another stream", "2", message)
            case incoming.MediaEvent() if not event.ulaw:
                self._blame_platform(at_ns, "empty_payload", "an empty payload", "3", message)
            case incoming.StopEvent():
                self._stopped_ns = at_ns
            case _:
                pass
        self._note_sequence(event.sequence_number)

    def hear_malformed(self, at_ns: int, reason: str, message: int) -> None:
        """Take note of a message of the platform that cannot be parsed; the reason quotes nothing of it."""
        self._blame_platform(at_ns, "malformed", f"a {reason}", "2", message)

    def hear_unknown_mark(self, at_ns: int, message: int) -> None:
        """Take note of an echo that no mark awaits."""
        self._blame_platform(at_ns, "unknown_mark", "an echo of a mark that was not open", "4", message)

    def say(self, at_ns: int, event: outgoing.OutgoingEvent, *, mark_is_open: bool = False) -> None:
        """Judge an event of ours. `mark_is_open`: it is a mark, and one of that name awaits its echo already."""
        if isinstance(event, outgoing.ConnectedEvent):
            return
        if self._stream_sid is None:
            self._blame_us(at_ns, "sent_before_start", "something before the start", "2")
        elif event.stream_sid != self._stream_sid:
            self._blame_us(at_ns, "unknown_stream_sid", "something for another stream", "1")
        if self._stopped_ns is not None and at_ns - self._stopped_ns > CROSSING_NS:
            self._blame_us(at_ns, "sent_after_stop", "something after the stop", "2")
        if mark_is_open:
            self._blame_us(at_ns, "mark_repeated", "a mark under a name that was still open", "4")
        if isinstance(event, outgoing.MediaEvent):
            self._say_media(at_ns, event.media)

    def say_malformed(self, at_ns: int, message: int) -> None:
        """Take note of a message of ours that is no event."""
        text = "we sent what is no event of ours"
        self._add(Finding(at_ns / 1e9, Culprit.US, "malformed_message", text, "protocol, 1", message))

    def _hear_start(self, at_ns: int, event: incoming.StartEvent, message: int | None) -> None:
        if self._stream_sid is not None:
            if event.sid != self._stream_sid:
                self._blame_platform(at_ns, "second_start", "a start of another stream", "2", message)
            return
        self._stream_sid = event.sid
        if event.sid is None:
            self._blame_platform(at_ns, "no_stream_sid", "a start that names no stream", "2", message)
        if event.sids_differ:
            self._blame_platform(at_ns, "stream_sid_mismatch", "a start that names two streams", "1", message)
        media_format = event.details.media_format
        if media_format is not None and not media_format.is_ulaw_8k:
            text = "a start that announces other audio than mu-law at 8000 Hz"
            self._blame_platform(at_ns, "media_format", text, "3", message)

    def _say_media(self, at_ns: int, media: outgoing.Media) -> None:
        size = len(media.payload)
        if size == 0:
            self._blame_us(at_ns, "empty_payload", "an empty payload", "3")
        elif size % FRAME_BYTES:
            text = f"{size} bytes ({size / BYTES_PER_MS:g} ms); a payload is a multiple of {FRAME_BYTES}"
            self._blame_us(at_ns, "misaligned_payload", text, "3")
        if media.chunk != self._last_chunk + 1:
            text = f"chunk {media.chunk} after chunk {self._last_chunk}"
            self._blame_us(at_ns, "chunk_out_of_order", text, "1")
        self._last_chunk = media.chunk

    def _note_sequence(self, number: int | str | None) -> None:
        sequence = int(number) if isinstance(number, int) or (number is not None and number.isdecimal()) else None
        if sequence is None:
            return
        if self._last_sequence is not None and sequence != self._last_sequence + 1:
            self.sequence_gaps += 1
        self._last_sequence = sequence

    def _blame_us(self, at_ns: int, rule: str, text: str, section: str) -> None:
        self._add(Finding(at_ns / 1e9, Culprit.US, rule, f"we sent {text}", f"protocol, {section}"))

    def _blame_platform(self, at_ns: int, rule: str, text: str, section: str, message: int | None) -> None:
        text = f"the platform sent {text}"
        self._add(Finding(at_ns / 1e9, Culprit.PLATFORM, rule, text, f"protocol, {section}", message))

    def _add(self, finding: Finding) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
