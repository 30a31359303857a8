"""The errors of the bridge; the type says whose fault it is.

Each carries the one sentence that the person who can act on it needs. Library exceptions never pass the adapter that
called the library.
"""

from typing import Self


class BridgeError(Exception):
    """Anything that goes wrong in the bridge."""


class ProtocolError(BridgeError):
    """The platform broke the protocol. The message names what was wrong, never what the message contained."""


class HandlerError(BridgeError):
    """A handler broke its contract: the application's code is to be mended."""


class AgentError(BridgeError):
    """A voice agent at the far end of a leg failed."""

    def kept(self) -> Self:
        """Return it, to be kept: without the frames that it came through, which hold on to all that they know."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


def shown_key(key: str) -> str:
    """Return a key of a table as a message of one line can have it: TOML allows anything at all in quotes."""
    return key if key.isprintable() else repr(key)


class ConfigError(BridgeError):
    """The operator's configuration cannot work. The message names the key and what is allowed."""


class CallEnded(BridgeError):  # noqa: N818 - not an error of anybody's: the way a handler learns that nobody listens any more
    """The call is over, so what was asked of it cannot be done. A handler may let this pass: it then ends normally."""
