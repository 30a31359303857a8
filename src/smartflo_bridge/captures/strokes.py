"""Draws what happened into the lanes of a still picture, as `page/happenings.js` does on the screen."""

from smartflo_bridge.captures import svg
from smartflo_bridge.captures.happenings import Happening, Kind, Tone
from smartflo_bridge.captures.stage import (
    CALLER_TOP,
    FLOOR,
    LEFT,
    MARKS,
    MARKS_TOP,
    RIGHT,
    TALK,
    TALK_TOP,
    US_TOP,
    VOICE,
    Stage,
)
from smartflo_bridge.captures.tracks import Span

TALL_SECONDS = 2
"""The latency that has the full height of a bar; what is slower has it too. As in the page."""

NAMED = 5
"""So many of the slowest are named where all are drawn as bars."""


def draw_talk(stage: Stage) -> None:
    """Draw the turns, from the caller's end down to our beginning, and the barge-ins likewise; from far away, as bars."""
    if stage.is_far:
        middle = TALK_TOP + TALK / 2
        _bars(stage, stage.of(Kind.TURN), svg.TURN, upwards=True)
        _bars(stage, stage.of(Kind.BARGE_IN), svg.BARGE_IN, upwards=False)
        stage.add(svg.line(LEFT, middle, RIGHT, middle, svg.LINE, width=0.7))
        return
    labels = stage.row()
    for one in stage.of(Kind.TURN):
        _hand_over(stage, one, svg.TURN, svg.TURN_SOFT)
        labels.add(stage.x(one.end) + 4, TALK_TOP + 18, one.label, svg.TURN)
    labels = stage.row()
    for one in stage.of(Kind.BARGE_IN):
        _barge_in(stage, one)
        words = f"quiet after {one.label}" if one.state == "cut" else f"not cut, {one.label}"
        labels.add(stage.x(one.end if one.state == "cut" else one.start) + 4, TALK_TOP + 41, words, svg.BARGE_IN)


def draw_clears(stage: Stage, unheard: list[Span]) -> None:
    """Draw each clear, and behind it what was sent and never heard."""
    for span in () if stage.is_far else unheard:
        stage.block(span, US_TOP + VOICE / 4, VOICE / 2, svg.BARGE_IN, opacity=0.25)
    labels = stage.row()
    bottom = US_TOP + VOICE
    for one in stage.of(Kind.CLEAR):
        x = stage.x(one.start)
        if one.tone is Tone.FAINT:
            stage.add(svg.line(x, bottom - 5, x, bottom, svg.MUTED))
        elif stage.is_far:
            stage.add(svg.line(x, bottom - 12, x, bottom, svg.BARGE_IN))
        else:
            stage.add(svg.line(x, US_TOP, x, bottom, svg.BARGE_IN, width=1.2, dash="3 2"))
            labels.add(x + 3, bottom - 5, "clear", svg.BARGE_IN)


def draw_gaps(stage: Stage) -> None:
    """Draw the gaps inside our speech."""
    labels = stage.row()
    for one in stage.of(Kind.GAP):
        stage.block(Span(one.start, one.end), US_TOP, VOICE, svg.BAD, opacity=0.5)
        labels.add(stage.x(one.end) + 3, US_TOP + 12, f"gap {one.label}", svg.BAD)


def draw_keys(stage: Stage) -> None:
    """Draw the keys, those that are close together in one cap."""
    groups: list[tuple[float, str]] = []
    for one in stage.of(Kind.KEY):
        x = stage.x(one.start)
        foot = CALLER_TOP + (20 if stage.is_far else VOICE)
        stage.add(svg.line(x, CALLER_TOP, x, foot, svg.CALLER, width=0.8))
        if groups and x - groups[-1][0] < 10 + 7 * len(groups[-1][1]):
            start, digits = groups.pop()
            groups.append((start, digits + one.label))
        else:
            groups.append((x, one.label))
    for x, digits in groups:
        shown = digits if len(digits) <= 12 else f"{digits[:11]}\N{HORIZONTAL ELLIPSIS}"
        width = 7 + 7 * len(shown)
        left = min(x - 7, RIGHT - width)
        stage.add(svg.rect(left, CALLER_TOP + 1, width, 16, svg.CALLER, radius=4))
        stage.add(svg.text(left + 4, CALLER_TOP + 13, shown, fill=svg.PAPER, size=11, weight=600))


