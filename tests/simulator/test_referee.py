"""The referee, by numbers for time: each rule broken by what breaks it, and by nothing else."""

import base64

import pytest

from simulator.support import FRAME, SILENT, FarEnd, caller_voice, noise, say, slowed, speech
from smartflo_bridge.simulator.arrivals import arrival_of
from smartflo_bridge.simulator.checks.closing import Closing
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.referee import KEPT_PER_RULE, RefereeSettings
from smartflo_bridge.simulator.rules import Fault, Rule, Violation, place, wanted
from smartflo_bridge.simulator.watermark import stamp


def payload(ulaw: bytes) -> str:
    return base64.b64encode(ulaw).decode()


def test_every_fault_is_a_rule() -> None:
    """The line's word for it and the referee's are the same."""
    assert {fault.value for fault in Fault} <= {rule.value for rule in Rule}


def test_every_rule_says_what_is_allowed_and_where_the_protocol_says_so() -> None:
    """In one sentence, and by a heading of the page."""
    for rule in Rule:
        assert wanted(rule)
        assert place(rule).startswith("docs/protocol.md#")


def test_good_manners_break_no_rule() -> None:
    """Speech in real time with a lead, marks, an interruption, and another utterance."""
    end = FarEnd(RefereeSettings(judges_rate=True))
    for turn in (0.0, 10.0):
        voice = speech(3.0)
        end.play(voice[:1600], turn)
        end.stream(voice[1600:], turn + 0.1)
        end.mark(f"m{turn:.0f}", turn + 2.9)
        end.clear(turn + 2.95)
        end.wait(turn + 5)
    end.referee.stop()
    closing = Closing(at_seconds=20.0, ended_by=EndedBy.CALLER, ending=Ending.STOP, code=1000, closed_after_seconds=0.0)
    assert end.referee.finish(closing, end.stalled) == []
    assert end.broken == set()
    assert [tally.count for tally in end.referee.gap_tallies] == [0, 0, 0]


@pytest.mark.parametrize(
    ("message", "rule", "detail"),
    [
        ("{", Rule.MALFORMED_MESSAGE, "not a JSON object"),
        (say("media"), Rule.MALFORMED_MESSAGE, "media lacks its members"),
        (b"\x00\x01", Rule.BINARY_MESSAGE, "bytes where it wants text"),
        (say("flush"), Rule.UNKNOWN_EVENT, "'flush'"),
        (say("clear", sid="MZ2"), Rule.UNKNOWN_STREAM_SID, "'MZ2'"),
        (say("clear", sid=None), Rule.UNKNOWN_STREAM_SID, "no streamSid"),
        (say("media", media={"payload": "####", "chunk": 1}), Rule.NOT_BASE64, "not strict base64"),
        (say("media", media={"payload": "", "chunk": 1}), Rule.EMPTY_PAYLOAD, "is empty"),
        (
            say("media", media={"payload": payload(noise(1) + SILENT * 5), "chunk": 1}),
            Rule.MISALIGNED_PAYLOAD,
            "1 x 160",
        ),
        (say("media", media={"payload": payload(noise(1))}), Rule.CHUNK_OUT_OF_ORDER, "no chunk number"),
        (say("media", media={"payload": payload(noise(1)), "chunk": 3}), Rule.CHUNK_OUT_OF_ORDER, "chunk 3"),
        (say("mark", mark={"name": ""}), Rule.MARK_NAME, "not short printable ASCII"),
        (say("mark", mark={"name": "grüße"}), Rule.MARK_NAME, "not short printable ASCII"),
    ],
)
def test_a_message_that_breaks_a_rule_by_itself(message: str | bytes, rule: Rule, detail: str) -> None:
    """One violation, with the time, the message and what was wrong."""
    (violation,) = FarEnd().send(message, 1.5)
    assert (violation.rule, violation.at_seconds) == (rule, 1.5)
    assert detail in violation.detail
    assert violation.message


