"""The settings of a session: their defaults, their bounds, and how they come out of a configuration file."""

import msgspec
import pytest

from smartflo_bridge.core.settings import HangUpWay, SendConnected, SessionSettings


def test_the_defaults():
    """Those of the protocol page, and of the design."""
    assert msgspec.to_builtins(SessionSettings()) == {
        "send_connected": "auto",
        "hang_up": "close",
        "start_deadline_seconds": 10.0,
        "idle_seconds": 60.0,
        "max_call_seconds": 14_400.0,
        "lead_seconds": 0.2,
        "packet_seconds": 0.1,
        "queue_seconds": 60.0,
        "mark_slack_seconds": 2.0,
        "bad_message_budget": 20,
        "max_messages_per_second": 200.0,
        "max_audio_speed": 4.0,
    }


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("send_connected", ["auto", "always", "never"], ["Auto", "", True, None]),
        ("hang_up", ["close", "end"], ["rest", None]),
        ("start_deadline_seconds", [0.1, 10, 86_400], [0, -1, 86_401, "10", float("inf"), float("nan"), None]),
        ("idle_seconds", [0.1, 86_400], [0, -1, 86_401, float("inf"), float("nan")]),
        ("max_call_seconds", [0.1, 86_400], [0, -1, 86_401, float("inf"), float("nan")]),
        ("mark_slack_seconds", [0.1, 86_400], [0, -1, 86_401, float("nan")]),
        ("lead_seconds", [0.2, 1, 2.0], [0, 0.03, 2.1, -1, float("nan")]),
        ("packet_seconds", [0.02, 0.1], [0, 0.019, 1.1, -1, float("nan")]),
        ("queue_seconds", [0.2, 3_600], [0, 0.1, 3_601, float("nan")]),
        ("bad_message_budget", [0, 20, 10**6], [-1, 1.5, "20"]),
        ("max_messages_per_second", [0.1, 200, 100_000], [0, -1, 100_001, "200", float("nan"), None]),
        ("max_audio_speed", [1, 4.0, 10_000], [0.9, 0, 10_001, float("inf"), float("nan")]),
    ],
)
def test_bounds(key: str, good: list[object], bad: list[object]):
    """Each key takes what is within its bounds, and the error for anything else names it."""
    for value in good:
        assert getattr(msgspec.convert({key: value}, SessionSettings), key) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{key}"):
            msgspec.convert({key: value}, SessionSettings)


@pytest.mark.parametrize(("lead", "packet"), [(0.04, 0.1), (0.2, 0.21), (0.99, 1.0)])
def test_a_packet_fits_into_the_lead(lead: float, packet: float):
    """A packet that the lead could never let go is refused, in code and from a file, in a sentence for the operator."""
    with pytest.raises(ValueError, match="packet-seconds") as caught:
        SessionSettings(lead_seconds=lead, packet_seconds=packet)
    assert "lead-seconds" in str(caught.value)
    with pytest.raises(msgspec.ValidationError, match="packet-seconds"):
        msgspec.convert({"lead_seconds": lead, "packet_seconds": packet}, SessionSettings)


def test_settings_survive_a_capture():
    """A capture's header holds them; read back they are the same."""
    settings = SessionSettings(send_connected=SendConnected.NEVER, hang_up=HangUpWay.END, lead_seconds=0.3)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=SessionSettings) == settings


def test_settings_are_values():
    """A call's settings do not change while it lasts."""
    with pytest.raises(AttributeError):
        SessionSettings().lead_seconds = 1.0  # type: ignore[misc]