def draw_marks(stage: Stage) -> None:
    """Draw each mark from being sent to its echo; one that was never sent, from being placed, with dots."""
    y = MARKS_TOP + MARKS / 2 + 5
    size = 2 if stage.is_far else 3.5
    labels = stage.row()
    for one in stage.of(Kind.MARK):
        start, end = stage.x(one.start), stage.x(one.end)
        colour = {Tone.BAD: svg.BAD, Tone.FAINT: svg.MUTED, Tone.PLAIN: svg.INK}[one.tone]
        stage.add(svg.line(start, y, end, y, colour, width=1.5, dash="1 3" if one.state == "unsent" else ""))
        if end - start > 6:
            stage.add(svg.line(start, y - 4, start, y + 4, colour, width=1.5))
        if one.state == "played":
            stage.add(svg.rect(end - size, y - size, 2 * size, 2 * size, colour, radius=size))
        else:
            stage.add(svg.line(end - size, y - size, end + size, y + size, colour, width=1.5))
            stage.add(svg.line(end - size, y + size, end + size, y - size, colour, width=1.5))
        if not stage.is_far or one.tone is Tone.BAD:
            labels.add(start - 1, y - 8, one.label[:24], colour)


def draw_rules(stage: Stage) -> None:
    """Draw each broken rule, through all lanes down to the floor."""
    labels = stage.row()
    for one in stage.of(Kind.RULE):
        x = stage.x(one.start)
        stage.add(svg.line(x, CALLER_TOP, x, FLOOR, svg.BAD, width=0.8))
        stage.add(svg.polygon([(x, FLOOR), (x - 5, FLOOR + 9), (x + 5, FLOOR + 9)], svg.BAD))
    for one in stage.of(Kind.RULE):
        x = stage.x(one.start)
        labels.add(x + 8, FLOOR + 9, one.label, svg.BAD)


def _hand_over(stage: Stage, one: Happening, colour: str, soft: str) -> None:
    start, end = stage.x(one.start), stage.x(one.end)
    stage.add(svg.rect(start, TALK_TOP, max(end - start, 1), TALK, soft))
    stage.add(svg.line(start, TALK_TOP, end, TALK_TOP + TALK, colour, width=1.8))


def _barge_in(stage: Stage, one: Happening) -> None:
    if one.state == "cut":
        _hand_over(stage, one, svg.BARGE_IN, svg.BARGE_IN_SOFT)
        return
    x, y = stage.x(one.start), TALK_TOP + TALK - 2
    stage.add(svg.line(x, TALK_TOP, x, y, svg.BARGE_IN, dash="2 2"))
    stage.add(svg.line(x, y, stage.x(one.end), y, svg.BARGE_IN, dash="2 2"))


def _bars(stage: Stage, all_: list[Happening], colour: str, *, upwards: bool) -> None:
    """Draw a bar for each, the longer the slower, thin where our speech was not cut; name the slowest."""
    middle, room = TALK_TOP + TALK / 2, TALK / 2 - 2
    for one in all_:
        height = max(min((one.end - one.start) / TALL_SECONDS, 1) * room, 2)
        width = 0.6 if one.state == "talked on" else 1.6
        top = middle - height if upwards else middle
        stage.add(svg.rect(stage.x(one.start) - width / 2, top, width, height, colour))
    named = sorted((one for one in all_ if one.state != "talked on"), key=lambda one: one.start - one.end)[:NAMED]
    labels = stage.row()
    for one in sorted(named, key=lambda one: one.start):
        labels.add(stage.x(one.start) + 3, TALK_TOP + 9 if upwards else TALK_TOP + TALK - 3, one.label, colour)
