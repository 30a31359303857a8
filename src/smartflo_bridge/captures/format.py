"""The format of a capture: JSON lines, one for the header, one for each thing that happened, one for the end.

    {"capture":1,"software":"0.1.0","began":"2026-11-24T06:00:00Z","settings":{...}}
    {"t":1207000,"dir":"in","message":{"event":"connected"}}
    {"t":310000000,"dir":"do","command":{"type":"play","ulaw":"...","epoch":0}}
    {"t":310000000,"dir":"out","message":{"event":"media",...}}
    {"t":500000000,"dir":"do","signal":{"type":"tick"}}
    {"t":9000000000,"dir":"end","termination":"completed","code":1000,"reason":"","ledger":{...}}

`t` is in ns since the connection was accepted: the very times that the session was given. A message stands as it was,
byte for byte; one that is not a JSON object on a single line stands as a string under `text`, or as base64 under `bytes`.
A capture that met a limit ends with `{"t":...,"dir":"cut","reason":"..."}`, one whose bridge was killed just ends.
"""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.errors import BridgeError
from smartflo_bridge.core.incoming import DECODE_ERRORS
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Signal

FORMAT_VERSION = 1

SUFFIX = ".capture.jsonl"
COMPRESSED = ".gz"
"""A file whose name ends so is compressed, for whoever writes and whoever reads it."""

NO_MESSAGE = msgspec.Raw(b"")

MAX_BRACKETS = 200
"""A message that nests more stands as text, so that no reader has to nest as deep. The platform's `start` has five."""

_CHUNK_BYTES = 64 * 1024


class CaptureError(BridgeError):
    """A file is no capture, or one that this software cannot read."""


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line. `began` is in UTC; an anonymised capture keeps the day of it."""

    capture: int
    software: str
    began: str
    settings: SessionSettings
    anonymised: bool = False


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line after the first. Which of the members behind `dir` are there depends on its value."""

    t: int
    dir: str
    message: msgspec.Raw = NO_MESSAGE  # msgspec has no union of Raw and None
    text: str | None = None
    octets: bytes | None = msgspec.field(default=None, name="bytes")
    command: Command | None = None
    signal: Signal | None = None
    termination: str | None = None
    code: int | None = None
    reason: str | None = None
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
    if _stands_as_it_is(text):
        return Record(at_ns, direction, message=msgspec.Raw(text))
    try:
        return Record(at_ns, direction, text=text.decode())
    except UnicodeDecodeError:
        return Record(at_ns, direction, octets=text)


def given_record(at_ns: int, given: Command | Signal) -> Record:
    """Return the line for what the session was given beside messages."""
    if isinstance(given, Command):
        return Record(at_ns, "do", command=given)
    return Record(at_ns, "do", signal=given)


def end_record(at_ns: int, session: Session) -> Record:
    """Return the last line: how the call ended, with the close code that we said, and its accounts."""
    close, ledger = session.close, msgspec.to_builtins(session.ledger)
    if close is None:
        return Record(at_ns, "end", ledger=ledger)
    return Record(at_ns, "end", termination=str(close.termination), code=close.code, reason=close.reason, ledger=ledger)


def cut_record(at_ns: int, reason: str) -> Record:
    """Return the last line of a capture that is not complete."""
    return Record(at_ns, "cut", reason=reason)


def _stands_as_it_is(text: bytes) -> bool:
    """Return whether a line can hold the message as it is, and give it back byte for byte."""
    if not (text.startswith(b"{") and text.endswith(b"}")) or b"\n" in text or b"\r" in text:
        return False
    if text.count(b"{") + text.count(b"[") > MAX_BRACKETS:
        return False
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except DECODE_ERRORS:
        return False


def read_capture(file: Path) -> tuple[Header, Iterator[Record]]:
    """Open a capture, compressed if its name says so; a file that was cut is read up to the cut.

    Raises:
        CaptureError: it cannot be read, or its first line is no header of this format. While the records are read: a
            whole line is none.
    """
    lines = _lines(file)
    try:
        header = _headers.decode(next(lines, b""))
    except DECODE_ERRORS:
        msg = f"{file}: not a capture: its first line is no header"
        raise CaptureError(msg) from None
    if header.capture != FORMAT_VERSION:
        msg = f"{file}: a capture of format {header.capture}; this software reads format {FORMAT_VERSION}"
        raise CaptureError(msg)
    return header, _records_of(file, lines)


def _records_of(file: Path, lines: Iterator[bytes]) -> Iterator[Record]:
    for number, line in enumerate(lines, 2):
        try:
            yield _records.decode(line)
        except DECODE_ERRORS:
            if not line.endswith(b"\n"):
                return  # the cut
            msg = f"{file}: line {number} is damaged, or of a later version"
            raise CaptureError(msg) from None


def _lines(file: Path) -> Iterator[bytes]:
    """Yield lines with their ends; the last one lacks its end if the file was cut."""
    rest = b""
    try:
        for chunk in _chunks(file):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line + b"\n" for line in whole)
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise CaptureError(msg) from None
    if rest:
        yield rest


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        chunks = iter(lambda: stream.read(_CHUNK_BYTES), b"")
        yield from _inflated(chunks) if file.name.endswith(COMPRESSED) else chunks


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress up to the cut, which may have rubbish behind it."""
    inflater = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        before = inflater.copy()
        try:
            yield inflater.decompress(chunk)
        except zlib.error:
            with suppress(zlib.error):
                for at in range(len(chunk)):
                    yield before.decompress(chunk[at : at + 1])
            return
