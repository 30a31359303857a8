"""Choices made by bytes: a fuzz target asks for one after the other, and has no end but theirs."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Each choice takes a byte or two; once they are used up, all choices are the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def are_left(self) -> bool:
        """True if there is a byte that has not chosen anything."""
        return self._at < len(self._data)

    def below(self, end: int) -> int:
        """Choose a whole number from 0 up to `end`, which is at most 65536 and not included."""
        width = 1 if end <= 256 else 2
        chosen = int.from_bytes(self._data[self._at : self._at + width])
        self._at += width
        return chosen % end

    def one_of(self, things: Sequence[T]) -> T:
        """Choose a thing."""
        return things[self.below(len(things))]

    def rest(self) -> bytes:
        """Return the bytes that have not chosen anything."""
        rest = self._data[self._at :]
        self._at = len(self._data)
        return rest
