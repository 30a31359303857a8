"""Fuzz target: a message of the platform, through the event decoder, and the same by a plain reading of its JSON.

The reading is protocol.md's section 1 once more, member by member over the standard library's `json`; the two must agree on
what is an event, what is unknown and what is malformed, and on all that an event says. Where JSON itself leaves it open, a
member given twice, a number beyond a double, bytes that are not UTF-8, there is nothing to compare.

The first byte says whether the others are a message, or choose one: what members it has, and of which of the values that lie
at the edges. Bytes alone would seldom get past the commas.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from corpus.case import Case, Wrapped, load, text_of
from fuzz.choices import Choices
from smartflo_bridge.core import incoming
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import UnknownEvent, parse_incoming_event
from smartflo_bridge.core.parameters import MAX_PARAMETER_BYTES, MAX_PARAMETERS

MAX_BYTES = 4096
MAX_REASON = 200
"""Characters of the sentence about a malformed message; it is written into a log."""

AS_IT_IS, CHOSEN = 0, 1
EVENTS = ["connected", "start", "media", "dtmf", "mark", "stop", "Media", "x" * 130]
PLACES: dict[str, list[str]] = {
    "": ["sequenceNumber", "streamSid", "from", "to", "start", "media", "dtmf", "mark", "stop"],
    "start": ["streamSid", "accountSid", "callSid", "from", "to", "direction", "mediaFormat", "customParameters"],
    "media": ["payload", "chunk", "timestamp", "track"],
    "dtmf": ["digit"],
    "mark": ["name"],
    "stop": ["accountSid", "callSid", "reason"],
}
EDGES: list[Any] = [
    *("", "x", "4", "8000", "a:b", '{"a":"b:1","b":2}', '{"a":', "audio/x-mulaw", "\u0000\x1b", "\U0001f600"),
    *("x" * length for length in (8, 9, 32, 33, 128, 129, 256, 257, 1024, 1025)),
    *("AAAA", "AA==", "AAA=", "AB==", "AAA", "AAAA====", "AA AA", "-_-_", "=", "\n"),
    *(-1, 0, 1, 9, 10, 2**53, 2**53 + 1, 1.5, -0.5, True, False, None, [], {}, [1], {"a": 1}),
    *({"encoding": "audio/x-mulaw", "sampleRate": 8000}, {"encoding": 1}, {"bitRate": "x" * 33}, {"bitDepth": -1}),
    *({"custom_identifier": '{"a":1}'}, {"a": {"b": [None, 1.5]}}, {str(number): "x" * 99 for number in range(70)}),
]

WORDS = [
    *(f'"{name}":' for name in ("event", "encoding", "sampleRate", "bitRate", "bitDepth", "custom_identifier")),
    *(f'"{name}":' for members in PLACES.values() for name in members),
    *(f'"{name}"' for name in EVENTS),
    *("9007199254740993", "1e400", "-1", "1.0", "true", "null", "NaN", '\\"', "\\u0000", "\\ud800", "\\ud83d\\ude00"),
    *('"AAAA"', '"AA=="', '"audio/x-mulaw"', '"8000"', "[[", '{"a":'),
]


class Undecided(Exception):  # noqa: N818 - it is no error
    """JSON leaves open what this is."""


def seeds() -> Iterator[bytes]:
    """Yield the messages of the corpus."""
    for category in "CDEFH":
        cases: list[Case] = load(category, Case)
        for case in cases:
            for message in case.send:
                yield bytes([AS_IT_IS]) + _bytes_of(message).replace(b"SID", b"MZ0a1")
    for event in range(len(EVENTS)):
        yield bytes([CHOSEN, event])
        yield bytes([CHOSEN, event, *(3 * number % 256 for number in range(60))])


def _bytes_of(message: Any) -> bytes:
    if not isinstance(message, Wrapped):
        return text_of(message).encode(errors="surrogatepass")
    return text_of(message.binary or message.latin or message.raw or "").encode("latin-1", errors="replace")


def check(data: bytes) -> None:
    """Compare the two; nothing but `ProtocolError` may be raised, and its sentence must be short and of our words."""
    choices = Choices(data)
    data = choices.rest() if choices.below(2) == AS_IT_IS else _chosen(choices)
    try:
        event: incoming.IncomingEvent | None = parse_incoming_event(data)
        sentence = ""
    except ProtocolError as error:
        event = None
        sentence = str(error)
    if event is None:
        assert len(sentence) <= MAX_REASON, sentence
        assert sentence.isprintable(), sentence
    else:
        _check_properties(event)
    try:
        expected = read(data)
    except Undecided:
        return
    assert said_of(event) == expected


def _chosen(choices: Choices) -> bytes:
    """Put a message together."""
    message: dict[str, Any] = {"event": choices.one_of(EVENTS)}
    while choices.are_left:
        place = choices.one_of(list(PLACES))
        inside = message if place == "" else message.setdefault(place, {})
        if isinstance(inside, dict):  # it may have been chosen to be something else
            inside[choices.one_of(PLACES[place])] = deepcopy(choices.one_of(EDGES))
    return json.dumps(message).encode()


def said_of(event: incoming.IncomingEvent | None) -> tuple[str, dict[str, object]] | None:
    """Return the name of an event and all that its struct has of it."""
    if event is None:
        return None
    if isinstance(event, UnknownEvent):
        return event.name, {}
    name = type(event).__name__.removesuffix("Event").lower()
    return name, {"": _values_of(event)}


def _values_of(struct: Any) -> Any:
    if not hasattr(struct, "__struct_fields__"):
        return struct
    return {field: _values_of(getattr(struct, field)) for field in struct.__struct_fields__}


def _check_properties(event: incoming.IncomingEvent) -> None:
    """Ask an event for everything that a handler may ask it."""
    for name in dir(type(event)):
        if isinstance(getattr(type(event), name), property):
            getattr(event, name)
    if isinstance(event, incoming.MediaEvent):
        assert len(event.pcm) == 2 * len(event.ulaw)
    if isinstance(event, incoming.StartEvent):
        parameters = event.custom_parameters
        assert len(parameters) <= MAX_PARAMETERS
        size = sum(len(text.encode(errors="replace")) for pair in parameters.items() for text in pair)
        assert size <= MAX_PARAMETER_BYTES
        assert all(isinstance(text, str) for pair in parameters.items() for text in pair)


# --- The plain reading

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Wrong(Exception):  # noqa: N818 - it ends here
    """It is not what the protocol says."""


def read(data: bytes) -> tuple[str, dict[str, object]] | None:
    """Return the name of an event and what it says, or None for a malformed one.

    Raises:
        Undecided: the standard library and msgspec may both be right.
    """
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
        )
    except (UnicodeDecodeError, RecursionError):
        raise Undecided from None  # msgspec looks only at what it uses
    except ValueError:
        return None
    if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise Undecided  # an escape of half a character, which msgspec refuses
    try:
        return _event(value)
    except Wrong:
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Undecided
    return members


def _int(text: str) -> int:
    if len(text) > 18:
        raise Undecided  # beyond 64 bits msgspec reads a float where any value will do
    return int(text)


def _float(text: str) -> float:
    if abs(float(text)) in (0.0, float("inf")) or float(text).is_integer():
        raise Undecided
    return float(text)


def _constant(text: str) -> float:
    raise ValueError(text)


def _event(value: Any) -> tuple[str, dict[str, object]]:
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        raise Wrong
    name = value["event"]
    if name == "connected":
        return name, {"": {}}
    reader = _READERS.get(name)
    if reader is None:
        return name[:128], {}
    read = {"sequence_number": _counter(value, "sequenceNumber"), "stream_sid": _opaque(value, "streamSid")}
    return name, {"": read | reader(value)}


def _start(value: dict[str, Any]) -> dict[str, Any]:
    read = {"start": None, "from_outside": _number(value, "from"), "to_outside": _number(value, "to")}
    inside = _inside(value, "start", is_needed=False)
    if inside is not None:
        audio = _inside(inside, "mediaFormat", is_needed=False)
        numbers = {name: _number(inside, member) for name, member in (("from_number", "from"), ("to_number", "to"))}
        read["start"] = numbers | {
            "stream_sid": _opaque(inside, "streamSid"),
            "account_sid": _opaque(inside, "accountSid"),
            "call_sid": _opaque(inside, "callSid"),
            "direction": _opaque(inside, "direction"),
            "custom_parameters": inside.get("customParameters"),
            "media_format": None if audio is None else _media_format(audio),
        }
    return read


def _media_format(value: dict[str, Any]) -> dict[str, Any]:
    counters = {"sample_rate": "sampleRate", "bit_rate": "bitRate", "bit_depth": "bitDepth"}
    return {"encoding": _opaque(value, "encoding")} | {to: _counter(value, name) for to, name in counters.items()}


def _media(value: dict[str, Any]) -> dict[str, Any]:
    inside = _inside(value, "media")
    payload = inside.get("payload")
    if not isinstance(payload, str) or not _BASE64.fullmatch(payload):
        raise Wrong
    counters = {"chunk": _counter(inside, "chunk"), "timestamp": _counter(inside, "timestamp")}
    return {"media": {"payload": base64.b64decode(payload)} | counters}


def _dtmf(value: dict[str, Any]) -> dict[str, Any]:
    digit = _inside(value, "dtmf").get("digit")
    is_text = isinstance(digit, str) and 1 <= len(digit) <= 8
    if not is_text and not (type(digit) is int and 0 <= digit <= 9):
        raise Wrong
    return {"dtmf": {"digit": digit}}


def _mark(value: dict[str, Any]) -> dict[str, Any]:
    name = _inside(value, "mark").get("name")
    if not isinstance(name, str) or len(name) > 256:
        raise Wrong
    return {"mark": {"name": name}}


def _stop(value: dict[str, Any]) -> dict[str, Any]:
    inside = _inside(value, "stop", is_needed=False)
    if inside is None:
        return {"stop": None}
    ids = {"account_sid": _opaque(inside, "accountSid"), "call_sid": _opaque(inside, "callSid")}
    return {"stop": ids | {"reason": _opaque(inside, "reason", 1024)}}


def _inside(value: dict[str, Any], name: str, *, is_needed: bool = True) -> Any:
    inside = value.get(name)
    if not isinstance(inside, dict) and (is_needed or inside is not None):
        raise Wrong
    return inside


def _opaque(value: dict[str, Any], name: str, longest: int = 128) -> Any:
    member = value.get(name)
    if member is not None and not (isinstance(member, str) and len(member) <= longest):
        raise Wrong
    return member


def _number(value: dict[str, Any], name: str) -> Any:
    return _whole_or_opaque(value, name, 128)


def _counter(value: dict[str, Any], name: str) -> Any:
    return _whole_or_opaque(value, name, 32)


def _whole_or_opaque(value: dict[str, Any], name: str, longest: int) -> Any:
    member = value.get(name)
    if type(member) is int and 0 <= member <= 2**53:
        return member
    return _opaque(value, name, longest)


_READERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "start": _start,
    "media": _media,
    "dtmf": _dtmf,
    "mark": _mark,
    "stop": _stop,
}
