"""What a service does, in the leg's words: a small closed union, the same for every dialect.

A dialect makes these of the service's messages. Nothing here names a vendor. Whatever a service says beyond them is
`Ignored`, under its name, so that tests see that it was known.
"""

import msgspec

from smartflo_bridge.agents.formats import AudioFormat
from smartflo_bridge.agents.message import Message


class Ready(msgspec.Struct, frozen=True):
    """The service takes the caller's audio from now on.

    `speaks` is the format of its speech, where it was only learnt now; None leaves the dialect's own.
    """

    speaks: AudioFormat | None = None


class Speech(msgspec.Struct, frozen=True, gc=False):
    """Speech of the agent, cut anywhere.

    `item` names what the service counts heard time over: a message of it, a response, a turn. Audio of one item is
    consecutive. A dialect never returns speech of a turn that was interrupted (see `Dialect.interrupt`).
    """

    audio: bytes
    item: str = ""


class SpeechDone(msgspec.Struct, frozen=True):
    """The agent has said all of what it is saying: nothing more of it comes, and its tail may be played."""


class BargeIn(msgspec.Struct, frozen=True):
    """Stop speaking at once: the caller speaks, or the service has taken back what it said."""


class MarkAsked(msgspec.Struct, frozen=True):
    """The service wants to be told when the caller has heard all speech so far."""

    name: str


class Transcript(msgspec.Struct, frozen=True):
    """What was said, as the service understood or meant it. Personal data: never log it."""

    is_caller: bool
    text: str


class ToolCall(msgspec.Struct, frozen=True):
    """The agent wants a function to be called. `arguments` is the text of a JSON object; `id` goes with the result."""

    id: str
    name: str
    arguments: str


class HangUpAsked(msgspec.Struct, frozen=True):
    """The agent ends the call; what it said is heard first."""


class GoAway(msgspec.Struct, frozen=True):
    """The service will close this connection in so many seconds, the call or not: another one is to take over."""

    seconds: float


class Resumption(msgspec.Struct, frozen=True):
    """With this handle a new connection goes on where this one is."""

    handle: str


class Answer(msgspec.Struct, frozen=True):
    """The service wants this said at once: what opens its session, a pong."""

    message: Message


class Failed(msgspec.Struct, frozen=True):
    """The service cannot serve this call. `reason` is for the log: it quotes nothing that a person said, and no key."""

    reason: str
    may_retry: bool = False


MALFORMED = "malformed"


class Ignored(msgspec.Struct, frozen=True):
    """A message without consequence, by its name; or, as `MALFORMED`, one that is none of the protocol, and counted."""

    name: str


Aside = Ready | Transcript | ToolCall | HangUpAsked | GoAway | Resumption | Answer | Failed | Ignored
"""What has nothing to do with speech."""

LegEvent = Speech | SpeechDone | BargeIn | MarkAsked | Aside
