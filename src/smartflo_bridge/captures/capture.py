"""Writing captures: a tap for each call, and one thread that puts what they saw into files.

The main loop only appends to a queue. The thread encodes, and hands to the operating system whenever the queue is empty,
so that a killed process loses at most what was just said. A disk that is full ends captures, not calls. A second thread
deletes what has been kept long enough.
"""

import queue
import threading
from pathlib import Path

from smartflo_bridge.captures.directory import make_private
from smartflo_bridge.captures.file import CaptureFile
from smartflo_bridge.captures.format import Record, cut_record, end_record, given_record, message_record
from smartflo_bridge.captures.retention import CAPTURES, Retention
from smartflo_bridge.core.commands import Command, Play
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Signal

MAX_WAITING_BYTES = 64 << 20
"""What may wait for the disk, of all calls: 100 calls for some ten seconds. Beyond, captures are cut short."""

LINE_BYTES = 500
"""What a waiting line takes beside its message, at most: two objects and a place in the queue."""


class CaptureWriter:
    """Writes the captures of all calls into one directory.

    Args:
        directory: made if it is not there, readable by us alone.
        settings: the sessions', for the header.
        max_megabytes: of one file; a megabyte has a million bytes.
        keep_days: how long after its last line a capture is deleted, at the start and every hour.
        compresses: whether files are compressed.

    Raises:
        ConfigError: the directory cannot be made or written to.
    """

    def __init__(
        self,
        directory: Path,
        settings: SessionSettings,
        *,
        max_megabytes: float = 200.0,
        keep_days: float = 30.0,
        compresses: bool = False,
    ) -> None:
        make_private("capture-dir", directory)
        self.directory = directory
        self.settings = settings
        self._max_bytes = round(max_megabytes * 1e6)
        self._compresses = compresses
        self._queue: queue.SimpleQueue[tuple[CaptureFile, bytes | None, Record, int] | None] = queue.SimpleQueue()
        self._put_bytes = 0  # written by the main loop
        self._written_bytes = 0  # written by the thread
        self._thread = threading.Thread(target=self._write, name="captures", daemon=True)
        self._thread.start()
        self._retention = Retention("captures", directory, CAPTURES, keep_days)

    def tap(self) -> "CaptureTap":
        """Return a tap for a new call."""
        file = CaptureFile(self.directory, self.settings, max_bytes=self._max_bytes, compresses=self._compresses)
        return CaptureTap(self, file)

    def put(self, file: CaptureFile, record: Record, text: bytes | None = None, size: int = 0) -> None:
        """Have a line written; `text` is a message that the thread puts into the record, `size` that of a command."""
        if file.is_over:
            return
        if self._put_bytes - self._written_bytes > MAX_WAITING_BYTES:
            file.is_over = True
            text, record = None, cut_record(record.t, "the disk is too slow")
        size += LINE_BYTES + (len(text) if text else 0)
        self._put_bytes += size
        self._queue.put((file, text, record, size))

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what waits, within the time-out."""
        self._retention.close()
        self._queue.put(None)
        self._thread.join(timeout_seconds)

    def _write(self) -> None:
        opened: set[CaptureFile] = set()
        dirty: set[CaptureFile] = set()
        while (job := self._queue.get()) is not None:
            file, text, record, size = job
            file.write(record if text is None else message_record(record.t, record.dir, text))
            self._written_bytes += size
            dirty.add(file)
            (opened.discard if file.is_closed else opened.add)(file)
            if self._queue.empty():
                for written in dirty:
                    written.flush()
                dirty.clear()
        for left in opened:
            left.close()


class CaptureTap:
    """Shows one call to the writer: see `calls.tap`."""

    def __init__(self, writer: CaptureWriter, file: CaptureFile) -> None:
        self._writer = writer
        self._file = file

    def message_in(self, at_ns: int, text: bytes) -> None:
        """Keep a message of the platform."""
        self._writer.put(self._file, Record(at_ns, "in"), text)

    def given(self, at_ns: int, given: Command | Signal) -> None:
        """Keep a command or a signal."""
        size = len(given.ulaw) if isinstance(given, Play) else 0
        self._writer.put(self._file, given_record(at_ns, given), size=size)

    def message_out(self, at_ns: int, text: bytes) -> None:
        """Keep a message of ours."""
        self._writer.put(self._file, Record(at_ns, "out"), text)

    def ended(self, at_ns: int, session: Session) -> None:
        """Keep how it ended."""
        self._writer.put(self._file, end_record(at_ns, session))
