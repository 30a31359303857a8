"""Where a stream is in its life: the columns of protocol.md's table. Only `session` moves it on."""

from enum import Enum


class State(Enum):
    """Where a stream is in its life. The transitions are protocol.md's table."""

    ACCEPTED = "accepted"
    CONNECTED = "connected"
    STREAMING = "streaming"
    STOPPED = "stopped"
