"""The file of one call: named and opened when its stream is known, bounded in size, readable up to the last flush.

Only the writer's thread calls it, so nothing here waits for a disk on the main loop.
"""

import logging
import os
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from smartflo_bridge.captures.format import (
    COMPRESSED,
    FORMAT_VERSION,
    SUFFIX,
    Header,
    Record,
    cut_record,
    encode_line,
)
from smartflo_bridge.core.incoming import DECODE_ERRORS
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.log import line
from smartflo_bridge.version import __version__

MAX_BEFORE_START_BYTES = 64 * 1024
"""Kept of a connection whose stream has not started, because its file is named after the stream; beyond, it gets none.
The platform says 1 kB before and with its `start`."""

COMPRESSION_LEVEL = 1
"""Base64 of speech hardly compresses: of a captured call level 1 leaves 53 %, level 9 leaves 51 % in twice the time. A
flush after each line, so that nothing is lost when the bridge is killed, costs 2 % of the size."""

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A file to be written from its beginning."""

    def write(self, data: bytes, /) -> int:
        """Write; return how many bytes the file has grown by, as far as it is known yet."""
        ...

    def flush(self) -> None:
        """Hand to the operating system what has been written."""
        ...

    def close(self) -> None:
        """Flush, and be done."""
        ...


class GzipStream:
    """Compresses; what is flushed can be read, though the file be cut right behind it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._deflater = zlib.compressobj(COMPRESSION_LEVEL, wbits=31)

    def write(self, data: bytes, /) -> int:
        """Write; the size is known only when the compressor lets go of it."""
        return self._file.write(self._deflater.compress(data))

    def flush(self) -> None:
        """Hand to the operating system what has been written."""
        self._file.write(self._deflater.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()

    def close(self) -> None:
        """End the stream, and the file."""
        try:
            self._file.write(self._deflater.flush())
        finally:
            self._file.close()


def create(path: Path) -> Stream:
    """Make a new file that only its owner may read; it is compressed if its name says so.

    Raises:
        OSError: it is there already, or cannot be made.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "wb")
    return GzipStream(file) if path.name.endswith(COMPRESSED) else file


class CaptureFile:
    """One call's file.

    Args:
        directory: where it will be.
        settings: the session's, for the header.
        max_bytes: of the file; once it is longer, a last line says so.
        compresses: whether it is compressed.

    Attributes:
        is_closed: nothing more will come of it.
        is_over: nothing more is written. The main loop may set it too, and then has a cut written as the last line.
    """

    def __init__(self, directory: Path, settings: SessionSettings, *, max_bytes: int, compresses: bool) -> None:
        self._directory = directory
        self._began = datetime.now(UTC)
        self._suffix = SUFFIX + COMPRESSED * compresses
        self._max_bytes = max_bytes
        self._size = 0
        self._waiting = [
            encode_line(Header(FORMAT_VERSION, __version__, f"{self._began:%Y-%m-%dT%H:%M:%SZ}", settings))
        ]
        self._stream: Stream | None = None
        self.is_closed = False
        self.is_over = False

    def write(self, record: Record) -> None:
        """Write a line; open the file at the first that names the stream."""
        if self.is_closed:
            return
        try:
            self._write(record)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Hand what is written to the operating system."""
        if self._stream is None or self.is_closed:
            return
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Leave the file as it is: the bridge ends before the call."""
        if self.is_closed:
            return
        try:
            self._close()
        except OSError as error:
            self._give_up(error)

    def _write(self, record: Record) -> None:
        if self._stream is not None and self._size > self._max_bytes and record.dir != "end":
            record = cut_record(record.t, "capture-max-megabytes")
        self._append(record)
        if record.dir == "cut":
            _log.warning(line("capture cut short", reason=record.reason))
        if record.dir in ("cut", "end"):
            self._close()

    def _append(self, record: Record) -> None:
        written = encode_line(record)
        if self._stream is not None:
            self._size += self._stream.write(written)
            return
        self._waiting.append(written)
        self._size += len(written)
        stream_sid = stream_sid_of(record)
        if stream_sid is not None:
            self._open(stream_sid)
        elif self._size > MAX_BEFORE_START_BYTES:
            _log.warning(line("no capture of a connection", reason="it says too much before its start"))
            self._close()

    def _open(self, name: str) -> None:
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64]
        path = self._directory / f"{self._began:%Y%m%dT%H%M%S}-{safe}-{os.urandom(2).hex()}{self._suffix}"
        self._stream = create(path)
        self._size = self._stream.write(b"".join(self._waiting))
        self._waiting.clear()

    def _close(self) -> None:
        self.is_over = self.is_closed = True
        self._waiting.clear()
        if self._stream is not None:
            self._stream.close()

    def _give_up(self, error: OSError) -> None:
        _log.warning(line("capture cut short", reason=error.strerror or str(error)))
        try:
            self._close()
        except OSError:
            _log.debug("the rest of a capture could not be written")


class _Start(msgspec.Struct, rename="camel"):
    event: str
    stream_sid: str | None = None
    start: dict[str, object] | None = None


def stream_sid_of(record: Record) -> str | None:
    """Return the stream that a `start` names; None for any other line."""
    text = record.wire if record.dir == "in" else None
    if text is None:
        return None
    try:
        start = msgspec.json.decode(text, type=_Start)
    except DECODE_ERRORS:
        return None
    return (
        str(start.stream_sid or (start.start or {}).get("streamSid") or "unnamed") if start.event == "start" else None
    )
