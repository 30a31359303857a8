"""One HTTP request before a service is dialled, for those whose WebSocket address is asked for: in a thread, bounded."""

import asyncio
import functools
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from smartflo_bridge.agents.dialect import HttpRequest
from smartflo_bridge.agents.far_end import DialError, refusal
from smartflo_bridge.agents.tls import client_tls

MAX_BODY_BYTES = 64 * 1024
"""An address and some words about it."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer that we do not want: the request carries a key."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401 - the library's
        return None


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    secure = urllib.request.HTTPSHandler(context=client_tls())
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), secure, _NoRedirect)


async def ask(request: HttpRequest, timeout_seconds: float) -> bytes:
    """Return the body of the answer.

    Raises:
        DialError: there is none, or it is a refusal.
    """
    return await asyncio.to_thread(_ask, request, timeout_seconds)


def _ask(request: HttpRequest, timeout_seconds: float) -> bytes:
    if not request.url.startswith(("https://", "http://")):
        msg = "its URL cannot be asked"
        raise DialError(msg)
    headers = {"Content-Type": "application/json"} if request.body is not None else {}
    asked = urllib.request.Request(request.url, request.body, headers | request.headers)  # noqa: S310 - checked above
    try:
        with _opener().open(asked, timeout=timeout_seconds) as answer:
            body: bytes = answer.read(MAX_BODY_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(error.code, error.headers.get("Retry-After") or "") from None
    except TimeoutError:
        msg = "it did not answer in time"
        raise DialError(msg, may_retry=True) from None
    except (OSError, HTTPException):  # URLError is an OSError
        msg = "it cannot be reached over HTTP"
        raise DialError(msg, may_retry=True) from None
    if len(body) > MAX_BODY_BYTES:
        msg = f"it answered with more than {MAX_BODY_BYTES} bytes"
        raise DialError(msg)
    return body
