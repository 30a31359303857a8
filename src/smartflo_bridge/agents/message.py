"""One WebSocket message of a leg, either way: text is `str`, binary is `bytes`, as the library has it."""

from typing import Any

import msgspec

Message = str | bytes

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

# Beside msgspec's own: text that is no UTF-8, and nesting of some ten thousand levels. Reliability, F9.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


def to_text(message: object) -> str:
    """Return a JSON text message; bytes inside become base64, structs objects."""
    return _encoder.encode(message).decode()


def names_another(message: Message, member: str, *known: str) -> bool:
    """Return whether a message is a JSON object that names itself, as something that is not known here."""
    name = (json_object(message) or {}).get(member)
    return isinstance(name, str) and name not in known


def json_object(message: Message) -> dict[str, Any] | None:
    """Return the JSON object in a message, text or binary; None if there is none."""
    try:
        found = _decoder.decode(message)
    except DECODE_ERRORS:
        return None
    return found if isinstance(found, dict) else None
