"""The platform's messages in every form that was seen, or that the documents allow. Pure; the caller calls it.

A message is made by `messages` as in the protocol's examples and changed here. All forms mean the same: a bridge that
reads them alike has nothing to notice but, in a log, an event it does not know.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from smartflo_bridge.simulator.plan import Variant

Json = dict[str, Any]

_encoder = msgspec.json.Encoder()
_GAP = 7
_PARAMETERS = "customParameters"
_NEST = "custom_identifier"


def vary(message: bytes, variants: frozenset[Variant]) -> list[bytes]:
    """Return the messages to be sent instead of this one: usually one, sometimes none or two."""
    event: Json = msgspec.json.decode(message)
    for variant, change in _CHANGES.items():
        if variant in variants:
            change(event)
    events = [event]
    match event["event"]:
        case "connected" if Variant.NO_CONNECTED in variants:
            events = []
        case "start":
            events += [event] * (Variant.START_TWICE in variants)
            if Variant.UNKNOWN_EVENT in variants:
                events.append({"event": "heartbeat", "streamSid": event.get("streamSid"), "heartbeat": {"load": 0.5}})
        case _:
            pass
    return [_encoder.encode(one) for one in events]


def _as_number(members: Json, name: str) -> None:
    if name in members:
        members[name] = int(members[name])


def _counters_as_numbers(event: Json) -> None:
    _as_number(event, "sequenceNumber")
    for name in ("chunk", "timestamp"):
        _as_number(event.get("media", {}), name)


def _no_sequence(event: Json) -> None:
    event.pop("sequenceNumber", None)


def _sequence_gaps(event: Json) -> None:
    if "sequenceNumber" in event:
        event["sequenceNumber"] = str(int(event["sequenceNumber"]) * _GAP)


def _in_start(change: Callable[[Json, Json], None]) -> Callable[[Json], None]:
    """Apply a change to `start` only: it is given the event and its inner object."""

    def apply(event: Json) -> None:
        if event["event"] == "start":
            change(event, event["start"])

    return apply


def _numbers_outside(event: Json, start: Json) -> None:
    event |= {"from": start.pop("from"), "to": start.pop("to")}


def _format_as_strings(_: Json, start: Json) -> None:
    if "mediaFormat" in start:
        start["mediaFormat"] = {name: str(value) for name, value in start["mediaFormat"].items()}


def _as_text(_: Json, start: Json) -> None:
    if isinstance(start.get(_PARAMETERS), dict):
        start[_PARAMETERS] = msgspec.json.encode(start[_PARAMETERS]).decode()


def _nested(_: Json, start: Json) -> None:
    if isinstance(start.get(_PARAMETERS), dict):
        start[_PARAMETERS] = {_NEST: msgspec.json.encode(start[_PARAMETERS]).decode()}


def _as_pairs(_: Json, start: Json) -> None:
    if isinstance(start.get(_PARAMETERS), dict) and _NEST not in start[_PARAMETERS]:
        pairs = enumerate(start[_PARAMETERS].items(), 1)
        start[_PARAMETERS] = {f"parameter{number}": f"{name}:{value}" for number, (name, value) in pairs}


def _twilio(event: Json) -> None:
    match event["event"]:
        case "connected":
            event |= {"protocol": "Call", "version": "1.0.0"}
        case "start":
            event["start"]["tracks"] = ["inbound"]
        case "media":
            event["media"]["track"] = "inbound"
        case _:
            pass


def _unknown_members(event: Json) -> None:
    event["region"] = {"name": "in-west", "zones": [1, 2, None]}
    for inner in event.values():
        if isinstance(inner, dict) and event["event"] != "dtmf":
            inner["extra"] = "x"


def _stop(event: Json, *, is_bare: bool) -> None:
    if event["event"] == "stop":
        if is_bare:
            event.pop("stop", None)
        else:
            event.get("stop", {}).pop("reason", None)


def _drop(*names: str) -> Callable[[Json], None]:
    return _in_start(lambda _, start: [start.pop(name, None) for name in names].clear())


_CHANGES: dict[Variant, Callable[[Json], None]] = {
    Variant.COUNTERS_AS_NUMBERS: _counters_as_numbers,
    Variant.NO_SEQUENCE: _no_sequence,
    Variant.SEQUENCE_GAPS: _sequence_gaps,
    Variant.SID_OUTSIDE_ONLY: _drop("streamSid"),
    Variant.SID_INSIDE_ONLY: _in_start(lambda event, _: event.__delitem__("streamSid")),
    Variant.NUMBERS_OUTSIDE: _in_start(_numbers_outside),
    Variant.NO_DIRECTION: _drop("direction"),
    Variant.NO_MEDIA_FORMAT: _drop("mediaFormat"),
    Variant.FORMAT_AS_STRINGS: _in_start(_format_as_strings),
    Variant.PARAMETERS_AS_TEXT: _in_start(_as_text),
    Variant.PARAMETERS_NESTED: _in_start(_nested),
    Variant.PARAMETERS_AS_PAIRS: _in_start(_as_pairs),
    Variant.PARAMETERS_NULL: _in_start(lambda _, start: start.update({_PARAMETERS: None})),
    Variant.NO_PARAMETERS: _drop(_PARAMETERS),
    Variant.TWILIO_MEMBERS: _twilio,
    Variant.UNKNOWN_MEMBERS: _unknown_members,
    Variant.BARE_STOP: lambda event: _stop(event, is_bare=True),
    Variant.STOP_WITHOUT_REASON: lambda event: _stop(event, is_bare=False),
}
