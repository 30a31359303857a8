"""HTTP answers to requests that do not become a WebSocket."""

import http

from websockets.datastructures import Headers
from websockets.http11 import Response


def answer(status: http.HTTPStatus, **more: str) -> Response:
    """Return a plain answer; `more` are headers, with underscores for hyphens."""
    body = f"{status.value} {status.phrase}\n".encode()
    headers = make_headers("text/plain; charset=utf-8", body)
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return Response(status.value, status.phrase, headers, body)


def make_headers(content_type: str, body: bytes) -> Headers:
    """Return the headers of an answer after which the connection is closed."""
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return headers


METHOD_NOT_ALLOWED = answer(http.HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET")

TRY_AGAIN = answer(http.HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="1")
"""No place, or no time, for another call right now."""
