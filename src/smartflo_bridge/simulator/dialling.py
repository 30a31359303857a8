"""Opens the connection of a simulated call, and says in one sentence why that failed.

The only place of the simulator that knows the library's errors of the opening handshake. `caller` calls it.
"""

import errno
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from smartflo_bridge.core.errors import BridgeError

MESSAGE_LIMIT_BYTES = 1 << 20
"""The default of WebSocket libraries: 98 seconds of audio in one message."""

CLOSE_SECONDS = 2.0
"""How long we wait for the answer to our close frame. Protocol, section 5, gives `stop` as long."""


_WANTED_URL = "the URL must be ws://host:port/path or wss://host:port/path"


class CallFailed(BridgeError):  # noqa: N818 - what happened to the call; nobody's mistake in particular
    """The call was not answered. The message says why, without the URL's path and query: they may hold a token."""


async def dial(url: str, wait_seconds: float) -> ClientConnection:
    """Open a connection as the platform does: no compression, no pings, no proxy.

    Raises:
        CallFailed: nobody answered within `wait_seconds`, or not as a bridge does.
    """
    host = _host(url)
    try:
        return await connect(
            url,
            compression=None,
            proxy=None,
            open_timeout=wait_seconds,
            ping_interval=None,
            close_timeout=CLOSE_SECONDS,
            max_size=MESSAGE_LIMIT_BYTES,
        )
    except InvalidURI:
        raise CallFailed(_WANTED_URL) from None
    except InvalidStatus as error:
        raise CallFailed(f"{host} refused the call: {_meaning(error.response.status_code)}") from None
    except InvalidHandshake as error:
        raise CallFailed(f"{host} does not speak WebSocket: {error}") from None
    except TimeoutError:
        raise CallFailed(f"{host} did not answer within {wait_seconds:g} s") from None
    except OSError as error:
        raise CallFailed(f"no connection to {host}: {_reason(error)}") from None


def _host(url: str) -> str:
    """Return what may be shown of a URL: host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise CallFailed(_WANTED_URL) from None
    return f"{parts.hostname}:{port}" if port else str(parts.hostname)


def _reason(error: OSError) -> str:
    """Say why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    # For a name with several addresses, asyncio makes one error without a number out of theirs.
    if f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "connection refused; is the bridge running?"
    return error.strerror or str(error)


def _meaning(status: int) -> str:
    """Say what an HTTP status means where a bridge answers with it."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return f"the token is missing or wrong (HTTP {status})"
        case HTTPStatus.NOT_FOUND:
            return f"there is no stream at this path (HTTP {status})"
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return f"it takes no more calls now (HTTP {status})"
        case _:
            return f"HTTP {status} instead of an upgrade"
