"""What the session wants done: values that the actor carries out, in their order."""

from enum import StrEnum

import msgspec

from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.core.incoming import DTMFEvent, MarkEvent, MediaEvent, StartEvent, StopEvent
from smartflo_bridge.core.outgoing import MediaEvent as Speech
from smartflo_bridge.core.outgoing import OutgoingEvent


class Termination(StrEnum):
    """How a call ended: a closed set, for logs and metrics."""

    COMPLETED = "completed"
    HUNG_UP = "hung_up"
    PEER_LOST = "peer_lost"
    HANDLER_FAILED = "handler_failed"
    AGENT_LOST = "agent_lost"
    PROTOCOL_ERROR = "protocol_error"
    LIMIT = "limit"
    DRAINED = "drained"


class MarkResult(StrEnum):
    """What became of a mark."""

    PLAYED = "played"
    DISCARDED = "discarded"
    TIMED_OUT = "timed_out"


class MarkOutcome(msgspec.Struct, frozen=True):
    """What became of a mark, and how much of its utterance, back to the mark or the silence before it, was heard."""

    name: str
    result: MarkResult
    heard_ms: int

    @property
    def was_played(self) -> bool:
        """True if the platform reported that it played up to the mark."""
        return self.result is MarkResult.PLAYED


class InterruptOutcome(msgspec.Struct, frozen=True):
    """How much of the utterance that was playing the caller heard, and how much queued audio was never sent.

    `unheard_ms` is all of our audio that the caller will never hear, sent or not. Whoever knows how much was queued since
    the last interrupt knows from it how much was heard, across pauses too, where `heard_ms` begins anew.
    """

    heard_ms: int
    dropped_ms: int
    unheard_ms: int = 0


class Room(msgspec.Struct, frozen=True):
    """The outbound queue has room again."""


Outcome = MarkOutcome | InterruptOutcome | Room

HandlerEvent = StartEvent | MediaEvent | DTMFEvent | MarkEvent | StopEvent


class Send(msgspec.Struct, frozen=True, gc=False):
    """Write one event to the peer. `is_muted`: taps get silence in the place of its audio (see `muting`)."""

    event: OutgoingEvent
    is_muted: bool = False

    @property
    def shown(self) -> OutgoingEvent:
        """The event as taps may see it."""
        if not self.is_muted or not isinstance(self.event, Speech):
            return self.event
        silence = SILENCE * len(self.event.media.payload)
        return Speech(self.event.stream_sid, msgspec.structs.replace(self.event.media, payload=silence))


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Hand one event to the handler. The first is always the `StartEvent`; nothing follows a `StopEvent`."""

    event: HandlerEvent


class Reply(msgspec.Struct, frozen=True):
    """Answer the command that carried this ticket."""

    ticket: int
    outcome: Outcome


class Notice(msgspec.Struct, frozen=True):
    """Something an operator should know, at most once a kind and call. Quotes nothing of a message."""

    kind: str
    text: str


class Close(msgspec.Struct, frozen=True):
    """The call is over: close the connection, if it is still there. The last effect of every session, exactly once."""

    termination: Termination
    code: int
    reason: str


Effect = Send | Deliver | Reply | Notice | Close
