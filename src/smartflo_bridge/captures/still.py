"""The still picture of a call, as SVG: for a ticket, for paper, and for a browser without scripts.

The same lanes as the page's, in the same colours: the caller above, us below, between them how they took turns; then the
marks, and the lead. Its waveforms are as large for an hour as for a minute; what grows with a call is what happened in it.
"""

import textwrap

from smartflo_bridge.captures import strokes, svg
from smartflo_bridge.captures.happenings import happenings
from smartflo_bridge.captures.lead import lead_columns
from smartflo_bridge.captures.peaks import peaks_of
from smartflo_bridge.captures.stage import (
    CALLER_TOP,
    HEIGHT,
    LEAD,
    LEAD_TOP,
    LEFT,
    MARKS,
    MARKS_TOP,
    RIGHT,
    TALK,
    TALK_TOP,
    US_TOP,
    VOICE,
    WIDTH,
    Stage,
)
from smartflo_bridge.captures.story import Story, Voice
from smartflo_bridge.captures.summary import Figure, figures, title
from smartflo_bridge.captures.tracks import Span
from smartflo_bridge.captures.words import clock, printable
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ

GRID_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds between two lines of the grid: what people count in."""

LEGEND = (
    "Shaded: speech.  Marks: \N{BLACK CIRCLE} played, \N{MULTIPLICATION SIGN} discarded or timed out, dotted: never sent.  "
    "Behind a clear: sent, and never heard.  Lead: audio that the platform held; red from above: how late we sent."
)
FAR_LEGEND = f"Turns upwards and barge-ins downwards: the longer, the slower, up to {strokes.TALL_SECONDS} s.  "


def still_picture(story: Story) -> str:
    """Return the picture of a story. Mask it before: see `masking`."""
    stage = Stage(story.seconds, happenings(story))
    _head(stage, story)
    _grid(stage)
    _voice(stage, story.caller, CALLER_TOP, svg.CALLER, svg.CALLER_SOFT)
    _voice(stage, story.us, US_TOP, svg.US, svg.US_SOFT)
    _lead(stage, story)
    unheard = [Span(piece.at / SAMPLE_RATE_HZ, piece.end / SAMPLE_RATE_HZ) for piece in story.unheard]
    strokes.draw_talk(stage)
    strokes.draw_clears(stage, unheard)
    strokes.draw_gaps(stage)
    strokes.draw_keys(stage)
    strokes.draw_marks(stage)
    strokes.draw_rules(stage)
    _lane_names(stage, story)
    legend = f"{FAR_LEGEND if stage.is_far else ''}{LEGEND}"
    for index, line in enumerate(textwrap.wrap(legend, 190)):
        stage.add(svg.text(LEFT, HEIGHT - 20 + 13 * index, line, fill=svg.MUTED, size=9.5))
    words = [f"{figure.name}: {figure.value}, {figure.detail}." for figure in figures(story)]
    return svg.document(WIDTH, HEIGHT, title(story), " ".join(words), stage.elements)


def _head(stage: Stage, story: Story) -> None:
    stage.add(svg.text(16, 34, title(story), size=21, weight=600))
    facts = [f"began {story.began}", f"stream {story.parties.stream_sid}", f"call {story.parties.call_sid}"]
    line = "  \N{MIDDLE DOT}  ".join(printable(fact) for fact in facts if not fact.endswith(" None"))
    stage.add(svg.text(16, 56, line, fill=svg.MUTED))
    for index, figure in enumerate(figures(story)):
        _figure(stage, 16 + index * (WIDTH - 32) / 6, figure)


def _figure(stage: Stage, x: float, figure: Figure) -> None:
    stage.add(svg.text(x, 84, figure.name, fill=svg.MUTED, size=11))
    stage.add(svg.text(x, 106, figure.value, fill=svg.BAD if figure.is_bad else svg.INK, size=19, weight=600))
    for index, line in enumerate(textwrap.wrap(figure.detail, 34)[:2]):
        stage.add(svg.text(x, 122 + index * 13, line, fill=svg.MUTED, size=10))


def _grid(stage: Stage) -> None:
    step = next((step for step in GRID_STEPS if step * stage.scale >= 70), 7200)
    for index in range(int(stage.seconds / step) + 1):
        x = stage.x(index * step)
        stage.add(svg.line(x, CALLER_TOP - 6, x, LEAD_TOP + LEAD, svg.LINE, width=0.7))
        if x < RIGHT - 36:
            words = clock(index * step, 0 if step >= 1 else 1)
            stage.add(svg.text(x + 3, CALLER_TOP - 8, words, fill=svg.MUTED, size=10))


def _lane_names(stage: Stage, story: Story) -> None:
    names = (
        (CALLER_TOP + VOICE / 2, "Caller", svg.CALLER, "as it arrived"),
        (TALK_TOP + TALK / 2 - 6, "Turns", svg.TURN, "and barge-ins"),
        (US_TOP + VOICE / 2, "Us", svg.US, "as it was heard"),
        (MARKS_TOP + MARKS / 2 - 4, "Marks", svg.INK, "sent to echoed"),
        (LEAD_TOP + LEAD / 2 - 4, "Lead", svg.INK, f"0 to {story.lead_seconds * 1000:.0f} ms"),
    )
    for y, name, colour, what in names:
        stage.add(svg.text(LEFT - 12, y + 2, name, fill=colour, size=13, anchor="end", weight=600))
        stage.add(svg.text(LEFT - 12, y + 16, what, fill=svg.MUTED, size=9.5, anchor="end"))


def _voice(stage: Stage, voice: Voice, top: float, colour: str, soft: str) -> None:
    middle = top + VOICE / 2
    for span in voice.speech:
        stage.block(span, top, VOICE, soft, radius=3)
    stage.add(svg.line(LEFT, middle, RIGHT, middle, svg.LINE, width=0.7))
    for span in voice.track.present:
        stage.block(span, middle - 0.6, 1.2, colour, opacity=0.55)
    reduced = peaks_of(voice.track.ulaw).reduced(RIGHT - LEFT)
    step = (RIGHT - LEFT) / max(len(reduced.peak), 1)
    for heights, opacity in ((reduced.peak, 0.4), (reduced.rms, 1.0)):
        scaled = [height * (VOICE / 2 - 8) / 255 for height in heights]
        stage.add(svg.wave(LEFT, middle, step, scaled, colour, opacity=opacity))


def _lead(stage: Stage, story: Story) -> None:
    """Draw how much audio the platform held, and, hanging from above, how late we were: between them is the margin."""
    top, bottom = LEAD_TOP + 4, LEAD_TOP + LEAD
    unit = (bottom - top) / story.lead_seconds
    stage.add(svg.rect(LEFT, LEAD_TOP, RIGHT - LEFT, LEAD, svg.SHADE))
    columns = lead_columns(story, RIGHT - LEFT)
    for opacity, heights in ((0.22, [one.high for one in columns]), (0.4, [one.low for one in columns])):
        stage.add(svg.hill(LEFT, bottom, [min(lead * unit, LEAD) for lead in heights], svg.US, opacity=opacity))
    stage.add(svg.line(LEFT, top, RIGHT, top, svg.US, width=0.7, dash="2 3"))
    for index, one in enumerate(columns):
        if one.late * unit >= 0.5:
            stage.add(svg.rect(LEFT + index, top, 1, min(one.late * unit, LEAD - 4), svg.BAD))
