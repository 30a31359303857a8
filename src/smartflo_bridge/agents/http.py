"""One HTTP request before a service is dialled, for those whose WebSocket address is asked for: on the loop, bounded as a whole.

A thread with the standard library's client would be bounded for each of its reads only: a server that drips a byte a
second holds it for ever. Here all of it has one deadline, and whatever is under way at its end is cut. What comes back is
read by that client's parser, so nothing of HTTP is parsed by us.
"""

import asyncio
import io
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import SplitResult, urlsplit

from smartflo_bridge.agents.dialect import HttpRequest
from smartflo_bridge.agents.far_end import DialError, failure, refusal
from smartflo_bridge.agents.tls import client_tls
from smartflo_bridge.version import __version__

MAX_BODY_BYTES = 64 * 1024
"""An address and some words about it."""

MAX_HEAD_BYTES = 32 * 1024
"""What comes before the body: four times what common servers send at most, and no reason to hold more."""

_PORTS = {"https": 443, "http": 80}
_BLANK_LINE = b"\r\n\r\n"


class _Heard:
    """What the parser takes for a socket: an answer that has come already."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._answer)


async def ask(request: HttpRequest, timeout_seconds: float) -> bytes:
    """Return the body of the answer, all of which has come within the time-out.

    Raises:
        DialError: there is none, or it is a refusal. A redirect is one too: the request carries a key.
    """
    url = urlsplit(request.url)
    try:
        target = _target(url)
        async with asyncio.timeout(timeout_seconds):
            return await _exchange(url, _written(request, url, target))
    except (HTTPException, EOFError):
        msg = "it cannot be reached over HTTP"
        raise DialError(msg, may_retry=True) from None
    except (TimeoutError, OSError, ValueError) as error:
        raise failure(error) from None


def _target(url: SplitResult) -> str:
    """Return the path and query that are asked for.

    Raises:
        ValueError: this is no URL that can be asked.
    """
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if url.scheme not in _PORTS or not url.hostname or not _is_fit(target):
        msg = "no URL that can be asked"
        raise ValueError(msg)
    return target


def _written(request: HttpRequest, url: SplitResult, target: str) -> bytes:
    """Return the request as it is sent.

    Raises:
        ValueError: a header would be two.
    """
    headers = {"Host": url.netloc.rpartition("@")[2], "User-Agent": f"smartflo-bridge/{__version__}"}
    headers |= {"Accept-Encoding": "identity", "Connection": "close"}
    if request.body is not None:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(request.body))}
    headers |= request.headers
    for name, value in headers.items():
        if not _is_fit(name) or not value.isprintable():
            msg = "a header that cannot be sent"
            raise ValueError(msg)
    lines = [f"{'GET' if request.body is None else 'POST'} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (request.body or b"")


def _is_fit(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


async def _exchange(url: SplitResult, written: bytes) -> bytes:
    """Send a request, and return the body of the answer; the connection is gone then, however it went."""
    port = url.port or _PORTS[url.scheme]
    tls = client_tls() if url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=tls, limit=MAX_HEAD_BYTES)
    try:
        writer.write(written)
        await writer.drain()
        return await _answer(reader)
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of the answer once it is whole.

    Raises:
        DialError: it is a refusal, or too long.
        HTTPException, EOFError: it is no answer, or has ended before its end.
    """
    try:
        head = await reader.readuntil(_BLANK_LINE)
    except asyncio.LimitOverrunError:
        raise _too_long(MAX_HEAD_BYTES, " of headers") from None
    answer = _parsed(head)
    if not 200 <= answer.status < 300:
        raise refusal(answer.status, answer.headers.get("Retry-After", ""))
    size = MAX_BODY_BYTES + 1 if answer.length is None else answer.length
    body = b""
    while len(body) < size and (piece := await reader.read(size - len(body))):
        body += piece
        if answer.chunked and body.endswith(_BLANK_LINE):  # as its last chunk does, and perhaps others
            with suppress(IncompleteRead):
                return _parsed(head + body).read()
        if len(body) > MAX_BODY_BYTES:
            raise _too_long(MAX_BODY_BYTES)
    return _parsed(head + body).read()


def _parsed(heard: bytes) -> HTTPResponse:
    answer = HTTPResponse(_Heard(heard))  # type: ignore[arg-type] # all it does with a socket is to make a file of it
    answer.begin()
    return answer


def _too_long(limit_bytes: int, of: str = "") -> DialError:
    return DialError(f"it answered with more than {limit_bytes} bytes{of}")
