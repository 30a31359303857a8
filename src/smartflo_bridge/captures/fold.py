"""The exact replay: a capture's inputs folded through a fresh session, and what that says laid beside what was said.

Pure, and as fast as the session is: the times are the capture's. A difference is never the clock's or the network's
fault: the software has changed its mind since, or the capture was changed.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from smartflo_bridge.captures.format import CaptureError, Header, Record, end_record
from smartflo_bridge.core.effects import Send
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import parse_incoming_event
from smartflo_bridge.core.outgoing import encode_outgoing_event
from smartflo_bridge.core.session import Input, Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Malformed

CONTEXT = 8
"""How many inputs before a difference are kept, to be shown with it."""

END_MEMBERS = ("termination", "code", "reason")


class Difference(msgspec.Struct, frozen=True):
    """The first thing that the session does otherwise.

    Attributes:
        at_ns: when, on the capture's clock.
        line: of the file, the header's being 1: where the captured thing stands, or where it is missing.
        captured: a message, or a JSON object with one fact about the end; None if the capture has nothing here.
        now: the same, as the session does it now.
        inputs: what the session was given before, the oldest first. The last one brought this about.
    """

    at_ns: int
    line: int
    captured: bytes | None
    now: bytes | None
    inputs: tuple[Record, ...]


class Fold(msgspec.Struct):
    """What came of a fold, up to the first difference or the end of the capture.

    Attributes:
        inputs: how many the session was given.
        messages: how many it sent, just as captured.
        seconds: of the call, on the capture's clock.
        is_complete: the capture holds the call's end; one without was cut.
    """

    inputs: int = 0
    messages: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    difference: Difference | None = None


class Replay:
    """A session that is given a capture's inputs.

    Attributes:
        pending: the messages that it has sent, and nobody has taken yet.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.session = Session(settings)
        self.pending: deque[bytes] = deque()

    def give(self, record: Record) -> None:
        """Give the session the input that a line holds.

        Raises:
            CaptureError: it holds none.
        """
        for effect in self.session.handle(input_in(record), record.t / 1e9):
            if isinstance(effect, Send):
                self.pending.append(encode_outgoing_event(effect.shown))

    def take(self) -> bytes | None:
        """Return the oldest message that is pending, or None."""
        return self.pending.popleft() if self.pending else None


def fold(header: Header, records: Iterable[Record]) -> Fold:
    """Give a fresh session what the captured one was given, and compare what it does.

    Raises:
        CaptureError: a line is none that this software knows.
    """
    result, replay = Fold(), Replay(header.settings)
    given: deque[Record] = deque(maxlen=CONTEXT)
    for line, record in enumerate(records, 2):
        if record.dir == "cut":
            break
        captured, now = (record.wire, replay.take()) if record.dir == "out" else (None, replay.take())
        if record.dir == "end" and now is None:
            captured, now = difference_at_end(record, replay.session)
            result.is_complete = True
        if captured != now:
            at_ns = given[-1].t if captured is None and given else record.t
            result.difference = Difference(at_ns, line, captured, now, tuple(given))
            break
        if record.dir == "out":
            result.messages += 1
        elif record.dir != "end":
            replay.give(record)
            given.append(record)
            result.inputs += 1
        result.seconds = record.t / 1e9
    return result


def input_in(record: Record) -> Input:
    """Return what the session was given, as the actor gives it."""
    text = record.wire if record.dir == "in" else None
    if text is not None:
        try:
            return parse_incoming_event(text)
        except ProtocolError as error:
            return Malformed(str(error))
    given = record.command or record.signal
    if record.dir != "do" or given is None:
        msg = f"a line of the capture is neither input nor output, but {record.dir!r}"
        raise CaptureError(msg)
    return given


def difference_at_end(captured: Record, session: Session) -> tuple[bytes | None, bytes | None]:
    """Return the first fact about a call's end that differs, as it was and as it is; twice None if none does.

    A ledger of today may count what one of yesterday did not: only what was captured is compared.
    """
    now = end_record(captured.t, session)
    facts = {name: (getattr(captured, name), getattr(now, name)) for name in END_MEMBERS}
    now_ledger = now.ledger or {}
    facts |= {name: (count, now_ledger.get(name)) for name, count in (captured.ledger or {}).items()}
    for name, (before, after) in facts.items():
        if before != after:
            return msgspec.json.encode({name: before}), msgspec.json.encode({name: after})
    return None, None
