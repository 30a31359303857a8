"""The story of a captured call, in numbers: calls whose every edge is known, told from their captures."""

import itertools
import re
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from made_captures import SID, MadeCall, conversation, loud
from smartflo_bridge.captures.format import Record, message_record
from smartflo_bridge.captures.playback import Playback
from smartflo_bridge.captures.rules import PLATFORM_RULES, Culprit, PlatformRule
from smartflo_bridge.captures.story import Story, tell_story
from smartflo_bridge.captures.talk import Talk, barge_ins, talks
from smartflo_bridge.captures.tracks import Span, pieces_of_arrivals, track_of
from smartflo_bridge.core.audio import ulaw_to_pcm
from smartflo_bridge.core.effects import MarkResult
from smartflo_bridge.core.ledger import Turn
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import HandlerDone

ROOT = Path(__file__).parents[2]
FRAME = 0.02
MS = 1_000_000


def story_of(call: MadeCall) -> Story:
    return tell_story(call.header(), call.records)


def starts(story: Story) -> list[float]:
    return [round(turn.fell_silent_at, 3) for turn in story.turns]


# --- The caller's track


def test_audio_that_comes_in_time_ends_when_it_arrives() -> None:
    """A message of 100 ms that arrives at 0.1 s was spoken from 0 on."""
    pieces = pieces_of_arrivals([(800, b"a" * 800), (1600, b"b" * 800)])
    assert [(piece.at, piece.end) for piece in pieces] == [(0, 800), (800, 1600)]


def test_jitter_does_not_tear_the_track() -> None:
    """Messages some ms early or late lie behind each other all the same."""
    arrivals = [(800 * index + jitter, bytes(800)) for index, jitter in enumerate((0, 90, -60, 140, 20, 0), 1)]
    pieces = pieces_of_arrivals(arrivals)
    assert all(one.end == other.at for one, other in itertools.pairwise(pieces))


def test_what_comes_late_and_at_once_is_laid_where_it_was_spoken() -> None:
    """Behind a stall of 3 s come 31 messages at once: they fill the stall, and nothing after them is shifted."""
    before = [(800 * index, bytes(800)) for index in range(1, 11)]
    burst = [(32_800, bytes(800)) for _ in range(31)]
    after = [(32_800 + 800 * index, bytes(800)) for index in range(1, 11)]
    pieces = pieces_of_arrivals([*before, *burst, *after])
    assert [piece.at for piece in pieces] == [800 * index for index in range(51)]


def test_a_hole_in_the_audio_is_a_hole_in_the_track() -> None:
    """Where the platform skips two seconds, there is no audio, and what follows stands where it arrived."""
    pieces = pieces_of_arrivals([(800, b"\x10" * 800), (16_800 + 800, b"\x10" * 800)])
    track = track_of(pieces, 20_000)
    assert track.present == [Span(0, 0.1), Span(2.1, 2.2)]
    assert track.ulaw[800:16_800] == b"\xff" * 16_000
    assert len(track.ulaw) == 20_000


# --- Ours


def playback(settings: SessionSettings | None = None) -> Playback:
    return Playback(settings or SessionSettings())


def test_audio_is_heard_behind_what_was_sent_before() -> None:
    """Two messages at once play one after the other; the lead is what is not heard yet."""
    ours = playback()
    ours.send(1000 * MS, bytes(160), 1)
    ours.send(1000 * MS, bytes(800), 2)
    assert [(piece.at, piece.end) for piece in ours.pieces] == [(8000, 8160), (8160, 8960)]
    assert [(one.lead_before, one.heard_at) for one in ours.sendings] == [(0, 8000), (160, 8160)]