def test_the_offending_message_is_shown_shortened() -> None:
    """Of a payload its beginning and its length, of anything long its beginning."""
    end = FarEnd()
    (violation,) = end.send(say("media", media={"payload": payload(noise(5))}), 0.0)
    assert "...(1068 characters)" in violation.message
    assert len(violation.message) < 160
    (violation,) = end.send(say("x" * 1000), 0.0)
    assert len(violation.message) == 160
    (violation,) = end.send(b"\xaa" * 1000, 0.0)
    assert violation.message.startswith("1000 bytes: b'\\xaa")


def test_what_is_sent_before_start() -> None:
    """`connected` may be said, nothing else."""
    end = FarEnd()
    for message, count in ((say("connected", sid=None), 0), (say("clear"), 1)):
        arrival = arrival_of(message)
        assert len(end.referee.hear(arrival, end.line.take_early(arrival, 0.0), 0.0)) == count
    assert end.broken == {Rule.SENT_BEFORE_START}


def test_what_is_sent_after_stop() -> None:
    """What crosses the stop on the wire is forgiven; its audio is not judged any more."""
    end = FarEnd()
    end.line.stop(1.0)
    end.referee.stop()
    assert end.play(b"RIFF0000WAVE" + SILENT * 148, 1.1) == []
    assert [one.rule for one in end.play(noise(1), 2.0)] == [Rule.SENT_AFTER_STOP]


def test_a_burst_is_told_once() -> None:
    """Beyond the buffer's limit; again only after it went down."""
    end = FarEnd(RefereeSettings(buffer_seconds=1.0))
    assert end.play(noise(50), 0.0) == []
    assert [one.rule for one in end.play(noise(5), 0.0)] == [Rule.BURST]
    assert end.play(noise(5), 0.0) == []
    assert end.play(noise(5), 0.9) == []
    assert [one.rule for one in end.play(noise(60), 0.9)] == [Rule.BURST]
    end.clear(1.0)
    assert [one.rule for one in end.play(noise(60), 1.0)] == [Rule.BURST]


def gaps_of(late_seconds: float, stalls: list[tuple[float, float]] | None = None) -> set[Rule]:
    """Return what is broken by a chunk in mid-speech that comes so late."""
    end = FarEnd(stalls=stalls or [])
    end.play(noise(5), 0.0)
    end.play(noise(5), 0.1 + late_seconds)
    end.wait(1.0)
    return end.broken


@pytest.mark.parametrize(
    ("late_ms", "rules"),
    [
        (0, set()),
        (3, set()),
        (30, {Rule.GAP_0_MS}),
        (90, {Rule.GAP_0_MS, Rule.GAP_60_MS}),
        (300, {Rule.GAP_0_MS, Rule.GAP_60_MS, Rule.GAP_200_MS}),
    ],
)
def test_a_gap_is_judged_at_three_jitter_buffers(late_ms: int, rules: set[Rule]) -> None:
    """The larger the buffer, the more it forgives."""
    assert gaps_of(late_ms / 1000) == rules


def test_small_gaps_add_up() -> None:
    """Two milliseconds with every frame are heard, though none of them alone would be."""
    end = FarEnd()
    for frame in range(20):
        end.play(noise(1), frame * 0.022)
    end.wait(2.0)
    assert end.broken == {Rule.GAP_0_MS}
    assert end.referee.gap_tallies[0].total_seconds == pytest.approx(0.036, abs=0.006)


def test_a_gap_that_our_own_loop_made_is_not_blamed_on_the_far_end() -> None:
    """It was asleep for 90 ms; what it saw then may have come any time before. Of 120 ms some remain."""
    assert gaps_of(0.09, stalls=[(0.1, 0.19)]) == set()
    assert gaps_of(0.12, stalls=[(0.13, 0.22)]) == {Rule.GAP_0_MS}


