"""The custom parameters of a call, in the one shape that a handler wants: a flat dict of strings.

The platform hands them over in five forms (protocol.md, section 1): an object, a string of JSON, an object holding a
string of JSON, values of the form "key:value", and nothing. They come from whoever placed the call, so they are data
to be judged by the handler, and bounded here.
"""

import re
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
    flat: dict[str, str] = {}
    nested: dict[str, str] = {}
    if isinstance(value, str):
        value = _object_in(value) or {PLAIN_TEXT_NAME: value}
    if not isinstance(value, dict):
        return flat
    for name, member in value.items():
        text = member if isinstance(member, str) else msgspec.json.encode(member).decode()
        flat[name] = text
        if isinstance(member, str):
            for inner, inner_member in (_object_in(member) or _pair_in(member)).items():
                nested[inner] = (
                    inner_member if isinstance(inner_member, str) else msgspec.json.encode(inner_member).decode()
                )
    return _bounded(nested | flat)


def _object_in(text: str) -> dict[str, Any]:
    """Return the JSON object that a string holds, or an empty one."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _pair_in(text: str) -> dict[str, str]:
    """Return the "key:value" that a string holds, or nothing. A time of day or a URL is no such pair."""
    match = _PAIR.fullmatch(text)
    return {match[1]: match[2]} if match else {}


def _bounded(parameters: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = MAX_PARAMETER_BYTES
    for name, text in parameters.items():
        room -= len(name) + len(text)
        if room < 0 or len(kept) == MAX_PARAMETERS:
            break
        kept[name] = text
    return kept
