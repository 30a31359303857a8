"""A case of the corpus: what is sent, where in a call, and what is to become of it. One line of a `.jsonl` file each.

What is sent is a list of messages. A message is a string, or a list of strings and `[string, count]` for what is repeated;
under `binary` it goes into a binary message, under `latin` its characters are bytes of a text message, under `raw` bytes of
the connection. `SID` stands for the call's stream, `OTHER` for another one. An id is never given to another case.

`action` is what happens: `accept`, `ignore` (counted under a name of its own), `drop` (counted as malformed), `close`.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).parent

Parts = str | list[str | tuple[str, int]]


class Wrapped(msgspec.Struct, forbid_unknown_fields=True):
    """A message that is no text of characters."""

    binary: Parts | None = None
    latin: Parts | None = None
    raw: Parts | None = None


Message = Parts | Wrapped


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """A case of categories B to H: messages in a call.

    Attributes:
        id: stable.
        what: in words.
        send: the messages; all of them, `times` over.
        action: see above.
        code: with which the connection is closed, where that is not 1000 after our `stop`.
        also: another code that is as right, where it depends on how much comes at once.
        positions: where it is sent: `before` the start, as the `start`, in the `call`, `after` the stop.
        counters: anomalies in the call's ledger.
        before: the same, where it is sent before the start.
        dropped: bytes of audio by the reason of their drop.
    """

    id: str
    what: str
    send: list[Message]
    action: str
    code: int = 1000
    also: int | None = None
    times: int = 1
    positions: list[str] = msgspec.field(default_factory=lambda: ["before", "call", "after"])
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    before: dict[str, int] | None = None
    dropped: dict[str, int] = msgspec.field(default_factory=dict)


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """A case of category A: bytes on a new connection. `expect` are HTTP statuses; 0 is a close without any."""

    id: str
    what: str
    send: list[str | tuple[str, int]]
    expect: list[int]
    wants_token: bool = False


class Mistake(msgspec.Struct, forbid_unknown_fields=True):
    """A case of category J: a configuration, and words of the one line that refuses it."""

    id: str
    what: str
    text: Message
    words: list[str]
    at_start: bool = False


def load(category: str, kind: Any) -> list[Any]:
    """Return the cases of a category."""
    (file,) = FOLDER.glob(f"{category}-*.jsonl")
    return [msgspec.json.decode(line, type=kind) for line in file.read_bytes().splitlines()]


def text_of(parts: Parts) -> str:
    """Put the parts of a message together."""
    listed = [parts] if isinstance(parts, str) else parts
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in listed)


def audio_of(text: str) -> str | None:
    """Return the payload of a media message that belongs to the call, as it stands; None if it is none."""
    try:
        event = json.loads(text)
        is_ours = event["event"] == "media" and event.get("streamSid", "SID") == "SID"
        return str(event["media"]["payload"]) if is_ours else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
