"""Finding all that is kept of one caller: captures and recordings of calls from or to a number, and the pages drawn of them.

Reads the beginnings of files, and deletes nothing itself.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from smartflo_bridge.captures.format import COMPRESSED, SUFFIX, CaptureError, read_capture
from smartflo_bridge.captures.retention import CAPTURES
from smartflo_bridge.captures.wav import numbers_in
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import StartEvent, parse_incoming_event

NATIONAL_DIGITS = 10
"""A number in India, without its country's code and the 0 before it."""

MAX_RECORDS = 500
"""In which a `start` is looked for: it comes with the first messages, and a capture that waits for it is bounded anyway."""


def is_same_number(one: str, other: str) -> bool:
    """True if two spellings are of one number: `+91 98000 00001`, `919800000001`, `09800000001` and `9800000001` are."""
    digits, others = (re.sub(r"\D", "", text).lstrip("0") for text in (one, other))
    if min(len(digits), len(others)) >= NATIONAL_DIGITS:
        return digits.endswith(others) or others.endswith(digits)
    return bool(digits) and digits == others


def files_about(number: str, directory: Path) -> Iterator[Path]:
    """Yield the files in a directory that are about a number, in the order of their names.

    Raises:
        OSError: the directory or a file in it cannot be read.
    """
    for file in sorted(directory.iterdir()):
        if file.is_symlink() or not file.is_file():
            continue
        if CAPTURES.fullmatch(file.name):
            if any(is_same_number(number, other) for other in numbers_in_capture(file)):
                yield file
                yield from _drawn_of(file)
        elif file.suffix == ".wav" and any(is_same_number(number, other) for other in numbers_in(file)):
            yield file


def numbers_in_capture(file: Path) -> list[str]:
    """Return the numbers of the parties of a captured call; none if it never started, or the file is damaged before that."""
    try:
        for record in islice(read_capture(file)[1], MAX_RECORDS):
            if record.dir == "in" and (text := record.wire) is not None and b"start" in text:
                event = _event_of(text)
                if isinstance(event, StartEvent):
                    return [number for number in (event.from_number, event.to_number) if number]
    except CaptureError:
        pass
    return []


def _event_of(text: bytes) -> object:
    try:
        return parse_incoming_event(text)
    except ProtocolError:
        return None


def _drawn_of(file: Path) -> Iterator[Path]:
    """Yield the pages and pictures that `smartflo-bridge report` has put beside a capture."""
    stem = file.name.removesuffix(COMPRESSED).removesuffix(SUFFIX)
    for suffix in (".html", ".svg"):
        if (drawn := file.with_name(stem + suffix)).is_file():
            yield drawn
