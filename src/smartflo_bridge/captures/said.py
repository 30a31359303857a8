"""What we say, read back leniently: a live server may be anybody's, and what is odd in it is not to be lost on the way."""

import msgspec

from smartflo_bridge.core.incoming import DECODE_ERRORS


class Said(msgspec.Struct, frozen=True):
    """One message of ours. `event` is `?` for what is none."""

    event: str
    ulaw: bytes = b""
    mark: str = ""


class _Media(msgspec.Struct):
    payload: bytes = b""


class _Mark(msgspec.Struct):
    name: str = ""


class _Message(msgspec.Struct):
    event: str
    media: _Media | None = None
    mark: _Mark | None = None


_decoder = msgspec.json.Decoder(_Message)


def said_in(text: bytes) -> Said:
    """Return what a message says."""
    try:
        message = _decoder.decode(text)
    except DECODE_ERRORS:
        return Said("?")
    media, mark = message.media or _Media(), message.mark or _Mark()
    return Said(message.event, media.payload, mark.name)
