"""The platform's playout clock, by numbers for time: what the caller hears, and when marks come back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.core.outgoing import ClearEvent, EndEvent, MarkEvent, Media, MediaEvent, encode_outgoing_event
from smartflo_bridge.core.outgoing import ConnectedEvent as OurConnectedEvent
from smartflo_bridge.core.outgoing import Mark as OurMark
from smartflo_bridge.simulator import line as line_module
from smartflo_bridge.simulator.earpiece import Gap
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.progress import (
    Cleared,
    EndAsked,
    Fault,
    FaultSeen,
    FirstAudio,
    LineProgress,
    MarkEchoed,
    MarkPlaced,
)

SID = "MZ1"
FRAME = 160
SILENT = b"\xff"


def ulaw(frames: int, byte: bytes = b"\x10") -> bytes:
    return byte * FRAME * frames


def media(audio: bytes, chunk: int = 1, sid: str = SID) -> bytes:
    return encode_outgoing_event(MediaEvent(sid, Media(audio, chunk)))


def mark(name: str, sid: str = SID) -> bytes:
    return encode_outgoing_event(MarkEvent(sid, OurMark(name)))


def clear(sid: str = SID) -> bytes:
    return encode_outgoing_event(ClearEvent(sid))


def raw(event: str, **members: object) -> str:
    return json.dumps({"event": event, "streamSid": SID, **members})


class Bridge:
    """Sends to a line, numbering its media; unrealistic in that a message arrives the moment it is sent."""

    def __init__(self, jitter_buffer_seconds: float = 0.0) -> None:
        self.line = Line(SID, jitter_buffer_seconds=jitter_buffer_seconds)
        self.chunks = 0

    def play(self, audio: bytes, now: float) -> list[LineProgress]:
        self.chunks += 1
        return self.line.handle(media(audio, self.chunks), now)


def test_audio_is_heard_at_once_and_silence_before_and_after() -> None:
    """100 ms that arrive at 0.5 s are heard from 0.5 s to 0.6 s."""
    bridge = Bridge()
    assert bridge.play(ulaw(5), 0.5) == [FirstAudio(0.5)]
    assert bridge.line.advance(1.0) == []
    assert bridge.line.heard(0.0, 1.0) == SILENT * 4000 + ulaw(5) + SILENT * 3200
    assert bridge.line.first_audio_seconds == 0.5


def test_audio_that_came_ahead_is_heard_in_real_time() -> None:
    """Two chunks that arrive together are heard one after the other, and half of them at half the time."""
    bridge = Bridge()
    bridge.play(ulaw(5, b"\x01"), 0.0)
    bridge.play(ulaw(5, b"\x02"), 0.0)
    bridge.line.advance(0.15)
    assert bridge.line.heard(0.0, 0.15) == ulaw(5, b"\x01") + b"\x02" * 400
    assert bridge.line.buffered_bytes == 400


def test_a_mark_is_echoed_when_the_audio_before_it_has_been_played() -> None:
    """The deadline is the moment when the last sample before the mark has been heard."""
    bridge = Bridge()
    bridge.play(ulaw(10), 1.0)
    assert bridge.line.handle(mark("m1"), 1.0) == [MarkPlaced(1.0, "m1")]
    bridge.play(ulaw(10), 1.0)
    assert bridge.line.deadline == pytest.approx(1.2)
    assert bridge.line.advance(1.199) == []
    assert bridge.line.advance(bridge.line.deadline) == [MarkEchoed(pytest.approx(1.2), "m1")]
    assert bridge.line.deadline is None


def test_a_mark_with_nothing_buffered_is_echoed_at_once() -> None:
    """There is nothing to wait for."""
    assert Line(SID).handle(mark("m1"), 2.0) == [MarkPlaced(2.0, "m1"), MarkEchoed(2.0, "m1")]


def test_a_mark_that_fell_due_is_echoed_before_the_next_message_is_taken() -> None:
    """Whoever is late with `advance` gets the echo with the next message, and in order."""
    bridge = Bridge()
    bridge.play(ulaw(5), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    assert bridge.line.handle(clear(), 0.5) == [MarkEchoed(0.5, "m1"), Cleared(0.5, 0.0)]


def test_clear_empties_the_buffer_and_echoes_every_pending_mark_at_once() -> None:
    """What was dropped is not heard; the marks come back in order, as if they had been reached."""
    bridge = Bridge()
    bridge.play(ulaw(10), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    bridge.play(ulaw(10), 0.0)
    bridge.line.handle(mark("m2"), 0.0)
    assert bridge.line.handle(clear(), 0.05) == [
        Cleared(0.05, pytest.approx(0.35)),
        MarkEchoed(0.05, "m1"),
        MarkEchoed(0.05, "m2"),
    ]
    bridge.line.advance(1.0)
    assert bridge.line.heard(0.0, 1.0) == b"\x10" * 400 + SILENT * 7600
    assert (bridge.line.counts.clears, bridge.line.counts.dropped_bytes) == (1, 2800)


def test_audio_after_a_clear_plays_at_once_and_is_no_gap() -> None:
    """An interruption ends the utterance."""
    bridge = Bridge()
    bridge.play(ulaw(10), 0.0)
    bridge.line.handle(clear(), 0.1)
    bridge.play(ulaw(5, b"\x20"), 0.3)
    bridge.line.advance(0.4)
    assert bridge.line.heard(0.3, 0.4) == ulaw(5, b"\x20")
    assert bridge.line.gaps == []


def test_a_buffer_that_runs_dry_inside_an_utterance_is_a_gap() -> None:
    """30 ms late is a gap of 30 ms, where the audio broke off."""
    bridge = Bridge()
    bridge.play(ulaw(5), 0.0)
    bridge.play(ulaw(5), 0.13)
    assert bridge.line.gaps == [Gap(pytest.approx(0.1), pytest.approx(0.03))]


def test_audio_in_time_makes_no_gap() -> None:
    """Chunks that arrive exactly as the one before ends play without a seam."""
    bridge = Bridge()
    for chunk in range(50):
        bridge.play(ulaw(5), chunk * 0.1)
    assert bridge.line.gaps == []


def test_more_than_a_second_of_silence_separates_two_utterances() -> None:
    """Nobody takes that for a broken sentence."""
    bridge = Bridge()
    bridge.play(ulaw(5), 0.0)
    bridge.play(ulaw(5), 1.2)
    assert bridge.line.gaps == []


def test_a_silence_after_a_mark_is_a_pause_and_no_gap() -> None:
    """The mark said that the utterance was complete."""
    bridge = Bridge()
    bridge.play(ulaw(5), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    bridge.play(ulaw(5), 0.4)
    assert bridge.line.gaps == []
    assert bridge.line.pauses == [Gap(pytest.approx(0.1), pytest.approx(0.3))]


def test_a_jitter_buffer_delays_an_utterance_and_absorbs_lateness() -> None:
    """With 60 ms of it, 50 ms late makes no gap; 90 ms late makes one of 30 ms."""
    bridge = Bridge(jitter_buffer_seconds=0.06)
    bridge.play(ulaw(5), 0.0)
    bridge.line.advance(0.05)
    assert bridge.line.heard_bytes == 0
    bridge.play(ulaw(5), 0.15)
    assert bridge.line.gaps == []
    bridge.play(ulaw(5), 0.29)
    assert bridge.line.gaps == [Gap(pytest.approx(0.26), pytest.approx(0.03))]
    bridge.line.advance(1.0)
    assert bridge.line.heard(0.06, 0.26) == ulaw(10)
    assert bridge.line.heard(0.29, 0.39) == ulaw(5)


def test_a_mark_waits_for_the_jitter_buffer_too() -> None:
    """It is echoed when the caller has heard the audio, not when it arrived."""
    bridge = Bridge(jitter_buffer_seconds=0.2)
    bridge.play(ulaw(5), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    assert bridge.line.deadline == pytest.approx(0.3)


def test_the_largest_lead_is_the_most_that_was_buffered() -> None:
    """200 ms at first, then never more than 150."""
    bridge = Bridge()
    bridge.play(ulaw(10), 0.0)
    bridge.play(ulaw(5), 0.15)
    assert bridge.line.counts.largest_lead_ms == 200


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"{", Fault.MALFORMED_MESSAGE),
        (b"[]", Fault.MALFORMED_MESSAGE),
        (b'{"event":"mark","streamSid":"MZ1","mark":{"name":"\xff"}}', Fault.MALFORMED_MESSAGE),
        (raw("media"), Fault.MALFORMED_MESSAGE),
        (raw("mark"), Fault.MALFORMED_MESSAGE),
        (raw("media", media={"chunk": 1}), Fault.MALFORMED_MESSAGE),
        (raw("flush"), Fault.UNKNOWN_EVENT),
        (clear("MZ2"), Fault.UNKNOWN_STREAM_SID),
        ('{"event":"clear"}', Fault.UNKNOWN_STREAM_SID),
        (raw("media", media={"chunk": 1, "payload": "####"}), Fault.NOT_BASE64),
        (raw("media", media={"chunk": 1, "payload": "AAA"}), Fault.NOT_BASE64),
        (raw("media", media={"chunk": 1, "payload": ""}), Fault.EMPTY_PAYLOAD),
        (media(b"\x10" * 161), Fault.MISALIGNED_PAYLOAD),
        (media(ulaw(1), chunk=2), Fault.CHUNK_OUT_OF_ORDER),
        (raw("media", media={"payload": base64.b64encode(ulaw(1)).decode()}), Fault.CHUNK_OUT_OF_ORDER),
    ],
)
def test_a_broken_rule_is_counted_and_told(message: bytes | str, fault: Fault) -> None:
    """Each message breaks exactly one."""
    line = Line(SID)
    assert FaultSeen(1.0, fault) in line.handle(message, 1.0)
    assert line.faults == {fault: 1}


def test_a_binary_message_is_a_fault() -> None:
    """Of all mistakes the easiest to make: most libraries send bytes as binary."""
    assert Line(SID).handle_binary(1.0) == [FaultSeen(1.0, Fault.BINARY_MESSAGE)]


def test_a_misaligned_payload_is_played_all_the_same() -> None:
    """The fault is counted; what the caller hears does not depend on it."""
    line = Line(SID)
    line.handle(media(b"\x10" * 100), 0.0)
    line.advance(1.0)
    assert line.heard(0.0, 0.02) == b"\x10" * 100 + SILENT * 60


def test_one_missing_chunk_number_is_one_fault() -> None:
    """Counting goes on from the number that came; numbers as strings count as numbers."""
    line = Line(SID)
    for chunk in (1, 2, 4, 5):
        line.handle(media(ulaw(1), chunk), 0.0)
    line.handle(raw("media", media={"chunk": "6", "payload": base64.b64encode(ulaw(1)).decode()}), 0.0)
    assert line.faults == {Fault.CHUNK_OUT_OF_ORDER: 1}


def test_audio_beyond_the_limit_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge without pacing cannot fill our memory."""
    monkeypatch.setattr(line_module, "BUFFER_LIMIT_BYTES", 1600)
    bridge = Bridge()
    bridge.play(ulaw(10), 0.0)
    assert FaultSeen(0.0, Fault.BUFFER_OVERFLOW) in bridge.play(ulaw(1), 0.0)
    assert (bridge.line.buffered_bytes, bridge.line.counts.dropped_bytes) == (1600, 160)


