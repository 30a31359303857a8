"""Everything that can happen to a call beside the platform's events and the handler's commands."""

import msgspec


class _Signal(msgspec.Struct, frozen=True, tag_field="type"):
    """Tagged, so that a capture can be decoded again."""


class Opened(_Signal, frozen=True, tag="opened"):
    """The connection is accepted: always a session's first input, at `now` = 0."""


class Tick(_Signal, frozen=True, tag="tick"):
    """The session's deadline has come."""


class Malformed(_Signal, frozen=True, tag="malformed"):
    """A message could not be parsed. `reason` quotes nothing of it."""

    reason: str


class PeerLost(_Signal, frozen=True, tag="peer_lost"):
    """The connection is gone.

    `code` is the platform's close code, None if it died without one; `broke_protocol` says that the carrier cut it for
    what came over it, such as a message that is too large.
    """

    code: int | None = None
    reason: str = ""
    broke_protocol: bool = False

    @property
    def is_normal(self) -> bool:
        """True for the codes with which the platform ends a call; 1006 is our library's word for no close at all."""
        return self.code in (1000, 1001, 1005)


class HandlerDone(_Signal, frozen=True, tag="handler_done"):
    """The handler has returned, or failed; or its voice agent did, and it has said what there was to say."""

    failed: bool = False
    agent_lost: bool = False


class Refused(_Signal, frozen=True, tag="refused"):
    """The bridge will not serve this stream. `reason` is said to the platform with close code 1008."""

    reason: str


class HandlerStuck(_Signal, frozen=True, tag="handler_stuck"):
    """More key presses and marks wait for the handler than may: it takes nothing, or too slowly for what comes."""


class Undelivered(_Signal, frozen=True, tag="undelivered"):
    """Audio that was handed over for delivery never reached the handler; `reason` is the drop's name in the ledger."""

    byte_count: int
    reason: str


class Drained(_Signal, frozen=True, tag="drained"):
    """The time that a draining bridge gave its live calls is over."""


Signal = Opened | Tick | Malformed | PeerLost | HandlerDone | HandlerStuck | Refused | Undelivered | Drained
