"""The format of a capture: JSON lines, one for the header, one for each thing that happened, one for the end.

    {"capture":1,"software":"0.1.0","began":"2026-11-24T06:00:00Z","settings":{...}}
    {"t":1207000,"dir":"in","message":{"event":"connected"}}
    {"t":310000000,"dir":"do","command":{"type":"play","ulaw":"...","epoch":0}}
    {"t":310000000,"dir":"out","message":{"event":"media",...}}
    {"t":500000000,"dir":"do","signal":{"type":"tick"}}
    {"t":9000000000,"dir":"end","termination":"completed","ledger":{...}}

`t` is in ns since the connection was accepted: the very times that the session was given. A message stands as it was,
byte for byte; one that is not a JSON object on a single line stands as a string under `text`, or as base64 under `bytes`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.errors import BridgeError
from smartflo_bridge.core.incoming import DECODE_ERRORS
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Signal

FORMAT_VERSION = 1

NO_MESSAGE = msgspec.Raw(b"")


class CaptureError(BridgeError):
    """A file is no capture, or one of a version that this software does not read."""


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    capture: int
    software: str
    began: str
    settings: SessionSettings


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line after the first. Exactly one of the members behind `dir` is there, as its value demands."""

    t: int
    dir: str
    message: msgspec.Raw = NO_MESSAGE  # msgspec has no union of Raw and None
    text: str | None = None
    octets: bytes | None = msgspec.field(default=None, name="bytes")
    command: Command | None = None
    signal: Signal | None = None
    termination: str | None = None
    ledger: dict[str, Any] | None = None

    @property
    def wire(self) -> bytes | None:
        """The message as it was on the wire; None for a line that holds none."""
        if raw := bytes(memoryview(self.message)):
            return raw
        return self.text.encode() if self.text is not None else self.octets


_encoder = msgspec.json.Encoder()
_headers = msgspec.json.Decoder(Header)
_records = msgspec.json.Decoder(Record)


def encode_line(value: Header | Record) -> bytes:
    """Return a line with its end."""
    return _encoder.encode(value) + b"\n"


def message_record(at_ns: int, direction: str, text: bytes) -> Record:
    """Return the line for a message on the wire."""
    if b"\n" not in text and b"\r" not in text:
        try:
            if isinstance(msgspec.json.decode(text), dict):
                return Record(at_ns, direction, message=msgspec.Raw(text))
        except DECODE_ERRORS:
            pass
    try:
        return Record(at_ns, direction, text=text.decode())
    except UnicodeDecodeError:
        return Record(at_ns, direction, octets=text)


def read_capture(file: Path) -> tuple[Header, Iterator[Record]]:
    """Open a capture; a file that was cut is read up to the cut.

    Raises:
        CaptureError: it cannot be read, or its first line is no header of this format.
    """
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise CaptureError(msg) from None
    try:
        header = _headers.decode(lines[0])
    except DECODE_ERRORS:
        msg = f"{file}: not a capture: its first line is no header"
        raise CaptureError(msg) from None
    if header.capture != FORMAT_VERSION:
        msg = f"{file}: a capture of format {header.capture}; this software reads format {FORMAT_VERSION}"
        raise CaptureError(msg)
    return header, _records_of(lines[1:])


def _records_of(lines: list[bytes]) -> Iterator[Record]:
    for line in lines:
        try:
            yield _records.decode(line)
        except DECODE_ERRORS:
            return
