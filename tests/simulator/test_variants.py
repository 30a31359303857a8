"""The platform's messages in every form: all mean the same to the bridge's own reader."""

import json
from typing import Any

import pytest

from smartflo_bridge.core.incoming import MediaEvent, StartEvent, StopEvent, UnknownEvent, parse_incoming_event
from smartflo_bridge.simulator.messages import CallIds, Messages
from smartflo_bridge.simulator.plan import CallPlan, Variant
from smartflo_bridge.simulator.variants import vary

IDS = CallIds(stream_sid="MZ1", call_sid="1758000000.4242", account_sid="AC77")
PLAN = CallPlan(custom_parameters={"queue": "sales", "language": "hi"})
WITHOUT_PARAMETERS = {Variant.NO_PARAMETERS, Variant.PARAMETERS_NULL}


def call(*variants: Variant) -> list[dict[str, Any]]:
    """Word one call of everything; read it as the bridge does; return it as JSON."""
    messages = Messages(IDS)
    said = [messages.connected(), messages.start(PLAN), messages.media(b"\xff" * 800, 100), messages.dtmf("4")]
    said += [messages.mark("u1"), messages.stop("caller ended the call")]
    varied = [one for message in said for one in vary(message, frozenset(variants))]
    for one in varied:
        parse_incoming_event(one)
    return [json.loads(one) for one in varied]


def start_of(varied: list[dict[str, Any]]) -> StartEvent:
    """Return `start` as the bridge reads it."""
    event = parse_incoming_event(json.dumps(next(one for one in varied if one["event"] == "start")))
    assert isinstance(event, StartEvent)
    return event


@pytest.mark.parametrize("first", Variant)
def test_every_form_means_the_same(first: Variant) -> None:
    """By itself and with each other one: the stream, the call, the numbers, the parameters."""
    for variants in ({first, second} for second in Variant):
        varied = call(*variants)
        start = start_of(varied)
        is_lost = {Variant.SID_OUTSIDE_ONLY, Variant.SID_INSIDE_ONLY} <= variants
        assert start.sid == (None if is_lost else "MZ1")
        assert (start.call_sid, start.from_number, start.to_number) == (
            "1758000000.4242",
            PLAN.from_number,
            PLAN.to_number,
        )
        wanted = {} if WITHOUT_PARAMETERS & variants else PLAN.custom_parameters
        assert wanted.items() <= start.custom_parameters.items()
        media = next(one for one in varied if one["event"] == "media")
        assert isinstance(parse_incoming_event(json.dumps(media)), MediaEvent)


def test_no_form_is_the_usual_one() -> None:
    """Each changes something."""
    usual = call()
    assert all(call(variant) != usual for variant in Variant)
    assert call(Variant.COUNTERS_AS_NUMBERS)[2]["media"]["chunk"] == 1
    assert "direction" not in call(Variant.NO_DIRECTION)[1]["start"]
    assert call(Variant.NO_CONNECTED)[0]["event"] == "start"
    assert [one["event"] for one in call(Variant.START_TWICE)][1:3] == ["start", "start"]
    assert isinstance(parse_incoming_event(json.dumps(call(Variant.UNKNOWN_EVENT)[2])), UnknownEvent)
    stop = parse_incoming_event(json.dumps(call(Variant.BARE_STOP)[-1]))
    assert isinstance(stop, StopEvent)
    assert stop.reason is None
