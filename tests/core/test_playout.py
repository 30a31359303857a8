"""Playout by numbers: when audio leaves, what fills its last frame, what the caller has heard, what a stall costs."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.support import HANG_UP, Driver, interrupt, mark, place, play, speech, stop, streaming
from smartflo_bridge.core.playout import Playout, QueuedMark
from smartflo_bridge.core.session import Input
from smartflo_bridge.core.signals import Tick

FRAME = 0.02


def silence(byte_count: int) -> bytes:
    """Return what an unfinished frame is filled with."""
    return b"\xff" * byte_count


# --- Pacing


def test_a_second_of_speech():
    """One frame, then packets of 100 ms, two of which are ahead of real time; the last packet is what is left."""
    call = streaming()
    assert call.play(speech(8_000)) == ["media 1: 160", "media 2: 800"]
    assert call.run(until=2) == [
        *(f"{number / 10 + 0.02:.3f} media {number + 3}: 800" for number in range(8)),
        "0.800 media 11: 640",
    ]
    assert call.audio == speech(8_000)


@pytest.mark.parametrize(
    ("lead", "packet", "at_once", "then"),
    [
        (0.2, 0.02, [160] * 10, [(0.02, 160), (0.04, 160)]),
        (0.2, 0.04, [160, 320, 320, 320, 320], [(0.02, 320), (0.06, 320)]),
        (0.2, 0.05, [160, 320, 320, 320, 320], [(0.02, 320), (0.06, 320)]),
        (0.3, 0.1, [160, 800, 800], [(0.02, 800), (0.12, 800)]),
        (1.0, 0.1, [160, *[800] * 9], [(0.02, 800), (0.12, 800)]),
        (0.06, 0.02, [160] * 3, [(0.02, 160), (0.04, 160)]),
    ],
)
def test_other_leads_and_packets(lead: float, packet: float, at_once: list[int], then: list[tuple[float, int]]):
    """The lead is filled at once and never exceeded; each packet leaves when it fits, in whole frames."""
    call = streaming(lead_seconds=lead, packet_seconds=packet)
    assert call.play(speech(16_000)) == [f"media {chunk}: {size}" for chunk, size in enumerate(at_once, 1)]
    assert call.run(until=then[-1][0]) == [
        f"{due:.3f} media {chunk}: {size}" for chunk, (due, size) in enumerate(then, len(at_once) + 1)
    ]


@pytest.mark.parametrize(("lead", "packet"), [(0.2, 0.1), (0.1, 0.1), (0.04, 0.04), (0.2, 0.2), (2.0, 1.0)])
def test_whatever_the_settings_some_lead_is_kept(lead: float, packet: float):
    """Settings are refused, or the platform never runs dry while audio is queued: exactly real time is choppy."""
    try:
        call = streaming(lead_seconds=lead, packet_seconds=packet)
    except msgspec.ValidationError:
        return
    call.play(speech(16_000))
    while (due := call.session.deadline) is not None and due < 1.5:
        assert call.platform.ahead(due) > 0, f"dry at {due:.3f}"
        call.run(until=due)


@pytest.mark.parametrize(
    ("size", "packets"), [(160, [160]), (320, [160, 160]), (960, [160, 800]), (1_120, [160, 800, 160])]
)
def test_little_audio_leaves_at_once(size: int, packets: list[int]):
    """What fits into the lead does not wait."""
    assert streaming().play(speech(size)) == [f"media {chunk}: {sent}" for chunk, sent in enumerate(packets, 1)]


def test_pieces_are_one_stream_of_audio():
    """Audio played piece by piece leaves as early as the lead allows, then in full packets again."""
    call = streaming()
    said = [call.play(speech(160, 160 * number)) for number in range(20)]
    assert said == [[f"media {number}: 160"] for number in range(1, 11)] + [[]] * 10
    assert call.run(until=1) == ["0.100 media 11: 800", "0.200 media 12: 800"]
    assert call.audio == speech(3_200)


def test_a_new_utterance_starts_at_once():
    """After a pause the timeline begins anew: one frame, then the lead."""
    call = streaming()
    call.play(speech(1_600))
    call.run(until=3)
    assert call.play(speech(8_000)) == ["media 4: 160", "media 5: 800"]
    assert call.run(until=3.1) == ["3.020 media 6: 800"]


def test_an_hour_does_not_drift():
    """Packet 36 000 is due as exactly as the first: times are computed from bytes, never added up."""
    playout = Playout(0.2, 800)
    now = 0.0
    for number in range(36_000):
        playout.enqueue(bytes(800), now)
        playout.release(now)
        now = 0.1 * number + 0.01
    assert playout.horizon == pytest.approx(3_600, abs=1e-6)


@given(cuts=st.lists(st.integers(0, 900), max_size=12), wait=st.floats(0, 0.05))
def test_cuts_do_not_show(cuts: list[int], wait: float):
    """The same audio in other pieces gives the same bytes, filled up once, at the end."""
    call, total = streaming(), sum(cuts)
    for number, size in enumerate(cuts):
        call.run(until=call.now + wait)
        call.play(speech(size, sum(cuts[:number])))
    call.run(until=call.now + 5)
    assert call.audio == speech(total) + silence(-total % 160)


# --- The remainder below a frame


@pytest.mark.parametrize("size", [1, 100, 159, 161, 4_001])
def test_a_remainder_waits_then_is_filled_up(size: int):
    """It waits 200 ms for more, or until the platform runs dry, whichever is later; then it leaves filled with 0xFF."""
    call = streaming()
    call.play(speech(size))
    due = max(0.2, size // 160 * FRAME)
    call.run(until=due - 0.001)
    assert call.audio == speech(size - size % 160)
    assert [said[:11] for said in call.run(until=due)] == [f"{due:.3f} media"]
    assert call.audio == speech(size) + silence(-size % 160)
    assert call.session.ledger.padding_bytes == -size % 160


def test_a_remainder_is_carried_into_the_next_write():
    """100 bytes and 60 bytes are one frame."""
    call = streaming()
    assert call.play(speech(100)) == []
    assert call.play(speech(60, 100)) == ["media 1: 160"]
    assert call.audio == speech(160)


def test_odd_lengths_at_the_platforms_cadence_are_never_filled_up():
    """A live source of 801 bytes every 100 ms, and one that is 90 ms late at that, has no silence inside its speech."""
    call = streaming()
    for number in range(30):
        call.run(until=number * 0.1 + (0.09 if number % 2 else 0))
        call.play(speech(801, number * 801))
    call.run(until=10)
    assert call.audio == speech(30 * 801) + silence(-30 * 801 % 160)


@pytest.mark.parametrize("size", [159, 160, 161, 5_000])
def test_a_mark_fills_up_what_is_before_it(size: int):
    """The mark comes right behind the filled frame; what is played after it begins in a frame of its own."""
    call = streaming()
    call.play(speech(size))
    call.give(place(1, "here"))
    call.play(speech(161))
    call.run(until=2)
    assert call.audio == speech(size) + silence(-size % 160) + speech(161) + silence(159)
    assert call.audio_before("here") == speech(size) + silence(-size % 160)


@pytest.mark.parametrize("size", [159, 160, 161, 5_000])
def test_hanging_up_fills_up_the_last_frame(size: int):
    """Nothing more will come, so a remainder does not wait."""
    call = streaming()
    call.play(speech(size))
    call.give(HANG_UP)
    call.run(until=size / 8_000)
    assert call.audio == speech(size) + silence(-size % 160)


def test_a_clear_drops_the_remainder():
    """What waited to become a frame does not leak into the next utterance."""
    call = streaming()
    call.play(speech(250))
    assert call.give(interrupt(1)) == ["clear", "reply 1: heard 0 ms, dropped 11 ms"]
    assert call.play(speech(160, 7), epoch=1) == ["media 2: 160"]
    assert call.audio == speech(160) + speech(160, 7)


def test_no_audio_is_no_audio():
    """Playing nothing sends nothing, begins no utterance, keeps no remainder waiting, and leaves no trace."""
    call = streaming()
    assert call.play(b"") == []
    assert call.run(until=5) == []
    assert call.session.ledger.accepted_bytes == 0
    call.play(speech(200))
    call.run(until=5.15)
    call.play(b"")
    assert call.run(until=5.2) == ["5.200 media 2: 160"]
    call.run(until=7)
    call.play(b"")
    assert call.give(interrupt(1)) == ["clear", "reply 1: heard 40 ms, dropped 0 ms"]


# --- What was heard


def test_heard_is_what_has_been_played_by_the_clock():
    """The lead is not heard yet; after the end nothing more is."""
    playout = Playout(0.2, 800)
    playout.enqueue(speech(8_000), 0.0)
    playout.release(0.0)
    assert [playout.heard_ms(now) for now in (0.0, 0.05, 0.1, 0.12, 0.5)] == [0, 50, 100, 120, 120]
    for step in range(9):
        playout.release(0.02 + 0.1 * step)
    assert [playout.heard_ms(now) for now in (0.9, 1.0, 9.0)] == [900, 1000, 1000]


def test_heard_is_of_the_utterance_being_played():
    """A pause, and a mark, begin a new utterance; the one before it is not counted any more once the new one is queued."""
    playout = Playout(0.2, 800)
    playout.enqueue(speech(800), 0.0)
    playout.place(1, "a", 0.0)
    playout.release(0.0)
    assert playout.heard_ms(0.1) == 100
    playout.enqueue(speech(800), 0.1)
    playout.release(0.1)
    assert playout.heard_ms(0.15) == 50
    playout.enqueue(speech(800), 7.0)
    playout.release(7.0)
    assert playout.heard_ms(7.03) == 30


def test_an_echo_knows_better_than_the_clock():
    """A platform that is ahead of our clock says so with its mark; heard goes at least that far, and never back."""
    playout = Playout(0.2, 800)
    playout.enqueue(speech(1_600), 0.0)
    playout.place(1, "a", 0.0)
    released = [*playout.release(0.0), *playout.release(0.02), *playout.release(0.1)]
    queued_mark = next(item for item in released if isinstance(item, QueuedMark))
    assert playout.heard_ms_before(queued_mark, 0.1) == 100
    playout.reach(queued_mark)
    assert playout.heard_ms_before(queued_mark, 0.1) == 200
    assert playout.played_bytes(0.1) == 1_600


def test_heard_before_a_mark_is_of_its_own_audio():
    """Each mark tells of the audio between the mark before it and itself."""
    playout = Playout(0.2, 800)
    marks = []
    for name in ("a", "b", "c"):
        playout.enqueue(speech(400), 0.0)
        playout.place(None, name, 0.0)
    marks = [item for now in (0.0, 0.02, 0.05) for item in playout.release(now) if isinstance(item, QueuedMark)]
    assert [playout.heard_ms_before(each, 0.07) for each in marks] == [60, 10, 0]


def test_idle_is_heard_to_the_end():
    """A playout is idle when the caller has heard all, not when we have sent all."""
    playout = Playout(0.2, 800)
    assert playout.is_idle(0.0)
    playout.enqueue(speech(160), 0.0)
    assert not playout.is_idle(0.0)
    playout.release(0.0)
    assert [playout.is_idle(0.019), playout.is_idle(0.02)] == [False, True]


def test_positions_of_old_utterances_are_forgotten():
    """A source at exactly real time begins a new utterance each time; hours of it do not pile up."""
    playout = Playout(0.2, 800)
    for number in range(2_000):
        playout.enqueue(bytes(800), number * 0.15)
        playout.release(number * 0.15)
    assert len(playout._utterances) < 10


# --- Stalls


def test_a_stall_past_the_lead_is_a_gap_and_the_timeline_restarts():
    """The caller hears all of it, later: one frame and the lead again, no burst; how late is counted."""
    call = streaming()
    call.play(speech(16_000))
    call.run(until=0.1)
    call.oversleep(until=1.0)
    assert call.give(Tick()) == ["media 4: 160", "media 5: 800"]
    assert call.run(until=1.1) == ["1.020 media 6: 800"]
    call.run(until=5)
    assert call.audio == speech(16_000)
    call.give(stop())
    assert call.session.ledger.gaps == 1
    assert call.session.ledger.worst_lateness_seconds == pytest.approx(0.88)


def test_a_stall_within_the_lead_is_caught_up():
    """Late, but before the platform runs dry: what is missing follows at once, on the old timeline."""
    call = streaming()
    call.play(speech(16_000))
    call.run(until=0.02)
    call.oversleep(until=0.2)
    assert call.give(Tick()) == ["media 4: 800"]
    assert call.run(until=0.25) == ["0.220 media 5: 800"]
    call.give(stop())
    assert call.session.ledger.gaps == 0
    assert call.session.ledger.worst_lateness_seconds == pytest.approx(0.08)


def test_whatever_wakes_a_late_call_releases_its_audio():
    """A busy inbox cannot starve the audio: any input releases what is due."""
    call = streaming()
    call.play(speech(16_000))
    call.oversleep(until=0.1)
    assert call.give(mark("nobody's")) == ["media 3: 800"]


@pytest.mark.parametrize("last", [interrupt(1), stop()], ids=["interrupt", "stop"])
def test_a_stall_that_ends_in_a_clear_is_counted_too(last: Input):
    """The gap was heard, whatever came next."""
    call = streaming()
    call.play(speech(16_000))
    call.oversleep(until=1.0)
    call.give(last, stop())
    assert call.session.ledger.gaps == 1
    assert call.session.ledger.worst_lateness_seconds == pytest.approx(0.98)


def test_punctual_calls_have_no_gaps():
    """Speech, a pause and a remainder, all in time: nothing is counted."""
    call = streaming()
    for at in (0.0, 0.5, 3.0):
        call.run(until=at)
        call.play(speech(5_001))
    call.run(until=6)
    call.give(stop())
    assert (call.session.ledger.gaps, call.session.ledger.worst_lateness_seconds) == (0, 0)


def test_nothing_is_sent_before_the_start():
    """Before a stream exists nothing of a handler's can be said: there is no streamSid to say it with."""
    for said in (play(speech(800)), place(1), interrupt(1), HANG_UP):
        call = Driver(hang_up="end")
        assert [text for text in call.give(said) if not text.startswith(("reply", "close"))] == []
