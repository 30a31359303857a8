"""Elements of a still picture, as text. Colours are attributes, not styles, so that a page's policy may forbid styles.

The palette is the page's light one, whose names page.css explains; each colour has a contrast of at least 4.5 to 1 with
the paper where it carries text (WCAG 2.2, 1.4.3).
"""

import itertools
from collections.abc import Sequence
from html import escape

PAPER = "#ffffff"
INK = "#1a1f26"
MUTED = "#56606c"
LINE = "#d5dbe2"
SHADE = "#f5f7f9"
CALLER = "#1d5fc4"
CALLER_SOFT = "#e3edfb"
US = "#b24e06"
US_SOFT = "#fcecdd"
TURN = "#0a7558"
TURN_SOFT = "#d3efe5"
BARGE_IN = "#7636b8"
BARGE_IN_SOFT = "#eee4f8"
BAD = "#c01a3d"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def text(
    x: float, y: float, words: str, *, fill: str = INK, size: float = 12, anchor: str = "start", weight: int = 400
) -> str:
    """Write one line, its baseline at `y`, with a rim of paper that keeps it off what is behind."""
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    rim = f' stroke="{PAPER}" stroke-width="3" paint-order="stroke" stroke-linejoin="round"' if fill != PAPER else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size:g}"{bold}{place}{rim}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, fill: str, *, radius: float = 0, more: str = "") -> str:
    """Fill a rectangle."""
    round_ = f' rx="{radius:g}"' if radius else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{round_}{more}/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, *, width: float = 1, dash: str = "") -> str:
    """Draw a line."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{stroke}" stroke-width="{width:g}"{dashes}/>'


def polygon(points: Sequence[tuple[float, float]], fill: str) -> str:
    """Fill a polygon."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{path}" fill="{fill}"/>'


def wave(left: float, middle: float, step: float, heights: Sequence[float], fill: str, *, opacity: float = 1) -> str:
    """Fill a shape that is as high above the middle as below it, with one height for each step to the right."""
    if not heights:
        return ""
    tenths = [round(10 * height) for height in heights]  # whole numbers, so that steps add up
    bottom = "".join(f"{'h-1' if rise == '0' else f'l-1 {rise}'}" for rise in reversed(_rises(tenths)))
    outline = f"M.5 {_short(-tenths[0])}{_steps(tenths)}v{_short(2 * tenths[-1])}{bottom}z"
    place = f"translate({left:g} {middle:g}) scale({step:.5g} 1)"
    return f'<path transform="{place}" d="{outline}" fill="{fill}"{_see_through(opacity)}/>'


def hill(left: float, bottom: float, heights: Sequence[float], fill: str, *, opacity: float = 1) -> str:
    """Fill a shape that stands on a line, with one height for each unit to the right."""
    tenths = [round(10 * height) for height in heights]
    outline = f"M.5 0v{_short(-tenths[0])}{_steps(tenths)}V0z"
    return f'<path transform="translate({left:g} {bottom:g})" d="{outline}" fill="{fill}"{_see_through(opacity)}/>'


def _steps(tenths: Sequence[int]) -> str:
    return "".join("h1" if rise == "0" else f"l1 {rise}" for rise in _rises(tenths))


def _rises(tenths: Sequence[int]) -> list[str]:
    return [_short(before - after) for before, after in itertools.pairwise(tenths)]


def _see_through(opacity: float) -> str:
    return f' fill-opacity="{opacity:g}"' if opacity < 1 else ""


def _short(tenths: int) -> str:
    """Write tenths as a number, with nothing that can be left out."""
    whole, rest = divmod(abs(tenths), 10)
    digits = f"{whole or ''}{f'.{rest}' if rest else ''}" or "0"
    return f"-{digits}" if tenths < 0 else digits


def document(width: float, height: float, title: str, description: str, elements: Sequence[str]) -> str:
    """Return a whole picture. Title and description are read to those who do not see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f' role="img" font-family="{escape(FONT)}">'
    )
    named = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return "\n".join([head, named, rect(0, 0, width, height, PAPER), *elements, "</svg>\n"])
