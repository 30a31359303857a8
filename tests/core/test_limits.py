"""The clocks of a call: how long it may not begin, be silent, or last, and when we greet first."""

import pytest

from core.support import HANG_UP, Driver, connected, dtmf, media, play, speech, start, stop, streaming
from smartflo_bridge.core.incoming import UnknownEvent
from smartflo_bridge.core.ledger import Ledger
from smartflo_bridge.core.limits import AUTO_CONNECTED_SECONDS, STOP_WAIT_SECONDS, Limits
from smartflo_bridge.core.session import Input
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Malformed, Tick


def test_the_times_of_the_protocol_page():
    """500 ms until we greet first, 2 s for a stop, 10 s for a start, 60 s of silence."""
    settings = SessionSettings()
    assert (AUTO_CONNECTED_SECONDS, STOP_WAIT_SECONDS) == (0.5, 2.0)
    assert (settings.start_deadline_seconds, settings.idle_seconds, settings.max_call_seconds) == (10, 60, 14_400)


# --- Who says connected


@pytest.mark.parametrize(
    ("setting", "at_once", "later"),
    [("auto", [], ["0.500 connected"]), ("always", ["connected"], []), ("never", [], [])],
)
def test_a_silent_peer(setting: str, at_once: list[str], later: list[str]):
    """It may wait for our `connected`: said at once, after 500 ms of silence, or not at all; then it has 10 s to start."""
    call = Driver(send_connected=setting)
    assert call.greeting == at_once
    assert call.run(until=60) == [*later, "10.000 close limit 1008"]


@pytest.mark.parametrize("setting", ["auto", "never"])
@pytest.mark.parametrize("first", [connected(), start(), media(), UnknownEvent("x"), Malformed("bad")])
def test_a_peer_that_speaks_first_is_not_greeted(setting: str, first: Input):
    """Anything at all that arrives within 500 ms keeps us quiet: the documented platform never sees our `connected`."""
    call = Driver(send_connected=setting)
    call.run(until=0.499)
    assert "connected" not in call.give(first)
    assert "connected" not in "".join(call.run(until=9))


def test_an_old_client_that_waits_for_us():
    """Greeted after 500 ms, it starts, and the call goes on as any other; we greet once."""
    call = Driver()
    assert call.run(until=1) == ["0.500 connected"]
    assert call.give(connected(), start(), dtmf("1")) == ["deliver start", "deliver dtmf 1"]
    assert call.run(until=30) == []


def test_greeting_late_is_greeting_once():
    """A stall does not multiply it."""
    call = Driver()
    call.oversleep(until=3)
    assert call.give(Tick()) == ["connected"]
    assert call.give(Tick()) == []


# --- The start deadline


@pytest.mark.parametrize("first", [[], [connected()], [connected(), media(), dtmf()]], ids=len)
def test_a_call_that_does_not_start_is_closed(first: list[Input]):
    """Ten seconds, whatever else is said meanwhile."""
    call = Driver(send_connected="never")
    call.run(until=2)
    call.give(*first)
    assert call.run(until=60) == ["10.000 close limit 1008"]


def test_a_start_in_time_is_in_time():
    """The deadline is gone with the start, and a start that came while we slept counts too."""
    call = Driver(send_connected="never")
    call.run(until=9.999)
    assert call.give(start()) == ["deliver start"]
    assert call.run(until=69) == []
    late = Driver()
    late.oversleep(until=10.5)
    assert late.give(start()) == ["deliver start"]


# --- Silence of the peer


@pytest.mark.parametrize(
    "sign", [media(), media(b""), dtmf(), connected(), UnknownEvent("x"), Malformed("bad"), media(sid="x")]
)
def test_any_sign_of_life_keeps_a_call(sign: Input):
    """The idle limit counts from the last message of any kind."""
    call = streaming()
    call.run(until=59.5)
    call.give(sign)
    assert call.run(until=200) == ["119.500 close limit 1001"]


def test_our_own_doings_are_no_sign_of_life():
    """A handler that talks to nobody does not keep a call."""
    call = streaming(idle_seconds=5)
    call.play(speech(80_000))
    call.run(until=4)
    call.give(play(speech(800)), Tick())
    assert call.run(until=20)[-1] == "5.000 close limit 1001"
    assert call.session.ledger.balanced


# --- The hard maximum


def test_no_call_is_longer_than_the_maximum():
    """By our own clock, however lively it is."""
    call = streaming(max_call_seconds=100)
    for second in range(100):
        call.run(until=second)
        call.give(media())
    assert call.run(until=500) == ["100.000 close limit 1000"]


def test_the_maximum_holds_before_a_start_and_in_a_goodbye():
    """It is the end of the connection, whatever state that is in."""
    assert Driver(max_call_seconds=3).run(until=20) == ["0.500 connected", "3.000 close limit 1000"]
    call = streaming(max_call_seconds=3, hang_up="end")
    call.play(speech(80_000))
    call.give(HANG_UP)
    assert call.run(until=20)[-1] == "3.000 close limit 1000"


def test_a_late_tick_ends_a_call_too():
    """Nobody has to be punctual for a limit to hold; what has come before the tick is dealt with first."""
    call = streaming(max_call_seconds=100)
    call.oversleep(until=1_000)
    assert call.give(dtmf("1"), Tick()) == ["deliver dtmf 1", "close limit 1000"]