@pytest.mark.parametrize(
    ("before", "after"),
    [(noise(4) + SILENT * FRAME, noise(5)), (noise(5), SILENT * FRAME + noise(4)), (noise(5), noise(5))],
)
def test_silence_between_sentences_is_no_gap(before: bytes, after: bytes) -> None:
    """Where the audio is quiet on one side, or a mark or a clear ended the utterance, or the silence is long."""
    is_mid_speech = SILENT not in (before[-1:], after[:1])
    for what in ("mark", "clear", "long", "nothing"):
        end = FarEnd()
        end.play(before, 0.0)
        if what == "mark":
            end.mark("m1", 0.0)
        elif what == "clear":
            end.clear(0.1)
        end.play(after, 1.5 if what == "long" else 0.4)
        end.wait(2.0)
        assert end.broken == (
            {Rule.GAP_0_MS, Rule.GAP_60_MS, Rule.GAP_200_MS} if is_mid_speech and what == "nothing" else set()
        )


def test_lateness_is_measured_against_the_steadiest_pace() -> None:
    """A lead of 200 ms is none; a chunk that comes 40 ms after its turn is 40 ms late, though it is no gap."""
    end = FarEnd()
    end.play(noise(10), 0.0)
    for chunk in range(10):
        end.play(noise(5), chunk * 0.1 + (0.04 if chunk == 7 else 0.0))
    assert end.referee.lateness_ms == {0: 10, 40: 1}
    assert end.broken == set()


def test_marks_that_repeat_run_backwards_or_are_missing() -> None:
    """Names are unique while they wait; numbered ones come in order and without a hole."""
    end = FarEnd()
    end.play(noise(50), 0.0)
    end.mark("u1", 0.0)
    assert [one.rule for one in end.mark("u1", 0.0)] == [Rule.MARK_REPEATED]
    for number in (2, 3, 4):
        assert end.mark(f"u{number}", 0.0) == []
    assert [one.rule for one in end.mark("u6", 0.0)] == [Rule.MARK_MISSING]
    assert [one.rule for one in end.mark("u5", 0.0)] == [Rule.MARK_OUT_OF_ORDER]
    end.wait(2.0)
    assert end.mark("u7", 2.0) == []


def test_no_audio_within_the_time_for_an_answer() -> None:
    """Told once; not if something was said."""
    silent, polite = FarEnd(), FarEnd()
    polite.play(noise(1), 9.0)
    assert [one.rule for one in silent.wait(10.0)] == [Rule.NO_ANSWER]
    assert silent.wait(11.0) == polite.wait(11.0) == []


def stale(settings: RefereeSettings, old: bytes, new: bytes, at_seconds: float) -> set[Rule]:
    """Return what is broken by sending `new` so long after `old` was cleared."""
    end = FarEnd(settings)
    end.stream(old, 0.0)
    end.clear(len(old) / 8000)
    end.stream(new, len(old) / 8000 + at_seconds)
    return end.broken


def test_audio_that_goes_on_after_a_clear_is_stale() -> None:
    """In mid-speech, at once. Another utterance is not, nor is the old one resumed on purpose, later."""
    voice, usual = speech(8.0), RefereeSettings()
    cuts = range(4000, 24000, 800)
    caught = [at for at in cuts if stale(usual, voice[:at], voice[at : at + 800], 0.02)]
    assert len(caught) > len(cuts) / 3
    assert all(stale(usual, voice[:at], voice[at : at + 800], 0.02) <= {Rule.STALE_AUDIO} for at in cuts)
    assert not any(stale(usual, voice[:at], voice[at : at + 800], 1.1) for at in cuts)
    assert not any(stale(usual, voice[:at], caller_voice()[:800], 0.02) for at in cuts)


def test_a_watermark_tells_stale_audio_without_guessing() -> None:
    """Strict: what bears the number of the interrupted utterance is stale, whatever it sounds like and however late."""
    strict = RefereeSettings(is_strict=True)
    old, rest, new = stamp(speech(1.0), 7), stamp(SILENT * 1600, 7), stamp(speech(1.0), 8)
    assert stale(strict, old, rest, 1.5) == {Rule.STALE_AUDIO}
    assert stale(strict, old, new, 0.0) == set()


