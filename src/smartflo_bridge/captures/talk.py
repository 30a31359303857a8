"""Who spoke when: speech, and barge-ins, of a call, from its two tracks. Its turns are `turns`' matter.

A barge-in is a fact about the caller, who speaks or presses a key over our speech; what came of it is how fast there was
silence.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from smartflo_bridge.captures.tracks import Span
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ, SILENCE
from smartflo_bridge.core.speech import SpeechDetector

SAMPLE_SECONDS = 1 / SAMPLE_RATE_HZ

BREATH_SECONDS = 1.0
"""A shorter silence inside audio that goes on is a breath: whoever speaks in it speaks over us. Same as a gap's limit."""

STALL_SECONDS = 0.2
"""A shorter hole in our audio is a stall inside one utterance; the caller cannot have taken the turn in it."""

OVERLAP_SECONDS = 0.2
"""So long do people speak at once when they merely take turns (Levinson and Torreira 2015): no barge-in if it is all."""

REACTION_SECONDS = 2.0
"""How long after the caller's words a cut may still be their doing: recognisers take up to some 1.5 s."""

EDGE_SECONDS = 0.1
"""Speech that ends so shortly before a `clear` was cut by it: the detector's frames, and the fading of a vowel."""


class Talk(msgspec.Struct, frozen=True):
    """Speech of ours without more than a breath in it. `was_cut`: a `clear` ended it."""

    start: float
    end: float
    was_cut: bool = False


class BargeIn(msgspec.Struct, frozen=True):
    """The caller spoke, or pressed a key, at `start`, over speech of ours that was heard until `end`.

    `was_cut`: a `clear` made the silence; else our speech went on to its own end.
    """

    start: float
    end: float
    is_key: bool
    was_cut: bool

    @property
    def seconds(self) -> float:
        """How long we were still heard."""
        return self.end - self.start


def speech_spans(ulaw: bytes) -> list[Span]:
    """Return where there is speech in a track."""
    # The silence behind the end closes what is open there.
    edges = (detector := SpeechDetector()).feed(ulaw) + detector.feed(SILENCE * SAMPLE_RATE_HZ)
    spans: list[Span] = []
    begin: float | None = None
    for edge in edges:
        at = min(edge.position_bytes, len(ulaw)) / SAMPLE_RATE_HZ
        if edge.is_speech:
            begin = at
        elif begin is not None:
            spans.append(Span(begin, at))
            begin = None
    return spans


def talks(speech: Sequence[Span], present: Sequence[Span], clears: Sequence[float]) -> list[Talk]:
    """Return our talks: speech, joined over breaths, cut where audio was cleared.

    Args:
        speech: ours.
        present: where there was audio of ours at all.
        clears: when audio was cleared, in order.
    """
    found: list[Talk] = []
    index = 0
    for run in _runs(present, clears):
        first = len(found)
        while index < len(speech) and speech[index].start < run.end:
            start, end = max(speech[index].start, run.start), min(speech[index].end, run.end)
            if start < end:
                if len(found) > first and start - found[-1].end < BREATH_SECONDS:
                    start = found.pop().start
                found.append(Talk(start, end))
            if speech[index].end > run.end:
                break  # the rest of it is in the next run
            index += 1
        if run.was_cut and len(found) > first and run.end - found[-1].end < EDGE_SECONDS:
            found.append(Talk(found.pop().start, run.end, was_cut=True))
    return found


def barge_ins(caller: Sequence[Span], keys: Sequence[float], ours: Sequence[Talk]) -> list[BargeIn]:
    """Return the barge-ins in their order: speech, and keys at their times, over talks of ours.

    Of several things that the caller said over one talk, with no more than a breath between, the first counts. What was
    cut behind a key was cut because of the key.
    """
    begins = sorted([(span.start, span.end, False) for span in caller] + [(at, at, True) for at in keys])
    starts, pressed = [talk.start for talk in ours], sorted(keys)
    found: list[BargeIn] = []
    said: tuple[int, float] = (-1, 0.0)  # the talk that was last spoken over, and until when
    for at, until, is_key in begins:
        index = bisect_left(starts, at) - 1
        if index < 0 or ours[index].end < at + (0 if ours[index].was_cut else SAMPLE_SECONDS):
            continue
        if not is_key:
            is_more = said[0] == index and at - said[1] < BREATH_SECONDS
            said = (index, until)
            if is_more:
                continue
        talk = ours[index]
        key_came = not is_key and bisect_left(pressed, at) < bisect_right(pressed, talk.end)
        was_cut = talk.was_cut and talk.end <= until + REACTION_SECONDS and not key_came
        if was_cut or is_key or min(talk.end, until) - at >= OVERLAP_SECONDS:
            found.append(BargeIn(at, talk.end, is_key, was_cut))
    return found


def _runs(present: Sequence[Span], clears: Sequence[float]) -> list[Talk]:
    """Join stretches of audio over stalls, and split them at clears."""
    runs: list[Talk] = []
    for span in present:
        start = span.start
        if runs and not runs[-1].was_cut and start - runs[-1].end < STALL_SECONDS:
            start = runs.pop().start
        within = slice(bisect_right(clears, span.start), bisect_right(clears, span.end + SAMPLE_SECONDS))
        for clear in clears[within]:
            runs.append(Talk(start, min(clear, span.end), was_cut=True))
            start = clear
        if start + SAMPLE_SECONDS < span.end:
            runs.append(Talk(start, span.end))
    return runs
