"""Logging: its set-up, the form of a line, and the line that ends a call.

A line is a few words and then `name=value` pairs. INFO says: start, listening, call started, call ended, draining,
stopped. Phone numbers, digits, tokens and audio are never in a line; ids are, and made harmless first, because they come
from outside.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping

from smartflo_bridge.core.audio import FRAME_BYTES
from smartflo_bridge.core.session import Session

LEVELS = ("debug", "info", "warning", "error")

_PLAIN = re.compile(r"[A-Za-z0-9._:/+@,*-]+")


def set_up_logging(level: str) -> None:
    """Log to standard error. Under journald, which stamps the time itself, lines carry none."""
    stamp = "" if os.environ.get("JOURNAL_STREAM") else "%(asctime)s "
    handler = logging.StreamHandler(sys.stderr)
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
        marks=_counts(ledger.marks),
        worst_lateness_ms=round(ledger.worst_lateness_seconds * 1000, 1),
        gaps=ledger.gaps or None,
        turns=ledger.turn_count or None,
        turn_p50_ms=_ms(ledger.turn_seconds(50)),
        turn_p95_ms=_ms(ledger.turn_seconds(95)),
        anomalies=_counts(ledger.anomalies),
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _frames(drops: Mapping[str, int]) -> str | None:
    """Return drops in frames, rounded up, so that a single lost byte shows."""
    return _counts({reason: -(-count // FRAME_BYTES) for reason, count in drops.items()})


def _counts(counts: Mapping[str, int]) -> str | None:
    return ",".join(f"{name}:{count}" for name, count in sorted(counts.items())) or None


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
