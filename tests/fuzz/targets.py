"""The fuzz targets by name, and what each of their modules has.

`check(data)` lets bytes do something to the subject and raises if anything is wrong; `seeds()` yields bytes to begin with,
`WORDS` are what is worth being put in, and inputs have at most `MAX_BYTES`.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol

NAMES = ["messages", "session", "configuration", "frames", "requests"]


class Target(Protocol):
    """A module in this folder."""

    MAX_BYTES: int
    WORDS: Sequence[str | bytes]

    def seeds(self) -> Iterator[bytes]:
        """Yield inputs to begin with."""
        ...

    def check(self, data: bytes) -> None:
        """Raise if one input finds something."""
        ...


def find(name: str) -> Target:
    """Import a target; importing it imports its subject."""
    return importlib.import_module(f"fuzz.{name}")  # type: ignore[return-value] # a module that has all of it
