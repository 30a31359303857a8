"""What happened in a call, one after the other, each in words: what the picture marks, and its table lists.

A `Happening` has a place on the time axis, a short label for the picture, a sentence for people, and the messages that it
consists of. The page draws them by kind, and knows nothing else of the call but its audio.
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from smartflo_bridge.captures.marks import MarkStory
from smartflo_bridge.captures.rules import Culprit
from smartflo_bridge.captures.story import Story
from smartflo_bridge.captures.talk import BargeIn
from smartflo_bridge.captures.transcript import Said
from smartflo_bridge.captures.words import length, printable
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.effects import MarkResult


class Kind(StrEnum):
    """What happened."""

    KEY = "key"
    MARK = "mark"
    CLEAR = "clear"
    TURN = "turn"
    BARGE_IN = "barge-in"
    GAP = "gap"
    RULE = "rule"
    NOTE = "note"


class Tone(StrEnum):
    """How it is to be seen: `faint` is there for completeness, `bad` wants a person's eye."""

    PLAIN = "plain"
    FAINT = "faint"
    BAD = "bad"


class Happening(msgspec.Struct, frozen=True):
    """One thing that happened, from `start` to `end` in seconds; `messages` are indices into what was said."""

    kind: Kind
    start: float
    end: float
    who: str
    label: str
    text: str
    tone: Tone = Tone.PLAIN
    state: str = ""
    messages: tuple[int, ...] = ()


def happenings(story: Story) -> list[Happening]:
    """Return all that happened, by time."""
    sources = (_notes, _keys, _marks, _clears, _turns, _barge_ins, _gaps, _rules)
    return sorted((one for source in sources for one in source(story)), key=lambda one: (one.start, one.end))


def _keys(story: Story) -> Iterator[Happening]:
    for key in story.keys:
        at, digit = key.at_ns / 1e9, printable(key.digit, 8)
        yield Happening(Kind.KEY, at, at, "caller", digit, f"The caller pressed {digit}", messages=(key.message,))


def _marks(story: Story) -> Iterator[Happening]:
    for mark in story.marks:
        name = printable(mark.name)
        first_ns = mark.sent_ns if mark.sent_ns is not None else mark.placed_ns
        last_ns = mark.resolved_ns if mark.resolved_ns is not None else first_ns
        tone = {MarkResult.PLAYED: Tone.PLAIN, MarkResult.TIMED_OUT: Tone.BAD}.get(
            mark.result or MarkResult.PLAYED, Tone.FAINT
        )
        yield Happening(
            Kind.MARK,
            (first_ns or 0) / 1e9,
            (last_ns or 0) / 1e9,
            "us",
            name,
            _mark_text(mark, name),
            tone,
            str(mark.result) if mark.sent_ns is not None else "unsent",
            tuple(mark.messages),
        )


def _mark_text(mark: MarkStory, name: str) -> str:
    if mark.sent_ns is None:
        return f"Mark {name or 'without a name'} was discarded before it was sent"
    after = length(((mark.resolved_ns or mark.sent_ns) - mark.sent_ns) / 1e9)
    match mark.result:
        case MarkResult.PLAYED:
            return f"Mark {name} was played, {after} after it was sent"
        case MarkResult.TIMED_OUT:
            return f"Mark {name} timed out: no echo came within {after}"
        case _:
            return f"Mark {name} was discarded, {after} after it was sent"


def _clears(story: Story) -> Iterator[Happening]:
    for clear in story.clears:
        at = clear.at_ns / 1e9
        unheard, unsent = length(clear.unheard / SAMPLE_RATE_HZ), length(clear.unsent / SAMPLE_RATE_HZ)
        text = f"Clear: {unheard} of sent audio was not heard, {unsent} that was queued was not sent"
        if not clear.unheard and not clear.unsent:
            text = "Clear: there was nothing to clear"
        tone = Tone.PLAIN if clear.unheard or clear.unsent else Tone.FAINT
        yield Happening(Kind.CLEAR, at, at, "us", "clear", text, tone, messages=(clear.message,))


def _turns(story: Story) -> Iterator[Happening]:
    for turn in story.turns:
        label = length(turn.seconds)
        yield Happening(
            Kind.TURN,
            turn.fell_silent_at,
            turn.answered_at,
            "both",
            label,
            f"We answered {label} after the caller fell silent",
        )


def _barge_ins(story: Story) -> Iterator[Happening]:
    for one in story.barge_ins:
        label = length(one.seconds)
        state = "cut" if one.was_cut else "talked on"
        yield Happening(Kind.BARGE_IN, one.start, one.end, "both", label, _barge_in_text(one), state=state)


def _barge_in_text(one: BargeIn) -> str:
    what = "The caller pressed a key over our speech" if one.is_key else "The caller spoke over our speech"
    if one.was_cut:
        return f"{what}; it was silent {length(one.seconds)} later"
    return f"{what}, which went on for {length(one.seconds)} to its own end"


def _gaps(story: Story) -> Iterator[Happening]:
    for gap in story.gaps:
        start, end = gap.start / SAMPLE_RATE_HZ, gap.end / SAMPLE_RATE_HZ
        why = "we sent it late" if gap.is_ours else "the handler had no more yet"
        text = f"A gap of {length(end - start)} inside our speech: {why}"
        yield Happening(Kind.GAP, start, end, "us", length(end - start), text, Tone.BAD)


def _rules(story: Story) -> Iterator[Happening]:
    for finding in story.findings:
        who = "us" if finding.culprit is Culprit.US else "platform"
        text = f"{finding.text[:1].upper()}{finding.text[1:]} ({finding.place})"
        at = finding.at_seconds
        messages = () if finding.message is None else (finding.message,)
        yield Happening(
            Kind.RULE,
            at,
            at,
            who,
            printable(finding.rule.replace("_", " ")),
            printable(text, 400),
            Tone.BAD,
            messages=messages,
        )


_NOTES = {
    ("platform", "connected"): "The platform said connected",
    ("platform", "start"): "The stream started",
    ("platform", "stop"): "The platform said stop",
    ("us", "connected"): "We said connected",
    ("us", "end"): "We asked the platform to hang up",
    ("bridge", "mute"): "The handler muted the call: what follows was not captured",
    ("bridge", "unmute"): "The handler unmuted the call",
    ("bridge", "hang_up"): "The handler hung up",
    ("bridge", "handler_done"): "The handler was done",
    ("bridge", "peer_lost"): "The connection was closed",
    ("bridge", "refused"): "The bridge refused the stream",
    ("bridge", "drained"): "The bridge was shutting down",
}


def _notes(story: Story) -> Iterator[Happening]:
    for index, said in enumerate(story.said):
        text = _NOTES.get((said.speaker, said.kind))
        if text is not None:
            yield _note(said, index, text)


def _note(said: Said, index: int, text: str) -> Happening:
    at = said.at_ns / 1e9
    return Happening(Kind.NOTE, at, at, said.speaker, said.kind.replace("_", " "), text, messages=(index,))
