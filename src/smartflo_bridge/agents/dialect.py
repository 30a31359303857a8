"""The seam between what all legs share and what is one service's own.

A dialect is a class without I/O: it is given what happened on the call and returns the messages to send, is given the
service's messages and returns what they mean. It knows no clock, no task, no socket and no call, so it is tested with
values alone. It keeps what one connection has to remember; a new connection gets a new dialect, and `Opening` tells it
what came before.

To add a service: one module with a frozen struct of its keys (see `settings`), a class with these methods, and a line in
`kinds`. `Dialect` has defaults for all that a service may not have, so that a module holds only what is its own.
"""

from typing import ClassVar

import msgspec

from smartflo_bridge.agents.events import Failed, HangUpAsked, LegEvent, Transcript
from smartflo_bridge.agents.formats import ULAW_8K, AudioFormat
from smartflo_bridge.agents.message import Message

NORMAL_CLOSE = (1000, 1005)
"""RFC 6455, 7.4.1: the service has finished; 1005 is a close without a code. 1001 is a server that is being restarted."""

OUR_FAULT = (1002, 1003, 1007, 1008, 1009, 1010)
"""RFC 6455, 7.4.1: it did not like what we sent, or who we are; the same again will not help."""


class CallFacts(msgspec.Struct, frozen=True):
    """What a service is told about the call: only what the configuration allows. Personal data: never log it."""

    stream_sid: str
    call_sid: str | None = None
    account_sid: str | None = None
    direction: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    custom_parameters: dict[str, str] = {}


class Tool(msgspec.Struct, frozen=True):
    """A function that the agent may call. `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: dict[str, object]


class Opening(msgspec.Struct, frozen=True):
    """What a new connection begins with.

    `is_first` is False when the caller has talked over an earlier connection already: a greeting would be odd then.
    `handle` is the newest `Resumption` of the connection before, `said` what was said on it, the latest last: for a
    service that cannot resume.
    """

    facts: CallFacts
    key: str = ""
    tools: tuple[Tool, ...] = ()
    is_first: bool = True
    handle: str | None = None
    said: tuple[Transcript, ...] = ()


class HttpRequest(msgspec.Struct, frozen=True):
    """A request that has to be made before the service can be dialled, and whose answer says where."""

    url: str
    headers: dict[str, str] = {}
    body: bytes | None = None
    """None is a GET, anything else a POST of JSON."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a service is dialled. Headers may hold a key: neither is ever logged.

    `beside` are other connections of the same line, by the names that their messages have: see `beside.Beside`.
    """

    url: str
    headers: dict[str, str] = {}
    subprotocols: tuple[str, ...] = ()
    beside: dict[str, "Endpoint"] = {}


class Dialect:
    """One connection to a service. Subclasses override what their service has.

    Attributes:
        hears: the format in which it is given the caller's audio; may be set until it is ready.
        speaks: the format of its speech, as agreed; `Ready.speaks` may say otherwise.
        awaits_ready: False if the service may be spoken to at once, and says nothing to that effect.
        notices_barge_in: False while the service does not say when the caller speaks over it: the leg then listens itself.
        keep_alive_seconds: how often the service has to be told that we are still there; 0 for never.
        wants_speech_edges: True if it is to be told when the caller's speech begins and ends, as the leg hears it.
    """

    hears: AudioFormat = ULAW_8K
    speaks: AudioFormat = ULAW_8K
    notices_barge_in: bool = True
    awaits_ready: ClassVar[bool] = True
    wants_speech_edges: ClassVar[bool] = False
    keep_alive_seconds: ClassVar[float] = 0.0

    # --- The connection

    def request(self) -> HttpRequest | None:
        """Return what has to be asked over HTTP before dialling, if anything."""
        return None

    def endpoint(self, answer: bytes | None) -> Endpoint | Failed:
        """Return where to dial. `answer` is the body of the answer to `request`, where there was one."""
        raise NotImplementedError

    def opening(self) -> list[Message]:
        """Return what is said first. The service is ready when `receive` has returned `Ready`."""
        return []

    def receive(self, message: Message) -> list[LegEvent]:
        """Take one message of the service; return what it means, in order. Never raises, whatever the message is."""
        raise NotImplementedError

    def closed(self, code: int | None, reason: str) -> HangUpAsked | Failed:
        """Say what it means that the service has closed the connection, or (code None) that it died."""
        if code in NORMAL_CLOSE:
            return HangUpAsked()
        return Failed(f"connection closed with {code}" if code else "connection lost", may_retry=code not in OUR_FAULT)

    def keep_alive(self) -> list[Message]:
        """Return what says that we are still there; only where `keep_alive_seconds` is set."""
        return []

    def end(self) -> list[Message]:
        """Return what is said last: the call is over, or another connection has taken its place."""
        return []

    # --- The caller

    def hear(self, audio: bytes) -> list[Message]:
        """Return the messages that carry the caller's audio, in the format `hears`, of any length."""
        raise NotImplementedError

    def press(self, digit: str) -> list[Message]:
        """Return what tells of a key, as itself or as text."""
        return []

    def notice_speech(self, *, is_speech: bool) -> list[Message]:
        """Return what tells that the caller's speech begins or has ended; only where `wants_speech_edges`."""
        return []

    # --- The agent's speech

    def interrupt(self) -> list[Message]:
        """The leg has stopped the speech by its own decision: return what stops the service.

        From now on until the service's next turn its speech is stale, and `receive` does not return it.
        """
        return []

    def tell_heard(self, item: str, heard_ms: int) -> list[Message]:
        """Return what tells that only so much of an item was heard, because it was interrupted. Items have names here."""
        return []

    def tell_cleared(self, heard_ms: int) -> list[Message]:
        """Return what tells that the speech has been stopped as asked, and how much of it had been heard since the last."""
        return []

    def reach(self, name: str, *, was_played: bool) -> list[Message]:
        """Return what tells that a mark was reached, or, when its speech was interrupted, will not be."""
        return []

    # --- Tools

    def tool_result(self, call: str, result: str) -> list[Message]:
        """Return what answers the `ToolCall` of this id. `result` is text, usually JSON."""
        return []