def test_what_the_sound_gives_away() -> None:
    """A WAV header, PCM, padding that clicks, and speech at another rate."""
    pcm = b"".join(bytes([(7 * n) % 256, n % 3]) for n in range(2000))
    for ulaw, rule in (
        (b"RIFF\x24\x08\x00\x00WAVEfmt " + noise(1)[16:], Rule.WAV_HEADER),
        (pcm, Rule.PCM_AS_ULAW),
        (SILENT * 100 + b"\x00" * 60, Rule.CLICK),
    ):
        end = FarEnd()
        end.play(ulaw, 0.0)
        assert end.broken == {rule}


@pytest.mark.parametrize(("factor", "word"), [(3, "slow"), (2, "slow"), (0.5, "fast")])
def test_speech_at_the_wrong_rate(factor: float, word: str) -> None:
    """From the speech itself; not where it is not to be judged."""
    closing = Closing(at_seconds=30.0, ended_by=EndedBy.BRIDGE, code=1000)
    for judges in (True, False):
        end = FarEnd(RefereeSettings(judges_rate=judges))
        end.stream(slowed(speech(12.0), factor), 0.0)
        violations = end.referee.finish(closing, end.stalled)
        assert [one.rule for one in violations] == [Rule.WRONG_RATE] * judges
        assert all(f"too {word}" in one.detail for one in violations)


@pytest.mark.parametrize(
    ("closing", "rules"),
    [
        (Closing(at_seconds=1, ended_by=EndedBy.BRIDGE, code=1000), set()),
        (Closing(at_seconds=1, ended_by=EndedBy.BRIDGE, code=1001), set()),
        (Closing(at_seconds=1, ended_by=EndedBy.BRIDGE, code=1011, reason="oops"), {Rule.CLOSE_CODE}),
        (Closing(at_seconds=1, ended_by=EndedBy.LOST), {Rule.CONNECTION_LOST}),
        (Closing(at_seconds=1, ended_by=EndedBy.LOST, is_disturbed=True), set()),
        (Closing(at_seconds=1, ended_by=EndedBy.LOST, our_code=1009), {Rule.OVERSIZED_MESSAGE}),
        (Closing(at_seconds=1, ended_by=EndedBy.LOST, our_code=1002), {Rule.BROKEN_WEBSOCKET}),
        (Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.STOP, code=1000), {Rule.NOT_CLOSED}),
        (
            Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.STOP, code=1000, closed_after_seconds=0.1),
            set(),
        ),
        (
            Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.STOP, code=1000, closed_after_seconds=7),
            {Rule.NOT_CLOSED},
        ),
        (
            Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.STOP, closed_after_seconds=0.1),
            {Rule.CONNECTION_LOST},
        ),
        (Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.STOP_ONLY), {Rule.NOT_CLOSED}),
        (Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.CLOSE, code=1000), set()),
        (Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.CLOSE), {Rule.CONNECTION_LOST}),
        (Closing(at_seconds=1, ended_by=EndedBy.CALLER, ending=Ending.DROP), set()),
    ],
)
def test_how_a_call_ends(closing: Closing, rules: set[Rule]) -> None:
    """Closed in time, with a good code, by a frame, unless the platform made that impossible."""
    end = FarEnd()
    end.referee.finish(closing, end.stalled)
    assert end.broken == rules


def test_a_platform_that_reads_badly_does_not_blame_the_far_end_for_time() -> None:
    """What arrives late, or all at once, is then its own doing; what is in a message still counts."""
    end = FarEnd()
    end.play(noise(5), 0.0)
    end.referee.disturb()
    end.play(noise(5), 0.5)
    end.play(noise(500), 0.5)
    end.play(noise(1)[:100], 0.6)
    end.wait(20.0)
    assert end.broken == {Rule.MISALIGNED_PAYLOAD}


def test_a_rule_that_is_broken_all_the_time_is_counted_and_kept_a_few_times() -> None:
    """So that a report can be read."""
    end = FarEnd()
    told: list[Violation] = []
    for message in range(100):
        told += end.send("{", float(message))
    assert len(told) == len(end.referee.violations) == KEPT_PER_RULE
    assert end.referee.broken == {Rule.MALFORMED_MESSAGE: 100}
