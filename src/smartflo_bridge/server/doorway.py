"""What a connection says before it is a WebSocket: passed on to the library, or answered here.

Each connection has one. The library closes on requests with a body, or with another method than GET, without an answer.
"""

import asyncio
from http import HTTPStatus

from websockets.http11 import Response

from smartflo_bridge.server.answers import METHOD_NOT_ALLOWED, answer, make_headers
from smartflo_bridge.server.plain_http import CONTINUE, FirstLine, PlainRequest, RequestReader, Whose
from smartflo_bridge.server.resolver import Resolver


class Doorway:
    """Where one connection comes in.

    Args:
        resolver: the dynamic endpoint, if there is one; it gets the requests for its path.
    """

    def __init__(self, resolver: Resolver | None) -> None:
        self._resolver = resolver
        self._first_line: FirstLine | None = FirstLine(resolver.path if resolver else "")
        self._whose = Whose.NOBODY
        self._reader = RequestReader()

    def pass_through(self, data: bytes, transport: asyncio.Transport) -> bytes:
        """Take bytes; return what the library is to see of them. A request that is not for it is answered, and closed on."""
        if self._first_line is not None:
            data, self._whose = self._first_line.receive(data)
            if not data:
                return b""
            self._first_line = None
        if self._whose is Whose.LIBRARY:
            return data
        if self._whose is Whose.NOBODY:
            _say(METHOD_NOT_ALLOWED, transport)
        else:
            self._read(data, transport)
        return b""

    def _read(self, data: bytes, transport: asyncio.Transport) -> None:
        request = self._reader.receive(data)
        if request is not None:
            _say(self._answer(request), transport)
        elif self._reader.expects_continue:
            self._reader.expects_continue = False
            transport.write(CONTINUE)

    def _answer(self, request: PlainRequest | HTTPStatus) -> Response:
        if isinstance(request, HTTPStatus):
            return answer(request)
        body = self._resolver.answer(request) if self._resolver else HTTPStatus.NOT_FOUND
        if body is HTTPStatus.METHOD_NOT_ALLOWED:
            return answer(body, Allow="GET, POST")
        if isinstance(body, HTTPStatus):
            return answer(body)
        return Response(200, "OK", make_headers("application/json", body), body)


def _say(response: Response, transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.write(response.serialize())
        transport.close()