def test_a_clear_takes_back_what_was_not_heard() -> None:
    """Of 100 ms sent, 30 ms were heard; the rest, and the mark behind it, is discarded."""
    ours = playback()
    ours.send(1000 * MS, b"a" * 800, 1)
    ours.send_mark(1000 * MS, "end", 0)
    ours.clear(1030 * MS, 1)
    assert [(piece.at, len(piece.ulaw)) for piece in ours.pieces] == [(8000, 240)]
    assert [(piece.at, len(piece.ulaw)) for piece in ours.unheard] == [(8240, 560)]
    assert ours.clears[0].unheard == 560
    assert ours.marks.all[0].result is MarkResult.DISCARDED


def test_lateness_is_measured_against_the_lead() -> None:
    """With 200 ms of lead and 100 ms a message, the next is due 100 ms before the platform runs dry."""
    ours = playback()
    ours.queue(8000, 0)
    ours.send(0, bytes(800), 1)
    ours.send(0, bytes(800), 2)
    ours.send(100 * MS, bytes(800), 3)
    ours.send(230 * MS, bytes(800), 4)
    assert [one.late_ns for one in ours.sendings] == [0, 0, 0, 30 * MS]
    assert ours.gaps == []


def test_a_message_that_comes_when_the_platform_is_dry_leaves_a_gap() -> None:
    """It was there and we sent it too late: the gap is ours. Where the handler had nothing, it is not."""
    ours = playback()
    ours.queue(1600, 0)
    ours.send(0, bytes(800), 1)
    ours.send(150 * MS, bytes(160), 2)
    ours.send(150 * MS, bytes(640), 3)
    ours.queue(800, 0)
    ours.send(290 * MS, bytes(800), 4)
    assert [(gap.start, gap.end, gap.is_ours) for gap in ours.gaps] == [(800, 1200, True), (2000, 2320, False)]


def test_the_story_has_the_lateness_and_the_gaps_of_the_session() -> None:
    """What is told from the messages agrees with what the session counted, for a loop that stalls."""
    call = MadeCall().start()
    call.plays(loud(3.0))
    call.until(1.0)
    call.now = 1.37
    call.until(3.5)
    call.stop()
    story = story_of(call)
    assert story.ending.ledger["gaps"] == len([gap for gap in story.gaps if gap.is_ours]) == 1
    assert story.worst_lateness_seconds == pytest.approx(story.ending.ledger["worst_lateness_seconds"], abs=2e-4)


# --- Marks


def test_each_mark_is_told_by_what_became_of_it() -> None:
    """Played, discarded when sent and when not, timed out: as the session resolves them."""
    call = MadeCall().start()
    call.plays(loud(0.2))
    call.marks("heard")
    call.until(1.0)
    call.plays(loud(2.0))
    call.marks("never sent")
    call.until(1.5)
    call.interrupts()
    call.until(2.0)
    call.plays(loud(0.1))
    call.marks("cut")
    call.until(2.04)
    call.interrupts()
    call.echoes_marks = False
    call.until(3.0)
    call.marks("lost")
    call.until(6.0)
    call.stop()
    story = story_of(call)
    told = {mark.name: (mark.result, mark.sent_ns is not None) for mark in story.marks}
    assert told == {
        "heard": (MarkResult.PLAYED, True),
        "never sent": (MarkResult.DISCARDED, False),
        "cut": (MarkResult.DISCARDED, True),
        "lost": (MarkResult.TIMED_OUT, True),
    }
    assert story.ending.ledger["marks"] == {"played": 1, "discarded": 2, "timed_out": 1}
    lost = story.marks[3]
    assert lost.resolved_ns == lost.sent_ns + round(call.settings.mark_slack_seconds * 1e9)


# --- Turns and barge-ins


def test_a_turn_lasts_from_the_callers_end_to_our_first_audio() -> None:
    """The caller speaks from 1.0 to 2.0 s, and we begin at 2.64 s."""
    call = MadeCall().start()
    call.until(1.0)
    call.says(loud(1.0))
    call.until(2.64)
    call.plays(loud(0.5))
    call.until(4.0)
    call.stop()
    story = story_of(call)
    assert starts(story) == pytest.approx([2.0], abs=FRAME)
    assert story.turns[0].answered_at == pytest.approx(2.64, abs=1e-6)
    assert story.caller.speech_seconds == pytest.approx(1.0, abs=2 * FRAME)


