"""The custom parameters of a call, in the one shape that a handler wants: a flat dict of strings.

The platform hands them over in five forms (protocol.md, section 1): an object, a string of JSON, an object holding a
string of JSON, values of the form "key:value", and nothing. They come from whoever placed the call, so they are data
to be judged by the handler, and bounded here.
"""

import re
from contextlib import suppress
from typing import Any

import msgspec

MAX_PARAMETERS = 64
MAX_PARAMETER_BYTES = 8 * 1024
"""Of names and values together; reliability, section 8. What does not fit is left out, the call goes on."""

PLAIN_TEXT_NAME = "custom_identifier"
"""The name under which the platform's own portal hands over one plain string."""

_PAIR = re.compile(r"([A-Za-z_][\w.-]*):(?!//)\s*(.+)", re.DOTALL)


def flatten_parameters(value: object) -> dict[str, str]:
    """Return the custom parameters of any form as names with string values.

    What is given outright wins over what is found inside a string: `{"a": "b:1", "b": "2"}` has `b` = "2". A string that
    held others stays under its own name too. Numbers, booleans and nested values become their JSON text.
    """
    if isinstance(value, str):
        inside = _object_in(value)
        value = {PLAIN_TEXT_NAME: value} if inside is None else inside
    if not isinstance(value, dict):
        return {}
    outright: dict[str, str] = {}
    nested: dict[str, str] = {}
    for name, member in value.items():
        _put(outright, name, member)
        if isinstance(member, str):
            for inner, inner_member in (_object_in(member) or pair_in(member)).items():
                _put(nested, inner, inner_member)
    return _bounded(outright | {name: text for name, text in nested.items() if name not in outright})


def _put(parameters: dict[str, str], name: str, member: object) -> None:
    """Add one as text; what is nested too deeply to be written again is left out."""
    with suppress(RecursionError):
        parameters[name] = member if isinstance(member, str) else msgspec.json.encode(member).decode()


def _object_in(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a string holds, or None if it holds none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def pair_in(text: str) -> dict[str, str]:
    """Return the "key:value" that a string holds, or nothing. A time of day or a URL is no such pair."""
    match = _PAIR.fullmatch(text)
    return {match[1]: match[2]} if match else {}


def _bounded(parameters: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = MAX_PARAMETER_BYTES
    for name, text in parameters.items():
        size = len(name.encode(errors="replace")) + len(text.encode(errors="replace"))
        if size <= room and len(kept) < MAX_PARAMETERS:
            kept[name] = text
            room -= size
    return kept
