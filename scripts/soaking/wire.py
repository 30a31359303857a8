"""WebSockets by hand, for both ends that the soak plays: the platform's client and the agent's server. Pure.

It shares no code with the daemon, knows what the soak needs and no more, and costs a few us a message.
"""

import base64
import hashlib
import re

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD_END = b"\r\n\r\n"


def accept_of(key: str) -> str:
    """Return what a server answers to a client's key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()  # noqa: S324 - as the RFC has it


def request(port: int, path: str) -> bytes:
    """Return a client's request."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def response(head: bytes) -> bytes:
    """Return a server's answer to a request; nothing if it is none."""
    key = re.search(rb"(?i)^sec-websocket-key: *(\S+)", head, re.MULTILINE)
    if key is None:
        return b""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_of(key[1].decode())}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def refusal(head: bytes) -> str | None:
    """Return why a server's answer does not open the connection, None if it does."""
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if not status.startswith("HTTP/1.1 101 "):
        return status
    return None if accept_of(KEY).encode() in head else "a wrong Sec-WebSocket-Accept"


def masked(payload: bytes, key: bytes) -> bytes:
    """Return a payload masked with a key of four bytes, or unmasked with the same."""
    size = len(payload)
    keys = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ keys).to_bytes(size, "little")


def message(opcode: int, payload: bytes, key: bytes = b"") -> bytes:
    """Return a whole message in one WebSocket frame; a client's has a key."""
    size, mask = len(payload), 0x80 if key else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask | 127)) + size.to_bytes(8, "big")
    return head + key + (masked(payload, key) if key else payload)


class Reader:
    """Takes what comes over a connection: first the head of a request or a response, then messages.

    Attributes:
        head: of HTTP, once it is whole.
    """

    def __init__(self) -> None:
        self.head = b""
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; return the messages that are whole now, each with its opcode. None of ours or theirs is fragmented."""
        self._held += data
        if not self.head:
            head, end, rest = self._held.partition(_HEAD_END)
            if not end:
                return []
            self.head, self._held = head, rest
        messages, at = [], 0
        while (found := _message_at(self._held, at)) is not None:
            opcode, payload, at = found
            messages.append((opcode, payload))
        self._held = self._held[at:]
        return messages


def _message_at(held: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Return the opcode and the payload of the message that begins there, and where it ends; None if it is not whole."""
    if len(held) < at + 2:
        return None
    opcode, size = held[at] & 0x0F, held[at + 1] & 0x7F
    is_masked = held[at + 1] & 0x80
    start = at + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        size = int.from_bytes(held[at + 2 : start], "big")
    key = held[start : start + 4] if is_masked else b""
    start += len(key)
    if len(held) < start + size or (is_masked and len(key) < 4):
        return None
    payload = held[start : start + size]
    return opcode, masked(payload, key) if key else payload, start + size
