"""The events of `plain` and `picows`, as msgspec knows them: as little as the work needs."""

import msgspec


class Media(msgspec.Struct):
    """The audio of a media event, whose base64 msgspec decodes and encodes."""

    payload: bytes
    chunk: str | int


class Event(msgspec.Struct, omit_defaults=True):
    """Any event, either way."""

    event: str
    streamSid: str | None = None  # noqa: N815 - the wire's
    media: Media | None = None


decode = msgspec.json.Decoder(Event).decode
encode = msgspec.json.Encoder().encode