@pytest.mark.parametrize("first", [play(b"\x11" * 160), dtmf("1"), connected()])
def test_a_process_that_stood_still_ends_no_call(first: Input):
    """After an hour's sleep the handler may be the first to speak: what the caller said meanwhile is still to be taken."""
    call = streaming(max_call_seconds=10_000)
    call.oversleep(until=3_600)
    call.give(first, media(), Tick())
    assert not call.session.is_over
    call = Driver()
    call.oversleep(until=3_600)
    assert call.give(first, start(), Tick())[-1] != "close limit 1008"


# --- Floods


@pytest.mark.parametrize("sign", [dtmf("1"), media(b"\x11"), UnknownEvent("x"), connected()])
def test_a_flood_of_messages(sign: Input):
    """At 200 a second it lasts as long as it likes, and 400 at once are a burst; more are a flood."""
    call = Driver(bad_message_budget=10_000)
    call.give(connected(), start())
    for number in range(2_000):
        call.oversleep(until=number / 200)
        call.give(sign)
    assert call.session.ledger.anomalies["message_flood"] == 0
    call.give(*[sign] * 390)
    assert not call.session.is_over
    assert "close limit 1008" in call.give(*[sign] * 10)
    assert call.session.ledger.anomalies["message_flood"] == 1


def test_a_flood_before_the_start():
    """The rate holds in every state, for what cannot be read too."""
    call = Driver(bad_message_budget=10_000)
    assert "close limit 1008" in call.give(*[Malformed("bad")] * 401)
    call = Driver()
    assert "close limit 1008" in call.give(*[connected()] * 401)


def test_audio_that_comes_too_fast():
    """Four times real time lasts as long as it likes; 20 s at once are a burst, and more is a flood."""
    call = streaming()
    for number in range(1_000):
        call.oversleep(until=number / 40)
        call.give(media())
    assert not call.session.is_over
    call = streaming()
    call.give(*[media(b"\x11" * 8_000)] * 20)
    assert not call.session.is_over
    assert call.give(media(b"\x11"))[-1] == "close limit 1008"
    assert call.session.ledger.anomalies == {"audio_flood": 1}
    assert call.session.ledger.balanced


def test_five_times_real_time_is_a_flood_after_a_while():
    """The bucket empties at the difference: twenty seconds of audio, at one second's worth a second."""
    call = streaming()
    number = 0
    while not call.session.is_over:
        number += 1
        call.oversleep(until=number / 50)
        call.give(media())
    assert call.now == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("seconds", [2, 10, 30, 59])
@pytest.mark.parametrize("cadence_ms", [20, 100])
def test_a_line_that_stalls_is_no_flood(seconds: int, cadence_ms: int):
    """All of what a platform had in store comes at once, or close together, and the call goes on at its old pace."""
    call = streaming()
    frame = media(b"\x11" * 8 * cadence_ms)
    for number in range(1_000 // cadence_ms):
        call.oversleep(until=number * cadence_ms / 1_000)
        call.give(frame)
    call.oversleep(until=1 + seconds)
    for _ in range(seconds * 1_000 // cadence_ms):
        call.oversleep(until=call.now + 0.000_01)
        call.give(frame)
    for _ in range(3_000 // cadence_ms):
        call.oversleep(until=call.now + cadence_ms / 1_000)
        call.give(frame)
    assert not call.session.is_over


def test_marks_between_audio_cost_it_nothing():
    """Time passes for audio too while other messages come."""
    call = streaming()
    for number in range(1_000):
        call.oversleep(until=number / 10 + 0.099)
        call.give(dtmf("1"))
        call.oversleep(until=number / 10 + 0.1)
        call.give(media(b"\x11" * 2_400))
    assert not call.session.is_over


def test_other_speeds():
    """Both limits are settings."""
    call = streaming(max_messages_per_second=10, max_audio_speed=1)
    assert call.give(*[dtmf("1")] * 19)[-1] == "deliver dtmf 1"
    assert call.give(dtmf("1"))[-1] == "close limit 1008"
    call = streaming(max_audio_speed=1)
    assert call.give(media(b"\x11" * 40_000))[-1] == "deliver media"
    assert call.give(media(b"\x11" * 8_000))[-1] == "close limit 1008"


# --- Deadlines


def test_the_deadline_is_the_earliest_clock():
    """Greeting, start, idle, audio, mark, stop: whichever is next."""
    call = Driver(max_call_seconds=90, hang_up="end")
    assert call.session.deadline == 0.5
    call.give(connected())
    assert call.session.deadline == 10
    call.give(start())
    assert call.session.deadline == 60
    call.play(speech(8_000))
    assert call.session.deadline == pytest.approx(0.02)
    call.run(until=40)
    call.give(media())
    assert call.session.deadline == 90
    call.give(HANG_UP)
    assert call.session.deadline == 42
    call.give(stop())
    assert call.session.deadline is None


def test_the_limits_by_themselves():
    """What is broken is said once it is, and not before."""
    limits = Limits(SessionSettings(), Ledger())
    limits.await_connected(0.0)
    assert [limits.connected_is_due(0.4), limits.connected_is_due(0.5), limits.connected_is_due(0.6)] == [
        False,
        True,
        False,
    ]
    assert limits.broken(9.9, is_streaming=False) is None
    assert limits.broken(10.0, is_streaming=False) is not None
    assert limits.broken(10.0, is_streaming=True) is None
    limits.hear(30.0)
    assert limits.deadline(is_streaming=True) == 90.0
    assert not limits.awaits_stop
    limits.await_stop(40.0)
    assert limits.awaits_stop
    assert limits.deadline(is_streaming=True) == 42.0
    assert [limits.broken(now, is_streaming=True) is not None for now in (41.9, 42.0)] == [False, True]