def test_silence_before_our_speech_belongs_to_the_turn() -> None:
    """The first byte that is not silence counts, when it begins to play."""
    call = MadeCall().start()
    call.says(loud(1.0))
    call.until(1.5)
    call.plays(b"\xff" * 8000 + loud(0.5))
    call.until(4.0)
    call.stop()
    assert story_of(call).turns[0].answered_at == pytest.approx(2.5)


def test_the_turns_are_the_sessions_own() -> None:
    """A conversation with barge-ins and keys: told from its messages alone, it has the turns of its end-of-call line."""
    call = conversation(300)
    told = story_of(call).turns
    assert len(told) > 10
    assert told == [
        Turn(pytest.approx(turn.fell_silent_at), pytest.approx(turn.answered_at, abs=1e-6))
        for turn in call.session.ledger.turns
    ]


def test_a_capture_that_was_cut_has_its_turns() -> None:
    """Up to the cut, though its last line with the accounts is missing."""
    call = conversation(60)
    turns = story_of(call).turns
    call.records = [
        record for record in call.records if record.dir != "end" and record.t < turns[1].fell_silent_at * 1e9
    ]
    assert story_of(call).turns == turns[:1]


def test_a_word_said_while_we_speak_is_not_answered_by_our_next_breath() -> None:
    """Our pause of half a second is a breath within one utterance, and what follows no answer."""
    call = MadeCall().start()
    call.plays(loud(1.0) + b"\xff" * 4000 + loud(1.0))
    call.until(0.5)
    call.says(loud(0.3))
    call.until(4.0)
    call.stop()
    assert story_of(call).turns == []


def test_a_barge_in_tells_how_fast_there_was_silence() -> None:
    """The caller speaks from 1.0 s on, the handler interrupts at 1.26 s."""
    call = MadeCall().start()
    call.plays(loud(5.0))
    call.until(1.0)
    call.says(loud(1.0))
    call.until(1.26)
    call.interrupts()
    call.until(3.0)
    call.stop()
    story = story_of(call)
    (one,) = story.barge_ins
    assert one.start == pytest.approx(1.0, abs=FRAME)
    assert one.seconds == pytest.approx(0.26, abs=2 * FRAME)
    assert (one.was_cut, one.is_key) == (True, False)
    assert story.clears[0].unsent == 40_000 - story.ending.ledger["sent_bytes"]


def test_a_key_cuts_what_is_said_even_where_the_next_prompt_follows_at_once() -> None:
    """Between two prompts there is no silence to be seen, but a clear."""
    call = MadeCall().start()
    call.plays(loud(5.0))
    call.until(2.0)
    call.presses("4")
    call.interrupts()
    call.plays(loud(1.0))
    call.until(4.0)
    call.stop()
    story = story_of(call)
    (one,) = story.barge_ins
    assert (one.is_key, one.was_cut, one.seconds) == (True, True, pytest.approx(0, abs=1e-3))
    assert [talk.was_cut for talk in story.talks] == [True, False]


def test_who_is_not_heard_is_told_as_such() -> None:
    """Speech over ours that nothing came of; and an overlap so short that it is none."""
    ours = [Talk(0, 5), Talk(6, 8)]
    (one,) = barge_ins([Span(1, 2), Span(7.9, 9)], [], ours)
    assert (one.start, one.end, one.was_cut) == (1, 5, False)


def test_more_of_the_same_is_one_barge_in() -> None:
    """Two words with a breath between, over one talk."""
    assert len(barge_ins([Span(1, 1.5), Span(1.9, 3)], [], [Talk(0, 3.2, was_cut=True)])) == 1


