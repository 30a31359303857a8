"""As much of Protocol Buffers' wire format as a leg needs: fields of whole numbers, bytes and text. Pure.

Source: protobuf.dev/programming-guides/encoding. The messages themselves are described where they are used.
"""

from collections.abc import Iterator

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
"""Wire types. Groups (3, 4) are gone since proto3."""

MAX_VARINT_BYTES = 10
"""Of 64 bits, by 7."""

_FIXED_BYTES = {FIXED_64: 8, FIXED_32: 4}


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field of bytes, text in UTF-8, or a message."""
    return _varint(number << 3 | LENGTH) + _varint(len(value)) + value


def number_field(number: int, value: int) -> bytes:
    """Return a field of a whole number, 0 or more."""
    return _varint(number << 3 | VARINT) + _varint(value)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and value of each field, as they come; those of fixed width as bytes.

    Raises:
        ValueError: it is no such message.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            msg = "a field has the number 0"
            raise ValueError(msg)
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == LENGTH:
            size, at = _read_varint(message, at)
        elif kind in _FIXED_BYTES:
            size = _FIXED_BYTES[kind]
        else:
            msg = f"a field has the wire type {kind}"
            raise ValueError(msg)
        if size > len(message) - at:
            msg = "a field is longer than the message"
            raise ValueError(msg)
        yield number, message[at : at + size]
        at += size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    msg = "a number does not end"
    raise ValueError(msg)
