"""A still picture as PNG, for a ticket that shows no SVG: drawn by resvg, which is an extra, and loaded when first asked for.

resvg takes the letters from the machine's fonts. Where there is none it would leave all words out and say nothing, so that is
looked at first.
"""

import importlib
from typing import Protocol, cast

from smartflo_bridge.core.errors import ConfigError

ZOOM = 2.0
"""Pixels a unit: as fine as what the page's button saves, so that small print can be read when a ticket scales it down."""

_PROBE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text y="15" fill="#000">{}</text></svg>'


class _Renderer(Protocol):
    """What is used of resvg_py."""

    def svg_to_bytes(self, *, svg_string: str, zoom: float, font_family: str, sans_serif_family: str) -> bytes:
        """Return a PNG file."""
        ...


def png_of(picture: str) -> bytes:
    """Return an SVG document as a PNG file.

    Raises:
        ConfigError: resvg_py is not installed, or the machine has no font.
    """
    try:
        renderer = cast("_Renderer", importlib.import_module("resvg_py"))
    except ImportError:
        msg = "--png needs resvg: pip install 'smartflo-bridge[png]' (--svg needs nothing)"
        raise ConfigError(msg) from None
    if _drawn(renderer, _PROBE.format("A")) == _drawn(renderer, _PROBE.format("")):
        msg = "--png finds no font for the words: on Debian, apt install fonts-dejavu-core (--svg needs none)"
        raise ConfigError(msg)
    return _drawn(renderer, picture)


def _drawn(renderer: _Renderer, picture: str) -> bytes:
    family = "DejaVu Sans"  # where the picture's other families are not there; any font is taken where this is not
    return renderer.svg_to_bytes(svg_string=picture, zoom=ZOOM, font_family=family, sans_serif_family=family)
