"""Writing captures: a tap for each call, and one thread that puts what they saw into files.

The main loop only appends to a queue. The thread encodes, and hands to the operating system whenever the queue is empty,
so that a killed process loses at most what was just said. A disk that is full ends captures, not calls.
"""

import logging
import os
import queue
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from smartflo_bridge.captures.format import FORMAT_VERSION, NO_MESSAGE, Header, Record, encode_line, message_record
from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Signal
from smartflo_bridge.log import line
from smartflo_bridge.version import __version__

MAX_WAITING = 50_000
"""Lines that may wait for the disk, of all calls: 100 calls for some ten seconds. Beyond, captures are cut short."""

MAX_BEFORE_START = 1000
"""Lines kept of a connection whose stream has not started: its file gets its name from the stream."""

_log = logging.getLogger(__name__)


class CaptureWriter:
    """Writes the captures of all calls into one directory.

    Args:
        directory: made if it is not there, readable by us alone.
        settings: the sessions', for the header.

    Raises:
        ConfigError: the directory cannot be made or written to.
    """

    def __init__(self, directory: Path, settings: SessionSettings) -> None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            msg = f"capture-dir: {directory}: {error.strerror}"
            raise ConfigError(msg) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            msg = f"capture-dir: {directory}: not writable"
            raise ConfigError(msg)
        self.directory = directory
        self.settings = settings
        self._queue: queue.SimpleQueue[tuple[_CaptureFile, bytes | None, Record] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="captures", daemon=True)
        self._thread.start()

    def tap(self) -> "CaptureTap":
        """Return a tap for a new call."""
        return CaptureTap(self, _CaptureFile(self.directory, self.settings))

    def put(self, file: "_CaptureFile", record: Record, text: bytes | None = None) -> None:
        """Have a line written; `text` is a message that the thread puts into the record."""
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put((file, text, record))
        else:
            file.is_cut = True

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what waits, within the time-out."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _write(self) -> None:
        dirty: set[_CaptureFile] = set()
        while (job := self._queue.get()) is not None:
            file, text, record = job
            file.write(record if text is None else message_record(record.t, record.dir, text))
            dirty.add(file)
            if self._queue.empty():
                for written in dirty:
                    written.flush()
                dirty.clear()
        for written in dirty:
            written.flush()


class CaptureTap:
    """Shows one call to the writer: see `calls.tap`."""

    def __init__(self, writer: CaptureWriter, file: "_CaptureFile") -> None:
        self._writer = writer
        self._file = file

    def message_in(self, at_ns: int, text: bytes) -> None:
        """Keep a message of the platform."""
        self._writer.put(self._file, Record(at_ns, "in"), text)

    def given(self, at_ns: int, given: Command | Signal) -> None:
        """Keep a command or a signal."""
        if isinstance(given, Command):
            self._writer.put(self._file, Record(at_ns, "do", command=given))
        else:
            self._writer.put(self._file, Record(at_ns, "do", signal=given))

    def message_out(self, at_ns: int, text: bytes) -> None:
        """Keep a message of ours."""
        self._writer.put(self._file, Record(at_ns, "out"), text)

    def ended(self, at_ns: int, session: Session) -> None:
        """Keep how it ended."""
        ledger = msgspec.to_builtins(session.ledger)
        self._writer.put(self._file, Record(at_ns, "end", termination=str(session.termination), ledger=ledger))


class _CaptureFile:
    """One call's file. Only the writer's thread calls it."""

    def __init__(self, directory: Path, settings: SessionSettings) -> None:
        self._directory = directory
        self._began = datetime.now(UTC)
        header = Header(FORMAT_VERSION, __version__, f"{self._began:%Y-%m-%dT%H:%M:%SZ}", settings)
        self._waiting = [encode_line(header)]
        self._file: BinaryIO | None = None
        self._has_failed = False
        self.is_cut = False

    def write(self, record: Record) -> None:
        """Write a line; open the file at the first that names the stream."""
        if self._has_failed:
            return
        if self.is_cut:
            self._fail("the disk is too slow")
            return
        try:
            if self._file is not None:
                self._file.write(encode_line(record))
            elif len(self._waiting) < MAX_BEFORE_START:
                self._waiting.append(encode_line(record))
                self._open_if_started(record)
            if record.dir == "end" and self._file is not None:
                self._file.close()
        except OSError as error:
            self._fail(error.strerror or str(error))

    def flush(self) -> None:
        """Hand what is written to the operating system."""
        if self._file is not None and not self._file.closed:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error.strerror or str(error))

    def _open_if_started(self, record: Record) -> None:
        name = _stream_sid_of(record)
        if name is None:
            return
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64]
        path = self._directory / f"{self._began:%Y%m%dT%H%M%S}-{safe}-{os.urandom(2).hex()}.capture.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._file.writelines(self._waiting)
        self._waiting.clear()

    def _fail(self, reason: str) -> None:
        self._has_failed = True
        self._waiting.clear()
        _log.warning(line("capture cut short", reason=reason))
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                _log.debug("the rest of a capture could not be written")


class _Start(msgspec.Struct, rename="camel"):
    event: str
    stream_sid: str | None = None
    start: dict[str, object] | None = None


def _stream_sid_of(record: Record) -> str | None:
    """Return the stream that a `start` names; None for any other line."""
    if record.dir != "in" or record.message == NO_MESSAGE:
        return None
    try:
        start = msgspec.json.decode(record.message, type=_Start)
    except msgspec.ValidationError:
        return None
    return (
        str(start.stream_sid or (start.start or {}).get("streamSid") or "unnamed") if start.event == "start" else None
    )