def test_marks_beyond_the_limit_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for marks that wait for their audio."""
    monkeypatch.setattr(line_module, "MARKS_LIMIT", 1)
    bridge = Bridge()
    bridge.play(ulaw(10), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    assert bridge.line.handle(mark("m2"), 0.0) == [FaultSeen(0.0, Fault.BUFFER_OVERFLOW)]
    assert bridge.line.pending_marks == ["m1"]


def test_after_stop_nothing_is_heard_and_no_mark_is_echoed() -> None:
    """The caller has put down the receiver; a mark that was due by then is still echoed."""
    bridge = Bridge()
    bridge.play(ulaw(5), 0.0)
    bridge.line.handle(mark("m1"), 0.0)
    bridge.play(ulaw(5), 0.0)
    bridge.line.handle(mark("m2"), 0.0)
    assert bridge.line.stop(0.15) == [MarkEchoed(0.15, "m1")]
    assert bridge.line.advance(9.0) == []
    assert bridge.line.deadline is None
    assert (bridge.line.pending_marks, bridge.line.heard_bytes) == (["m2"], 1200)


def test_what_crossed_the_stop_on_the_wire_is_no_fault() -> None:
    """A bridge cannot know of the stop before it arrives; some time later it must."""
    bridge = Bridge()
    bridge.line.stop(1.0)
    assert bridge.play(ulaw(1), 1.1) == []
    assert bridge.play(ulaw(1), 2.0) == [FaultSeen(2.0, Fault.SENT_AFTER_STOP)]
    assert bridge.line.counts.media_after_stop == 2
    assert bridge.line.handle(clear(), 2.0) == [FaultSeen(2.0, Fault.SENT_AFTER_STOP)]


def test_end_asks_the_platform_to_hang_up() -> None:
    """The undocumented event; what follows is the caller's business."""
    assert Line(SID).handle(encode_outgoing_event(EndEvent(SID, "1.2")), 3.0) == [EndAsked(3.0)]


