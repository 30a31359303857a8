"""The caller's half of a simulated call, by numbers for time: what falls due when, and how the platform words it."""

import json

import pytest

from smartflo_bridge.core.incoming import MediaEvent, StartEvent, parse_incoming_event
from smartflo_bridge.simulator.handset import Handset, Utter
from smartflo_bridge.simulator.messages import CallIds, Messages
from smartflo_bridge.simulator.plan import CallPlan, HangUp, Mute, Press, Speak, StopReading

SILENT = b"\xff"
IDS = CallIds(stream_sid="MZ1", call_sid="1758000000.4242", account_sid="AC77")


def test_audio_is_sent_when_it_has_been_spoken() -> None:
    """The first chunk is complete after one cadence; what the voice does not fill is silence."""
    handset = Handset(CallPlan(actions=(Speak(0.05, b"\x10" * 400), HangUp(9.0))))
    assert handset.deadline == pytest.approx(0.1)
    assert handset.release(0.099) == []
    assert handset.release(0.1) == [Utter(0.1, SILENT * 400 + b"\x10" * 400)]
    assert handset.release(0.2) == [Utter(0.2, SILENT * 800)]
    assert handset.spoken == SILENT * 400 + b"\x10" * 400 + SILENT * 800


def test_a_second_speech_waits_for_the_first() -> None:
    """One mouth: what would overlap is said afterwards."""
    handset = Handset(CallPlan(actions=(Speak(0.0, b"\x01" * 1000), Speak(0.05, b"\x02" * 600), HangUp(9.0))))
    handset.release(0.2)
    assert handset.spoken == b"\x01" * 1000 + b"\x02" * 600


def test_everything_overdue_comes_at_once_and_in_order() -> None:
    """The clock is absolute: a late release catches up, and the times are those that were due."""
    handset = Handset(CallPlan(actions=(HangUp(0.25), Press(0.15, "1"), StopReading(0.05))))
    due = handset.release(9.0)
    assert [type(one) for one in due] == [StopReading, Utter, Press, Utter, HangUp]
    assert [one.at_seconds for one in due] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


@pytest.mark.parametrize(
    ("actions", "hangs_up_at"),
    [((), 0.5), ((Speak(0.0, b"\x10" * 8000),), 1.5), ((Speak(0.0, b"\x10" * 8000), Press(2.0, "1")), 2.5)],
)
def test_without_a_hang_up_the_caller_lingers_and_goes(actions: tuple[Speak | Press, ...], hangs_up_at: float) -> None:
    """After the last word or key, whichever is later."""
    due = Handset(CallPlan(actions=actions, linger_seconds=0.5)).release(9.0)
    assert due[-1] == HangUp(hangs_up_at)


def test_the_cadence_is_the_plans() -> None:
    """20 ms: 160 bytes, fifty times a second."""
    due = Handset(CallPlan(cadence_ms=20, linger_seconds=1.0)).release(1.0)
    assert [one.timestamp_ms for one in due if isinstance(one, Utter)] == list(range(20, 1001, 20))
    assert {len(one.ulaw) for one in due if isinstance(one, Utter)} == {160}


def test_a_cadence_of_nothing_is_refused() -> None:
    """Time would stand still."""
    with pytest.raises(ValueError, match="at least 1 ms"):
        CallPlan(cadence_ms=0)


def test_start_is_worded_as_in_the_protocol() -> None:
    """Member for member the example of section 1; and our own parser reads it."""
    plan = CallPlan(from_number="9198xxxxxx01", to_number="9180xxxxxx99", custom_parameters={"a": "1"})
    message = Messages(IDS).start(plan)
    assert json.loads(message) == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC77",
            "streamSid": "MZ1",
            "callSid": "1758000000.4242",
            "from": "9198xxxxxx01",
            "to": "9180xxxxxx99",
            "direction": "inbound",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
            "customParameters": {"a": "1"},
        },
    }
    event = parse_incoming_event(message)
    assert isinstance(event, StartEvent)
    assert event.custom_parameters == {"a": "1"}


def test_messages_are_numbered_across_kinds_and_media_among_themselves() -> None:
    """`sequenceNumber` counts everything from `start`, `chunk` the media; both are strings."""
    messages = Messages(IDS)
    said = [messages.start(CallPlan()), messages.media(b"\x10" * 800, 100), messages.dtmf("4")]
    said += [messages.mark("u3.e1"), messages.media(b"\x11" * 800, 200), messages.stop("caller ended the call")]
    decoded = [json.loads(message) for message in said]
    assert [one["sequenceNumber"] for one in decoded] == ["1", "2", "3", "4", "5", "6"]
    assert [(one["media"]["chunk"], one["media"]["timestamp"]) for one in decoded if one["event"] == "media"] == [
        ("1", "100"),
        ("2", "200"),
    ]
    assert decoded[2]["dtmf"] == {"digit": "4"}
    assert decoded[3]["mark"] == {"name": "u3.e1"}
    assert decoded[5]["stop"] == {
        "accountSid": "AC77",
        "callSid": "1758000000.4242",
        "reason": "caller ended the call",
    }
    media = parse_incoming_event(said[1])
    assert isinstance(media, MediaEvent)
    assert media.ulaw == b"\x10" * 800
    assert json.loads(messages.connected()) == {"event": "connected"}


def test_what_the_plan_does_not_know_is_added_as_it_happens() -> None:
    """In its place by time, or at once if that has passed; speech waits for speech."""
    handset = Handset(CallPlan(), hangs_up=False)
    assert [type(one) for one in handset.release(0.5)] == [Utter] * 5
    for action in (Press(0.7, "2"), Press(0.6, "1"), Speak(0.5, b"\x01" * 800), Speak(0.5, b"\x02" * 800)):
        handset.act(action)
    due = handset.release(0.75)
    assert [one.digit for one in due if isinstance(one, Press)] == ["1", "2"]
    assert b"".join(one.ulaw for one in due if isinstance(one, Utter)) == b"\x01" * 800 + b"\x02" * 800
    handset.act(HangUp(0.1))
    assert handset.release(0.75) == [HangUp(0.1)]


def test_a_muted_platform_sends_nothing_and_time_goes_on() -> None:
    """What was said meanwhile is gone."""
    plan = CallPlan(actions=(Speak(0.0, b"\x01" * 4000), Mute(0.15), Mute(0.35, is_muted=False), HangUp(0.55)))
    sent = [one for one in Handset(plan).release(9.0) if isinstance(one, Utter)]
    assert [one.timestamp_ms for one in sent] == [100, 400, 500]


def test_jitter_delays_chunks_by_chance_and_keeps_their_order() -> None:
    """The same chances for the same seed; the time on the wire is the media's."""
    plan = CallPlan(cadence_ms=20, jitter_seconds=0.1, linger_seconds=2.0)
    sent = [one for one in Handset(plan).release(9.0) if isinstance(one, Utter)]
    times = [one.at_seconds + one.delay_seconds for one in sent]
    assert times == pytest.approx(sorted(times))
    assert {one.timestamp_ms for one in sent} == set(range(20, 20 * len(sent) + 1, 20))
    assert 0 < min(one.delay_seconds for one in sent) < 0.05 < max(one.delay_seconds for one in sent) < 0.1
    assert Handset(plan).release(9.0) == Handset(plan).release(9.0)
    other = CallPlan(cadence_ms=20, jitter_seconds=0.1, linger_seconds=2.0, seed=2)
    assert Handset(plan).release(9.0) != Handset(other).release(9.0)
