"""Takes the numbers out of a story before it is drawn: telephone numbers, and what the caller keyed in as one.

What is masked is not in the page at all. The two numbers of the call are masked wherever they occur; anything that looks
like a telephone number, in every text that is no id; and keys pressed in a row of four or more, because a card, an account
or a PIN is one too. Audio is left as it is: what the caller says, they say.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from smartflo_bridge.captures.story import Story
from smartflo_bridge.captures.transcript import Key, Said
from smartflo_bridge.core.incoming import DECODE_ERRORS

DOT = "\N{BULLET}"

SHOWN_DIGITS = 2
"""So many at the end stay, to tell two calls apart."""

ENTRY_KEYS = 4
"""Keys in a row that are an entry: a menu wants one at a time, the shortest PIN has four."""

ENTRY_SECONDS = 4.0
"""Between two keys of an entry at most: the time-out that IVRs commonly give a digit is 3 to 5 s."""

_NUMBER = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
"""Seven digits or more (ITU-T E.164 allows 15), however they are grouped."""

_IDS = frozenset(
    {"accountSid", "callSid", "call_sid", "chunk", "event", "name", "sequenceNumber", "streamSid", "timestamp", "type"}
)


def masked(story: Story) -> Story:
    """Return the same story without the numbers."""
    known = _known_numbers(story)
    entries = _entry_messages(story.keys)
    parties = story.parties
    return msgspec.structs.replace(
        story,
        parties=msgspec.structs.replace(
            parties,
            from_number=_mask(parties.from_number),
            to_number=_mask(parties.to_number),
            parameters={known(name): _mask_text(known(value)) for name, value in parties.parameters.items()},
        ),
        ending=msgspec.structs.replace(story.ending, stop_reason=_mask_free(story.ending.stop_reason, known)),
        keys=[Key(key.at_ns, DOT, key.message) if key.message in entries else key for key in story.keys],
        marks=[msgspec.structs.replace(mark, name=known(mark.name)) for mark in story.marks],
        findings=[msgspec.structs.replace(finding, text=_mask_text(known(finding.text))) for finding in story.findings],
        said=[_mask_said(said, known, is_entry=index in entries) for index, said in enumerate(story.said)],
    )


def _mask_said(said: Said, known: Callable[[str], str], *, is_entry: bool) -> Said:
    try:
        value = msgspec.json.decode(said.text, type=dict[str, Any])
        if is_entry:
            value["dtmf"] = {"digit": DOT}
        text = msgspec.json.encode(_mask_value(value, known)).decode()
    except DECODE_ERRORS:  # no object, or nested too deeply for either of the two
        text = _mask_text(known(said.text))
    return msgspec.structs.replace(said, text=text)


def _mask_value(value: Any, known: Callable[[str], str], name: str = "") -> Any:  # noqa: ANN401 - any JSON
    match value:
        case dict():
            return {known(key): _mask_value(member, known, key) for key, member in value.items()}
        case list():
            return [_mask_value(member, known, name) for member in value]
        case str() if name in {"from", "to"}:
            return _mask(value)
        case str():
            return known(value) if name in _IDS else _mask_text(known(value))
        case int() if not isinstance(value, bool) and name not in _IDS:
            text = _mask_text(str(value))
            return value if text == str(value) else text
        case _:
            return value


def _mask(number: str | None) -> str | None:
    """Mask what stands where a number belongs, whatever it looks like; its length is hidden too."""
    if not number:
        return number
    return 4 * DOT + number[-SHOWN_DIGITS:] * (len(number) > 2 * SHOWN_DIGITS)


def _mask_free(text: str | None, known: Callable[[str], str]) -> str | None:
    return None if text is None else _mask_text(known(text))


def _mask_text(text: str) -> str:
    return _NUMBER.sub(lambda found: _mask(found[0]) or "", text)


def _known_numbers(story: Story) -> Callable[[str], str]:
    """Return a function that masks the call's own numbers, with or without their prefix, in any text."""
    numbers = [re.sub(r"\D", "", number or "") for number in (story.parties.from_number, story.parties.to_number)]
    # National numbers have up to ten digits in most plans; shorter ones are not told from other figures.
    forms = {form for number in numbers for form in (number, number[-10:]) if len(form) >= 7}
    if not forms:
        return lambda text: text
    longest_first = sorted(map(re.escape, forms), key=len, reverse=True)
    pattern = re.compile(rf"\+?(?:{'|'.join(longest_first)})")
    return lambda text: pattern.sub(lambda found: _mask(found[0]) or "", text)


def _entry_messages(keys: list[Key]) -> set[int]:
    """Return the messages of keys that belong to an entry."""
    entries: set[int] = set()
    row: list[Key] = []
    for key in keys:
        if row and key.at_ns - row[-1].at_ns > ENTRY_SECONDS * 1e9:
            row = []
        row.append(key)
        if len(row) >= ENTRY_KEYS:
            entries.update(member.message for member in row)
    return entries
