"""Plain HTTP requests on the call port: telling them from those for the WebSocket library, and reading one.

The library closes on most of them without an answer. Sans I/O: bytes in, values out. Knows neither the library nor what is
asked for. One request a connection, of at most 8 KiB.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPMethod, HTTPStatus

MAX_REQUEST_BYTES = 8 * 1024
"""A request of the platform for a call's endpoint has some 500 bytes."""

MAX_LINE_BYTES = 4096
"""Reliability, section 8: `WEBSOCKETS_MAX_LINE_LENGTH`; the library says 414 to a longer one."""

METHODS = frozenset(HTTPMethod)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# RFC 9110, 5.6.2 and 5.5. No folded lines (RFC 9112, 5.2): a server may refuse them, and reading them differently from a
# proxy in front is how requests are smuggled.
_HEADER = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_TARGET = re.compile(rb"[\x21-\x7e]+")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A whole request.

    Attributes:
        method: in capitals.
        target: path and query, as sent.
        content_type: in small letters, without parameters; "" if the request does not say.
        body: undecoded.
    """

    method: str
    target: str
    content_type: str = ""
    body: bytes = b""


class Whose(Enum):
    """Who answers a request."""

    LIBRARY = "the WebSocket library"
    RESOLVER = "the resolver"
    NOBODY = "nobody: its method is none that anything here takes"


class FirstLine:
    """Holds back what a connection says until its first line is there, and then says whose it is.

    Args:
        path: the resolver's; requests for it, and for what is below it, are the resolver's. "" without one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held = b""

    def receive(self, data: bytes) -> tuple[bytes, Whose]:
        """Take bytes; return all so far and whose they are, or no bytes for as long as that cannot be said."""
        self._held += data
        line, end, _ = self._held.partition(b"\n")
        if not end and len(self._held) <= MAX_LINE_BYTES:
            return b"", Whose.NOBODY
        method, _, rest = line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        held, self._held = self._held, b""
        if method.decode("latin-1") not in METHODS:  # not HTTP at all; the library knows best how to end that
            return held, Whose.LIBRARY
        if self._path and f"{path}/".startswith(f"{self._path}/"):
            return held, Whose.RESOLVER
        return held, Whose.LIBRARY if method == b"GET" else Whose.NOBODY


class RequestReader:
    """Reads one request. Feed it until it returns something else than None; what comes after that is not for it."""

    def __init__(self) -> None:
        self._held = b""
        self._body_at: int | None = None
        self._request = PlainRequest("", "")
        self._length = 0
        self.expects_continue = False
        """True once the headers are there and say that the client waits for `CONTINUE` before it sends the body."""

    def receive(self, data: bytes) -> PlainRequest | HTTPStatus | None:
        """Take bytes; return the request once it is whole, the status that refuses it, or None for more."""
        self._held += data
        if self._body_at is None:
            end = self._held.find(b"\r\n\r\n")
            if (len(self._held) if end < 0 else end) > MAX_REQUEST_BYTES:
                return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            if end < 0:
                return None
            if (refusal := self._read_head(self._held[:end])) is not None:
                return refusal
            self._body_at = end + 4
        if self._body_at + self._length > MAX_REQUEST_BYTES:
            return HTTPStatus(413)  # its name differs between versions of Python
        body = self._held[self._body_at : self._body_at + self._length]
        if len(body) < self._length:
            return None
        return PlainRequest(self._request.method, self._request.target, self._request.content_type, body)

    def _read_head(self, head: bytes) -> HTTPStatus | None:
        first, *lines = head.split(b"\r\n")
        headers = parse_headers(lines)
        words = first.split(b" ")
        if headers is None or len(words) != 3 or words[2] not in _VERSIONS or not _TARGET.fullmatch(words[1]):
            return HTTPStatus.BAD_REQUEST
        if b"transfer-encoding" in headers:
            return HTTPStatus.LENGTH_REQUIRED
        length = headers.get(b"content-length", b"0")
        if not _LENGTH.fullmatch(length):
            return HTTPStatus.BAD_REQUEST
        self._length = int(length)
        self.expects_continue = headers.get(b"expect", b"").lower() == b"100-continue" and self._length > 0
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        self._request = PlainRequest(words[0].decode("latin-1"), words[1].decode("ascii"), content_type)
        return None


def parse_headers(lines: list[bytes]) -> Mapping[bytes, bytes] | None:
    """Return headers by their names in small letters, or None if a line is none or the body's length is said twice."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            return None
        name = match[1].lower()
        if name in headers and name in (b"content-length", b"transfer-encoding", b"host"):
            return None
        headers.setdefault(name, match[2])
    return headers