def test_connected_of_the_bridge_is_only_counted() -> None:
    """It belongs to no stream."""
    line = Line(SID)
    assert line.handle(encode_outgoing_event(OurConnectedEvent()), 0.0) == []
    assert (line.counts.connected, line.faults) == (1, {})


Step = tuple[float, int | str]

BRIDGE_DOES = st.lists(
    st.tuples(
        st.floats(0, 1.5),
        st.one_of(st.integers(1, 4000), st.just("mark"), st.just("clear"), st.just("advance")),
    ),
    max_size=40,
)


@given(BRIDGE_DOES, st.sampled_from([0.0, 0.06, 0.2]))
def test_no_byte_and_no_mark_is_lost_or_made(steps: list[Step], jitter_buffer_seconds: float) -> None:
    """Heard + dropped + buffered = received, in order; each mark comes back exactly once, in order, and on time."""
    bridge = Bridge(jitter_buffer_seconds=jitter_buffer_seconds)
    now, received = 0.0, 0
    placed: list[str] = []
    progress: list[LineProgress] = []
    for wait, what in steps:
        now += wait
        match what:
            case "mark":
                placed.append(f"m{len(placed)}")
                progress += bridge.line.handle(mark(placed[-1]), now)
            case "clear":
                progress += bridge.line.handle(clear(), now)
            case "advance":
                progress += bridge.line.advance(now)
            case int(length):
                received += length
                progress += bridge.play(b"\x10" * length, now)
        counts = bridge.line.counts
        assert bridge.line.heard_bytes + counts.dropped_bytes + bridge.line.buffered_bytes == received
        assert bridge.line.heard(0.0, now).count(b"\x10") == bridge.line.heard_bytes
        echoed = [one.name for one in progress if isinstance(one, MarkEchoed)]
        assert echoed + bridge.line.pending_marks == placed
        assert bridge.line.deadline is None or bridge.line.deadline > now
    while bridge.line.deadline is not None:
        progress += bridge.line.advance(bridge.line.deadline)
    assert [one.name for one in progress if isinstance(one, MarkEchoed)] == placed


@given(BRIDGE_DOES, st.lists(st.floats(0, 30), max_size=20))
def test_the_caller_hears_the_same_however_often_the_clock_is_asked(steps: list[Step], extra: list[float]) -> None:
    """`advance` between messages changes nothing but when echoes are returned."""
    lazy, eager = Bridge(), Bridge()
    now = 0.0
    for wait, what in steps:
        for moment in sorted(extra):
            if now < moment < now + wait:
                eager.line.advance(moment)
        now += wait
        for bridge in (lazy, eager):
            if isinstance(what, int):
                bridge.play(b"\x10" * what, now)
            elif what != "advance":
                bridge.line.handle(mark("m") if what == "mark" else clear(), now)
    assert lazy.line.stop(now) == eager.line.stop(now)
    assert lazy.line.heard(0.0, now) == eager.line.heard(0.0, now)
    assert lazy.line.gaps == eager.line.gaps
    assert lazy.line.counts == eager.line.counts
