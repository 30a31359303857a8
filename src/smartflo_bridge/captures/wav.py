"""The WAV file of a recording: one at every moment, and with a note in it of whose voices it holds.

The note is a LIST chunk before the audio, which players pass over; without it nobody could find a caller's recordings again
to delete them.
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from smartflo_bridge.core.audio import SAMPLE_RATE_HZ

_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = _CHUNK.pack(b"fmt ", 16) + struct.pack("<HHIIHH", 1, 2, SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ, 4, 16)

MAX_NOTE_BYTES = 4096
"""What is read of a file to find its note: ours has two numbers of at most 128 bytes."""


class WavFile:
    """A WAV file that is one at every moment: the audio first, then the header that knows of it.

    Args:
        path: of a file that does not exist yet; it is made readable for us alone.
        numbers: of the two parties of the call.

    Raises:
        OSError: the disk refuses. So do the methods.
    """

    def __init__(self, path: Path, numbers: Iterable[str | None]) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._front = _FORMAT + _note([number for number in numbers if number])
        self._size = 0

    def append(self, pcm: bytes) -> None:
        """Add PCM16, two channels."""
        begins = _RIFF.size + len(self._front) + _CHUNK.size
        written = 0
        while written < len(pcm):
            written += os.pwrite(self._descriptor, pcm[written:], begins + self._size + written)
        self._size += written
        riff = _RIFF.pack(b"RIFF", begins - 8 + self._size, b"WAVE")
        os.pwrite(self._descriptor, riff + self._front + _CHUNK.pack(b"data", self._size), 0)

    def close(self) -> None:
        """Let go of the file; one that holds no audio is removed."""
        os.close(self._descriptor)
        if not self._size:
            self._path.unlink(missing_ok=True)


def numbers_in(path: Path) -> list[str]:
    """Return the numbers in a file's note; none if it has none, or is no WAV file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(MAX_NOTE_BYTES)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return []
    at = _RIFF.size
    while at + _CHUNK.size <= len(head):
        name, size = _CHUNK.unpack_from(head, at)
        at += _CHUNK.size
        if name == b"LIST" and head[at : at + 8] == b"INFOICMT":
            return head[at + 12 : at + size].rstrip(b"\0").decode(errors="replace").split("\n")
        at += size + size % 2
    return []


def _note(numbers: list[str]) -> bytes:
    """Return the chunk that holds numbers, a line each: RIFF's INFO list with a comment."""
    if not numbers:
        return b""
    text = "\n".join(number.replace("\n", " ")[:128] for number in numbers).encode(errors="replace") + b"\0"
    text += b"\0" * (len(text) % 2)
    return _CHUNK.pack(b"LIST", 12 + len(text)) + b"INFO" + _CHUNK.pack(b"ICMT", len(text)) + text
