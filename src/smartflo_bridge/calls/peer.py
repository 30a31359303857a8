"""The far end of a connection, as the actor sees it: three verbs, whatever carries them.

`server.connection` adapts a WebSocket to it; tests use a peer in memory. Exceptions of the carrier end in the adapter.
"""

from typing import Protocol

from smartflo_bridge.calls.inbox import Inbox


class Peer(Protocol):
    """One connection. Only its actor uses it."""

    def listen(self, inbox: Inbox) -> None:
        """From now on put each message into the inbox, undecoded and in order, and once the connection is gone why.

        Called once. While the inbox is full the carrier reads nothing. Never raises for the carrier's sake.
        """
        ...

    def send(self, *texts: bytes) -> None:
        """Write text messages, at once and without waiting. A peer that does not read is cut by the carrier, within its bound."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection; return when it is gone, in bounded time even if the peer does not answer."""
        ...
