"""Where things are in a still picture: its lanes, its time axis, and rows of labels that do not collide."""

from collections.abc import Iterable

from smartflo_bridge.captures import svg
from smartflo_bridge.captures.happenings import Happening, Kind
from smartflo_bridge.captures.tracks import Span

WIDTH = 1200
LEFT, RIGHT = 96, 1184
HEAD = 150
VOICE, TALK, MARKS, LEAD = 120, 50, 34, 56
SPACE = 6
CALLER_TOP = HEAD + 24
TALK_TOP = CALLER_TOP + VOICE
US_TOP = TALK_TOP + TALK
MARKS_TOP = US_TOP + VOICE + SPACE
LEAD_TOP = MARKS_TOP + MARKS + SPACE
FLOOR = LEAD_TOP + LEAD + 6
HEIGHT = LEAD_TOP + LEAD + 50

FAR = 0.25
"""Seconds in a unit of width from which on single things are too small for lines and words of their own; as in the page."""

LABEL_SIZE = 10.5

CHARACTER = 0.62
"""The width of a character, in its size: the average of common sans-serif faces in bold, for labels that must not collide."""


class Stage:
    """A picture that is being drawn: elements are added from the back to the front."""

    def __init__(self, seconds: float, happenings: Iterable[Happening]) -> None:
        self.seconds = seconds
        self.scale = (RIGHT - LEFT) / max(seconds, 0.1)
        self.elements: list[str] = []
        self._happenings = list(happenings)

    @property
    def is_far(self) -> bool:
        """True if the call is too long for single things to be told apart."""
        return 1 / self.scale > FAR

    def of(self, kind: Kind) -> list[Happening]:
        """Return what happened of a kind, by time."""
        return [one for one in self._happenings if one.kind is kind]

    def x(self, seconds: float) -> float:
        """Return the place of a moment."""
        return LEFT + min(max(seconds, 0), self.seconds) * self.scale

    def add(self, *elements: str) -> None:
        """Draw elements in front of all there is."""
        self.elements += elements

    def block(self, span: Span, top: float, height: float, fill: str, *, radius: float = 0, opacity: float = 1) -> None:
        """Fill a stretch of time."""
        x = self.x(span.start)
        more = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
        self.add(svg.rect(x, top, max(self.x(span.end) - x, 0.8), height, fill, radius=radius, more=more))

    def row(self) -> "Row":
        """Begin a row of labels."""
        return Row(self)


class Row:
    """One row of labels, each written only where the one before it leaves room."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._free = 0.0

    def add(self, x: float, y: float, words: str, colour: str) -> None:
        """Write a label if there is room; one that would leave the picture on the right stands to the left."""
        width = len(words) * CHARACTER * LABEL_SIZE
        start = x if x + width <= RIGHT else RIGHT - width - 8
        if words and start >= self._free:
            self._stage.add(svg.text(start, y, words, fill=colour, size=LABEL_SIZE, weight=600))
            self._free = start + width + 4
