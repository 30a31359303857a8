"""Pseudonyms: other ids, numbers and words of the same form, the same for the same, and of no use to find the first.

The form is the length, and each character's class: digit, capital, small letter; what is no letter and no digit stays.
Two that differ get two that differ, as long as there are enough of that form. Whoever has not the key, which is never
kept, cannot tell whose number it was; what can be learned from the form itself remains.
"""

import hashlib
import re
import string
import unicodedata
from collections.abc import Callable

NATIONAL_DIGITS = 10
"""An Indian number without its country's 91 or its leading 0 (National Numbering Plan 2003). These digits are replaced on
their own, so that a number stays recognisable in whichever of its forms it occurs."""

ATTEMPTS = 50
"""So many pseudonyms are tried for one that is neither taken nor the text itself; only of one digit are there so few."""

_NUMBER = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
"""Seven digits or more (ITU-T E.164 allows 15), however they are grouped."""

_SID = re.compile(r"[A-Z]{2}(?=[0-9a-f]{16,}$)")
"""Two capitals and then hexadecimal: they say what kind of id it is, and not whose."""

_WORD = re.compile(r"(?:[^\W_]|[^\x00-\x7f])+")

_CLASSES = (string.digits, string.ascii_uppercase, string.ascii_lowercase)


class Pseudonyms:
    """All pseudonyms of one capture.

    Args:
        key: 16 bytes or more that nobody else knows; with the same key come the same pseudonyms.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()
        self._ids: dict[str, str] = {}
        self._known = re.compile(r"(?!)")

    def of(self, text: str) -> str:
        """Return the pseudonym of a text as a whole."""
        given = self._given.get(text)
        if given is None:
            given = self._given[text] = self._free(text)
            self._taken.add(given)
        return given

    def id(self, text: str) -> str:
        """Return an id's pseudonym, which is from now on replaced inside other texts too."""
        given = self.of(text)
        if len(text) >= 6 and text not in self._ids:  # a shorter one may be part of anything
            self._ids[text] = given
            self._known = re.compile("|".join(map(re.escape, sorted(self._ids, key=len, reverse=True))))
        return given

    def number(self, text: str) -> str:
        """Replace the digits of one number, however they are grouped."""
        digits = "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal())
        cut = max(len(digits) - NATIONAL_DIGITS, 0)
        new = iter(self.of(digits[:cut]) + self.of(digits[cut:]))
        return "".join(_same_script(char, next(new)) if char.isdecimal() else char for char in text)

    def text(self, text: str) -> str:
        """Replace every word and number of a text."""
        return self._outside_ids(text, lambda rest: self._numbers(rest, self._words))

    def scrubbed(self, text: str) -> str:
        """Replace ids and telephone numbers in a text whose words may stay."""
        return self._outside_ids(text, lambda rest: self._numbers(rest, str))

    def name(self, text: str) -> str:
        """Replace ids and numbers in a mark's name. What the session puts behind a name, `.1`, stays behind it."""
        return self._outside_ids(text, lambda rest: re.sub(r"\d{7,}", lambda match: self.number(match[0]), rest))

    def _words(self, text: str) -> str:
        return _WORD.sub(lambda match: self.of(match[0]), text)

    def _numbers(self, text: str, rest: Callable[[str], str]) -> str:
        return _split(_NUMBER, text, self.number, rest)

    def _outside_ids(self, text: str, rest: Callable[[str], str]) -> str:
        return _split(self._known, text, self._ids.__getitem__, rest)

    def _free(self, text: str) -> str:
        new = text
        for attempt in range(ATTEMPTS):
            new = self._drawn(text, attempt)
            if new != text and new not in self._taken:
                break
        return new

    def _drawn(self, text: str, attempt: int) -> str:
        seed = b"%b%d %b" % (self._key, attempt, text.encode(errors="surrogatepass"))
        drawn = hashlib.shake_256(seed).digest(4 * len(text))
        kind = _SID.match(text)
        kept = len(kind[0]) if kind else 0
        numbers = (int.from_bytes(drawn[at : at + 4]) for at in range(4 * kept, len(drawn), 4))
        new = (
            _drawn_like(char, number, is_sid=kind is not None)
            for char, number in zip(text[kept:], numbers, strict=True)
        )
        return text[:kept] + "".join(new)


def _drawn_like(char: str, number: int, *, is_sid: bool) -> str:
    """Return a character of the same class; of none that we know, an x."""
    if is_sid:
        return f"{number % 16:x}"
    if char.isascii():
        alphabet = next((letters for letters in _CLASSES if char in letters), char)
        return alphabet[number % len(alphabet)]
    return _same_script(char, str(number % 10)) if char.isdecimal() else "x"


def _same_script(char: str, digit: str) -> str:
    """Write a digit in the script of `char`: each has its ten in a row."""
    return chr(ord(char) - unicodedata.decimal(char) + int(digit))


def _split(pattern: re.Pattern[str], text: str, found: Callable[[str], str], rest: Callable[[str], str]) -> str:
    """Apply one function to what a pattern finds, another to what stands between."""
    parts: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        parts += [rest(text[end : match.start()]), found(match[0])]
        end = match.end()
    return "".join([*parts, rest(text[end:])])
