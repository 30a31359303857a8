"""What the soak's callers say besides audio, as the platform words it, and what else a confused one may say. Pure."""

import base64

BAD_MESSAGES = (
    b"{",
    b"null",
    b"[]",
    b'{"event":"media"}',
    b'{"event":"media","streamSid":"%s","media":{"payload":"!!!!"}}',
    b'{"event":"dtmf","streamSid":"%s","dtmf":{}}',
    b'{"event":"start"',
    b"\x00",
    b'{"event":7}',
)
TOO_MANY = 25
"""Malformed messages: more than `bad-message-budget` allows."""


def connected() -> bytes:
    """Return `connected`."""
    return b'{"event":"connected"}'


def start(stream_sid: str, call_sid: str) -> bytes:
    """Return `start`."""
    return (
        f'{{"event":"start","sequenceNumber":"1","streamSid":"{stream_sid}","start":{{"accountSid":"AC77",'
        f'"streamSid":"{stream_sid}","callSid":"{call_sid}","from":"919800000001","to":"918000000099",'
        '"direction":"inbound","mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"bitRate":64,'
        '"bitDepth":8},"customParameters":{}}}'
    ).encode()


def media(stream_sid: str, chunk: int, timestamp_ms: int, ulaw: bytes) -> bytes:
    """Return a `media` event. It is the stream's message number `chunk` + 1: nothing else is said meanwhile."""
    head = (
        f'{{"event":"media","sequenceNumber":"{chunk + 1}","streamSid":"{stream_sid}","media":'
        f'{{"chunk":"{chunk}","timestamp":"{timestamp_ms}","payload":"'
    )
    return head.encode() + base64.b64encode(ulaw) + b'"}}'


def stop(stream_sid: str, sequence: int) -> bytes:
    """Return `stop`."""
    return f'{{"event":"stop","sequenceNumber":"{sequence}","streamSid":"{stream_sid}","stop":{{}}}}'.encode()


def bad_messages(stream_sid: str) -> list[bytes]:
    """Return more malformed messages than a call may have."""
    return [BAD_MESSAGES[at % len(BAD_MESSAGES)].replace(b"%s", stream_sid.encode()) for at in range(TOO_MANY)]


def audio_of(message: bytes) -> bytes:
    """Return the audio of one of the daemon's messages; nothing if it has none."""
    _, quote, rest = message.partition(b'"payload":"')
    return base64.b64decode(rest[: rest.index(b'"')], validate=True) if quote else b""
