"""Rewriting values inside a message without touching the rest of it: JSON as text, token by token.

A message of the platform is kept as it was, odd spacing, double members and broken ends included, because that may be
what a capture is about. So what is to be replaced is replaced in place. Pure; what is not JSON is walked through too.
"""

import json
import re
from collections.abc import Callable

import msgspec

Path = tuple[str, ...]
"""The members that lead to a value, from the outside in. An array's values have the array's path."""

Replace = Callable[[Path, str], str]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|$)|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_WORDS = ("true", "false", "null")


def _kept(_: Path, text: str) -> str:
    return text


def rewrite(text: str, *, value: Replace, bare: Replace = _kept, name: Replace = _kept) -> str:
    """Return a message with other values.

    Args:
        text: the message; what was no UTF-8 in it as surrogates.
        value: given the path and the text of each string, returns what is to stand there.
        bare: the same for numbers, and for words that are no JSON; what it returns stands without quotes.
        name: the same for the names of members; their path is that of their object.
    """
    walk = _Walk()
    parts: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        piece = match[0]
        parts.append(text[end : match.start()])
        end = match.end()
        if piece.startswith('"'):
            old = _unquoted(piece)
            said = _inner(piece) if old is None else old
            new = (name if walk.expects_name else value)(walk.path, said)
            quoted = _quoted(new) if old is not None else f'"{new}{piece[1 + len(said) :]}'
            parts.append(piece if new == said else quoted)
            walk.pass_string(said)
        elif piece in "{}[]:,":
            parts.append(piece)
            walk.pass_mark(piece)
        else:
            parts.append(piece if piece in _WORDS else bare(walk.path, piece))
    return "".join([*parts, text[end:]])


class _Walk:
    """Where in a message we are. Each open object or array has the member under way, None where none is.

    Attributes:
        expects_name: the next string is a member's name.
    """

    def __init__(self) -> None:
        self._members: list[str | None] = []
        self._are_objects: list[bool] = []
        self.expects_name = False

    @property
    def path(self) -> Path:
        """The members that lead here."""
        return tuple(member for member in self._members if member is not None)

    def pass_string(self, text: str) -> None:
        """Go on behind a string: a member's name, or a value."""
        if self.expects_name:
            self._members[-1] = text

    def pass_mark(self, mark: str) -> None:
        """Go on behind a bracket, a colon or a comma."""
        if mark in "{[":
            self._members.append(None)
            self._are_objects.append(mark == "{")
        elif mark in "}]" and self._members:
            self._members.pop()
            self._are_objects.pop()
        self.expects_name = mark in "{," and bool(self._are_objects) and self._are_objects[-1]
        if self.expects_name:
            self._members[-1] = None


def _unquoted(piece: str) -> str | None:
    """Return what a string says; None if it is broken."""
    try:
        return str(json.loads(piece, strict=False))
    except ValueError:
        return None


def _inner(piece: str) -> str:
    return piece[1:].removesuffix('"')


def _quoted(text: str) -> str:
    """Write a string as the bridge does, so that what we said before and what we say now are the same bytes."""
    try:
        return msgspec.json.encode(text).decode()
    except UnicodeEncodeError:
        return json.dumps(text)
