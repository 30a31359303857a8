"""`smartflo-bridge report`: the picture of a captured call."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.captures.masking import masked
from smartflo_bridge.captures.raster import png_of
from smartflo_bridge.captures.report import page_of
from smartflo_bridge.captures.still import still_picture
from smartflo_bridge.captures.story import tell_story
from smartflo_bridge.captures.summary import figures
from smartflo_bridge.core.errors import ConfigError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="A still picture to write, for a ticket.")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="The same as PNG; needs smartflo-bridge[png]."
)
@click.option("--audio/--no-audio", default=True, show_default=True, help="Whether the page can play the call.")
@click.option("--show-numbers", is_flag=True, help="Do not mask telephone numbers and entries of several keys.")
def command(
    file: Path, out: Path | None, svg: Path | None, png: Path | None, *, audio: bool, show_numbers: bool
) -> None:
    """Draw the captured call FILE: one page that needs no network, or a still picture, or both.

    Without -o, --svg and --png the page is written beside FILE. Numbers are masked, but not what is said: the audio is
    the call's.
    """
    header, records = read_capture(file)
    story = tell_story(header, records)
    if not show_numbers:
        story = masked(story)
    for figure in figures(story):
        click.echo(f"{figure.name:<14}{figure.value}, {figure.detail}")
    if out is None and svg is None and png is None:
        out = _beside(file)
    if out is not None:
        _write(out, (part.encode() for part in page_of(story, with_audio=audio)))
    if svg is not None:
        _write(svg, [still_picture(story).encode()])
    if png is not None:
        _write(png, [png_of(still_picture(story))])


def _beside(file: Path) -> Path:
    """Return the page's name: the capture's, with another suffix."""
    name = file.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".capture")
    return file.with_name(f"{name}.html")


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that only its owner can read: it holds what the capture holds, which is no less private."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(pieces)
            size = out.tell()
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ConfigError(msg) from None
    click.echo(f"wrote {path}, {size / 1e6:.1f} MB")