def test_talks_are_split_where_audio_was_cleared() -> None:
    """Speech that goes on without a pause belongs to two talks, if a clear came between."""
    assert talks([Span(0, 4)], [Span(0, 4)], [2.0]) == [Talk(0, 2, was_cut=True), Talk(2, 4)]
    assert talks([Span(0, 1), Span(1.5, 3)], [Span(0, 3)], []) == [Talk(0, 3)]
    assert talks([Span(0, 1), Span(2.5, 3)], [Span(0, 3)], []) == [Talk(0, 1), Talk(2.5, 3)]


# --- The whole


def test_a_capture_that_was_cut_is_told_up_to_the_cut() -> None:
    """Without its last lines a call has no known end, and all that came before."""
    call = MadeCall().start()
    call.says(loud(1.0))
    call.until(2.0)
    story = story_of(call)
    assert not story.ending.is_told
    assert story.seconds == pytest.approx(2.0, abs=0.05)
    assert len(story.caller.track.ulaw) == pytest.approx(16_000, abs=400)


def test_a_capture_without_a_call_has_a_story() -> None:
    """A connection that said nothing: an empty time axis, and no error."""
    story = story_of(MadeCall())
    assert (story.turns, story.parties.stream_sid, len(story.caller.track.ulaw)) == ([], None, 0)


def test_who_was_on_the_line() -> None:
    """Numbers, ids and parameters are the start's."""
    call = MadeCall().start(**{"from": "+919812345678", "to": "1800", "customParameters": {"tier": "gold"}})
    call.stop("done")
    parties = story_of(call).parties
    assert (parties.stream_sid, parties.call_sid, parties.from_number, parties.to_number) == (
        SID,
        "1.2",
        "+919812345678",
        "1800",
    )
    assert parties.parameters == {"tier": "gold"}
    assert story_of(call).ending.stop_reason == "done"


# --- Rules


def findings(call: MadeCall) -> list[tuple[Culprit, str]]:
    return [(one.culprit, one.rule) for one in story_of(call).findings]


def test_a_proper_call_breaks_no_rule() -> None:
    """Speech, marks, an interrupt, and the end."""
    call = MadeCall().start()
    call.plays(loud(1.0))
    call.marks("end")
    call.until(0.5)
    call.interrupts()
    call.until(1.0)
    call.stop()
    assert findings(call) == []


def ours(call: MadeCall) -> list[str]:
    """Name our broken rules, in the order in which they were found."""
    return [rule for culprit, rule in findings(call) if culprit is Culprit.US]


def test_what_is_heard_of_us_is_judged_as_the_referee_judges_it() -> None:
    """PCM16 sent as mu-law, a click, a gap in mid-speech, a mark without a name: rules that no single number shows."""
    call = MadeCall().start()
    voice = (resources.files("smartflo_bridge.simulator") / "caller.ulaw").read_bytes()[16_000:24_000]
    chunks = 0

    def media(ulaw: bytes) -> None:
        nonlocal chunks
        chunks += 1
        event = {"event": "media", "streamSid": SID, "media": {"payload": ulaw, "chunk": chunks}}
        call.send(msgspec.json.encode(event))

    call.until(1.0)
    media(ulaw_to_pcm(voice)[:3200])
    call.until(4.0)
    media(b"\xff" * 80 + b"\x00" * 80)
    call.until(7.0)
    media(voice[:1600])
    call.until(7.5)
    media(voice[1600:3200])
    call.send(msgspec.json.encode({"event": "mark", "streamSid": SID, "mark": {"name": ""}}))
    call.stop()
    assert set(ours(call)) == {"pcm_as_ulaw", "click", "gap_0_ms", "gap_60_ms", "gap_200_ms", "mark_name"}
    found = {one.rule: one for one in story_of(call).findings}
    assert found["gap_0_ms"].at_seconds == pytest.approx(7.2)
    assert found["click"].place == "docs/protocol.md#audio"
    assert found["mark_name"].message is not None


