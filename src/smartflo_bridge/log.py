"""Logging: its set-up, the form of a line, and the line that ends a call.

A line is a few words and then `name=value` pairs. INFO says: start, listening, call started, call ended, draining,
stopped. Phone numbers, digits, tokens and audio are never in a line; ids are, and made harmless first, because they come
from outside.
"""

import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from smartflo_bridge.core.audio import FRAME_BYTES
from smartflo_bridge.core.session import Session

MAX_WAITING_LINES = 10_000
"""Lines kept while nobody takes them: of a thousand calls and more."""

LAST_WORDS_SECONDS = 1.0
"""How long the end of the process waits for them to be taken."""

LEVELS = ("debug", "info", "warning", "error")

_PLAIN = re.compile(r"[A-Za-z0-9._:/+@,*-]+")


class PatientHandler(logging.Handler):
    """Writes lines to a stream from a thread of its own, so that a log which nobody reads cannot stop the daemon.

    What does not fit any more is lost, and how much it was is said when the stream is taken up again.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Wait until all lines are taken, but not long."""
        give_up_at = time.monotonic() + LAST_WORDS_SECONDS
        while self._lines.unfinished_tasks and self._thread.is_alive() and time.monotonic() < give_up_at:
            time.sleep(0.001)

    def close(self) -> None:
        """Write what is left, and end the thread; one that nobody reads is left alone."""
        self.flush()
        if not self._lines.unfinished_tasks:
            self._lines.put_nowait(None)
            self._thread.join(LAST_WORDS_SECONDS)
        super().close()

    def _write(self) -> None:
        while (text := self._lines.get()) is not None:
            lost, self._lost = self._lost, 0
            with suppress(OSError, ValueError, AttributeError):  # full, closed, or not there at all
                self._stream.write(f"{text}\n")  # type: ignore[union-attr]
                if lost:
                    self._stream.write(f"{line('WARNING the log was full', lines_lost=lost)}\n")  # type: ignore[union-attr]
                self._stream.flush()  # type: ignore[union-attr]
            self._lines.task_done()


def set_up_logging(level: str) -> None:
    """Log to standard error. Under journald, which stamps the time itself, lines carry none."""
    stamp = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    handler = PatientHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{stamp}%(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The library logs two lines for each probe at INFO, and tokens and messages at DEBUG: ours say what is to be said.
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def line(words: str, **pairs: object) -> str:
    """Return one log line. Values of None are left out."""
    return " ".join([words, *(f"{name}={_value(value)}" for name, value in pairs.items() if value is not None)])


def end_of_call(session: Session, seconds: float) -> str:
    """Return the one line that sums a call up: enough to see what went wrong, from the log alone."""
    ledger = session.ledger
    return line(
        "call ended",
        stream_sid=session.stream_sid,
        call_sid=session.call_sid,
        termination=session.termination,
        seconds=round(seconds, 1),
        frames_in=ledger.received_bytes // FRAME_BYTES,
        frames_out=ledger.sent_bytes // FRAME_BYTES,
        dropped_in=_frames(ledger.inbound_drops),
        dropped_out=_frames(ledger.outbound_drops),
        marks=counts(ledger.marks),
        worst_lateness_ms=round(ledger.worst_lateness_seconds * 1000, 1),
        gaps=ledger.gaps or None,
        turns=ledger.turn_count or None,
        turn_p50_ms=_ms(ledger.turn_seconds(50)),
        turn_p95_ms=_ms(ledger.turn_seconds(95)),
        anomalies=counts(ledger.anomalies),
        balanced=None if ledger.balanced else "no",  # a mistake of ours, which every test of a daemon fails for
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _frames(drops: Mapping[str, int]) -> str | None:
    """Return drops in frames, rounded up, so that a single lost byte shows."""
    return counts({reason: -(-count // FRAME_BYTES) for reason, count in drops.items()})


def counts(numbers: Mapping[str, int]) -> str | None:
    """Return what is counted by name as one value, `a:1,b:2`; None if it is nothing."""
    return ",".join(f"{name}:{count}" for name, count in sorted(numbers.items())) or None


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
