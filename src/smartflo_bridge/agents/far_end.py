"""The far end of a leg's connection, as the leg sees it, whatever carries it: a service, or the user's own function.

`connection` adapts a WebSocket to it, `answering` a function, `beside` makes one of several. Tests have one in memory.
"""

import os
import socket
import ssl
from typing import Protocol

import msgspec

from smartflo_bridge.agents.message import Message
from smartflo_bridge.core.errors import AgentError

_RETRIED_STATUS = (408, 425, 429)
_REDIRECTS = range(300, 400)


class Closed(msgspec.Struct, frozen=True):
    """The connection is gone: closed by the service with a code, or (None) dead."""

    code: int | None = None
    reason: str = ""


class Connection(Protocol):
    """What a leg needs of a connection. One task reads, one writes."""

    async def recv(self) -> Message | Closed:
        """Return the next message, or that there will be no more."""
        ...

    async def send(self, *messages: Message) -> bool:
        """Send, in one write, waiting while the service does not read; return False if the connection is gone."""
        ...

    async def close(self) -> None:
        """Close it; return when it is gone, within a second."""
        ...


class DialError(AgentError):
    """The service could not be reached. The text quotes no key and no address.

    Attributes:
        may_retry: trying again may help.
        retry_after_seconds: what the service asked for.
    """

    def __init__(self, text: str, *, may_retry: bool = False, retry_after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.may_retry = may_retry
        self.retry_after_seconds = retry_after_seconds


def refusal(status: int, retry_after: str = "") -> DialError:
    """Return what an HTTP status means: 4xx will not change by asking again, but for a few.

    Args:
        status: of the answer.
        retry_after: the header of this name; only whole seconds are obeyed, for a date needs a wall clock that both agree on.
    """
    words = {401: ", so the key is not valid", 403: ", so the key is not allowed this", 404: ", so the URL is wrong"}
    note = ", a redirect, which is not followed" if status in _REDIRECTS else words.get(status, "")
    return DialError(
        f"it answered with HTTP status {status}{note}",
        may_retry=status in _RETRIED_STATUS or status >= 500,
        retry_after_seconds=float(retry_after)
        if retry_after.isdecimal() and retry_after.isascii() and len(retry_after) < 6
        else 0.0,
    )


def failure(error: Exception) -> DialError:
    """Say what kept us from the service below its own protocol, in words that quote nothing of it."""
    match error:
        case ssl.SSLCertVerificationError():
            return DialError(f"its certificate is not valid: {error.verify_message}")
        case ssl.SSLError():
            return DialError("it does not speak TLS")
        case TimeoutError():
            return DialError("it did not answer in time", may_retry=True)
        case socket.gaierror():
            return DialError("its name was not found", may_retry=True)
        case OSError():
            # asyncio's own text has the address in it.
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            return DialError(f"it cannot be reached: {reason}", may_retry=True)
        case _:
            return DialError("its URL cannot be dialled")
