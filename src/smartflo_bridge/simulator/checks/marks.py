"""Marks: their names, and whether numbered ones come in order and without a hole. Pure.

A name is numbered if it ends in a number and three of the same stem have counted up by one. A number may be skipped
after a clear, and may have gone to a mark of another stem; a stem may begin again at its first number.
"""

import re
from collections import Counter

import msgspec

from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.rules import Rule

NAME_LIMIT_CHARACTERS = 128
"""As for the ids of the wire."""

_NUMBERED = re.compile(r"(.*?)(\d{1,6})")
"""More digits are a time or a random number, not a count."""

_ESTABLISHED = 2
"""Steps of one, after which a stem is taken to count: fewer happen by chance."""


class _Stem(msgspec.Struct):
    first: int
    last: int
    steps: int = 0
    is_cleared: bool = False


class MarkCheck:
    """Judges marks as they are placed."""

    def __init__(self) -> None:
        self._pending: Counter[str] = Counter()
        self._stems: dict[str, _Stem] = {}
        self._numbers: set[int] = set()

    def place(self, name: str) -> list[Finding]:
        """Take a mark of the far end."""
        findings = []
        if not name or len(name) > NAME_LIMIT_CHARACTERS or not (name.isascii() and name.isprintable()):
            findings.append(Finding(Rule.MARK_NAME, f"the name {name[:40]!r} is not short printable ASCII"))
        if self._pending[name]:
            findings.append(Finding(Rule.MARK_REPEATED, f"{name!r} was placed again before its echo"))
        self._pending[name] += 1
        if numbered := _NUMBERED.fullmatch(name):
            findings += self._count(numbered[1], int(numbered[2]))
        return findings

    def echo(self, name: str) -> None:
        """Note that a mark was echoed."""
        self._pending[name] -= 1

    def clear(self) -> None:
        """Note that the far end cleared: it may have dropped marks that it never placed."""
        for stem in self._stems.values():
            stem.is_cleared = True

    def _count(self, name: str, number: int) -> list[Finding]:
        self._numbers.add(number)
        stem = self._stems.setdefault(name, _Stem(first=number, last=number - 1))
        expected, stem.last = stem.last + 1, max(stem.last, number)
        is_cleared, stem.is_cleared = stem.is_cleared, False
        if number == stem.first:
            stem.last, stem.steps = number, 0
            return []
        if number == expected:
            stem.steps += 1
            return []
        if stem.steps < _ESTABLISHED:
            stem.first, stem.last, stem.steps = number, number, 0
            return []
        if number < expected:
            return [Finding(Rule.MARK_OUT_OF_ORDER, f"{name}{number} was placed after {name}{expected - 1}")]
        missing = [str(one) for one in range(expected, min(number, expected + 10)) if one not in self._numbers]
        if is_cleared or not missing:
            return []
        return [Finding(Rule.MARK_MISSING, f"{name}{number} was placed, and {name}{', '.join(missing)} never")]