def test_our_silence_and_our_close_are_judged() -> None:
    """Ten seconds without a word, and 1011; but not the code of a platform that closed, or broke the protocol."""
    call = MadeCall().start()
    call.until(11.0)
    call.give(HandlerDone(failed=True))
    end = Record(11_000_000_000, "end", termination="handler_failed", code=1011, ledger={})
    call.records.append(end)
    assert ours(call) == ["no_answer", "close_code"]
    call.records[-1] = msgspec.structs.replace(end, termination="protocol_error", code=1008)
    assert ours(call) == ["no_answer"]


def test_an_echo_of_the_platform_frees_a_marks_name() -> None:
    """It may be used again when the platform has echoed it, and not when we think that it should have been played."""
    call = MadeCall().start()
    call.echoes_marks = False
    mark = msgspec.json.encode({"event": "mark", "streamSid": SID, "mark": {"name": "a"}})
    call.send(mark)
    call.until(1.0)
    call.message({"event": "mark", "streamSid": SID, "mark": {"name": "a"}})
    call.send(mark)
    call.until(2.0)
    call.send(mark)
    call.stop()
    (repeated,) = [one for one in story_of(call).findings if one.culprit is Culprit.US]
    assert (repeated.rule, repeated.at_seconds) == ("mark_repeated", pytest.approx(2.0))


def test_what_is_said_under_the_inner_of_two_names_is_for_this_stream() -> None:
    """A start may name the stream twice; the session takes both, so neither is another stream's."""
    call = MadeCall()
    call.message({"event": "start", "streamSid": SID, "start": {"streamSid": "MZinner"}})
    call.message({"event": "dtmf", "streamSid": "MZinner", "dtmf": {"digit": "1"}})
    call.stop()
    assert findings(call) == [(Culprit.PLATFORM, "stream_sid_mismatch")]


def test_each_rule_of_the_platform_has_its_place() -> None:
    """On the protocol's page, in a section that is there."""
    titles = re.findall(r"^#+ (.+)$", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(PLATFORM_RULES) == set(PlatformRule)
    assert {section for section, _ in PLATFORM_RULES.values()} <= anchors


def test_the_platforms_mistakes_are_found() -> None:
    """Each is told once, with the message where it is one of text."""
    call = MadeCall()
    call.message({"event": "dtmf", "streamSid": SID, "dtmf": {"digit": "1"}})
    call.start()
    call.receive(b"{nothing")
    call.message({"event": "surprise", "streamSid": SID})
    call.message({"event": "mark", "streamSid": SID, "mark": {"name": "nobody's"}})
    call.message({"event": "dtmf", "streamSid": "MZother", "dtmf": {"digit": "1"}})
    call.message({"event": "media", "streamSid": SID, "media": {"payload": ""}})
    call.stop()
    rules = ["before_start", "malformed", "unknown_event", "unknown_mark", "foreign_stream", "empty_payload"]
    assert findings(call) == [(Culprit.PLATFORM, rule) for rule in rules]
    story = story_of(call)
    told = [story.said[one.message].text for one in story.findings if one.message is not None]
    assert told[1] == "{nothing"


def test_our_mistakes_are_found() -> None:
    """A payload that is not a multiple of a frame, a chunk too many, another stream, a mark twice, and after the stop."""
    call = MadeCall().start()

    def media(size: int, chunk: int, sid: str = SID) -> None:
        event = {"event": "media", "streamSid": sid, "media": {"payload": b"\xff" * size, "chunk": chunk}}
        call.send(msgspec.json.encode(event))

    media(160, 1)
    media(100, 2)
    media(160, 4)
    media(160, 5, "MZother")
    mark = msgspec.json.encode({"event": "mark", "streamSid": SID, "mark": {"name": "a"}})
    call.send(mark)
    call.send(mark)
    call.send(b"{}")
    call.stop()
    call.records.append(message_record(9_000_000_000, "out", mark.replace(b'"a"', b'"b"')))
    assert [rule for culprit, rule in findings(call) if culprit is Culprit.US] == [
        "misaligned_payload",
        "chunk_out_of_order",
        "unknown_stream_sid",
        "mark_repeated",
        "malformed_message",
        "sent_after_stop",
    ]
