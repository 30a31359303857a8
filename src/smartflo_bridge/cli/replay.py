"""`smartflo-bridge replay`: a captured call again, folded, played to a live server, or as the answer to new callers."""

import asyncio
import secrets
import sys
import time
from pathlib import Path

import click
import uvloop

from smartflo_bridge.captures.anonymise import Anonymiser
from smartflo_bridge.captures.answering import answer_with, part_of
from smartflo_bridge.captures.comparison import Comparison, side_of
from smartflo_bridge.captures.file import create
from smartflo_bridge.captures.fold import fold
from smartflo_bridge.captures.format import CaptureError, encode_line, read_capture
from smartflo_bridge.captures.player import Played, play_to
from smartflo_bridge.captures.script import Script, script_of
from smartflo_bridge.cli.replay_show import show_comparison, show_fold
from smartflo_bridge.config import load_config
from smartflo_bridge.log import set_up_logging
from smartflo_bridge.server.service import run_service

MAX_SPEED = float("inf")


def _speed(text: str) -> float:
    """Read a speed."""
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 1 <= speed < MAX_SPEED:
        msg = f'{text!r} is neither a number of at least 1 nor "max"'
        raise click.BadParameter(msg)
    return speed


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("url", required=False)
@click.option(
    "--speed", type=_speed, metavar="SPEED", help='Of the caller. 1, the default, is real time; "max" does not wait.'
)
@click.option(
    "--budget-ms", type=click.IntRange(min=0), help="Exit with 1 if any turn is answered so much later than it was."
)
@click.option("--keep-ids", is_flag=True, help="Send streamSid and callSid as they were, not new ones.")
@click.option("--serve", is_flag=True, help="Answer callers with what the bridge said in FILE.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Of --serve. Default: smartflo.toml")
@click.option("--anonymise", "out", type=click.Path(path_type=Path), metavar="OUT", help="Write FILE without persons.")
@click.option("--anonymise-audio", is_flag=True, help="With --anonymise: noise in the place of voices.")
def command(
    file: Path,
    url: str | None,
    *,
    speed: float | None,
    budget_ms: int | None,
    config_file: Path | None,
    out: Path | None,
    keep_ids: bool,
    serve: bool,
    anonymise_audio: bool,
) -> None:
    """Replay the captured call FILE.

    Without a URL, through a fresh session: does the bridge of today say the very same? With the URL of a live server, its
    caller calls again. Exit code 1: there is a difference, or the budget is exceeded.
    """
    _refuse_mixtures(
        {"a URL": url is not None, "--serve": serve, "--anonymise": out is not None},
        {
            "--speed": ("a URL", speed is not None),
            "--budget-ms": ("a URL", budget_ms is not None),
            "--keep-ids": ("a URL", keep_ids),
            "--config": ("--serve", config_file is not None),
            "--anonymise-audio": ("--anonymise", anonymise_audio),
        },
    )
    if url is not None:
        _play(file, url, speed or 1.0, budget_ms, keeps_ids=keep_ids)
    elif serve:
        _serve(file, config_file or Path("smartflo.toml"))
    elif out is not None:
        _anonymise(file, out, replaces_audio=anonymise_audio)
    else:
        _fold(file)


def _refuse_mixtures(uses: dict[str, bool], options: dict[str, tuple[str, bool]]) -> None:
    """Refuse two uses at once, and options of another use than the one asked for."""
    chosen = [use for use, is_chosen in uses.items() if is_chosen]
    if len(chosen) > 1:
        msg = f"{' and '.join(chosen)} do not go together"
        raise click.UsageError(msg)
    for option, (use, is_given) in options.items():
        if is_given and use not in chosen:
            msg = f"{option} goes with {use}"
            raise click.UsageError(msg)


def _fold(file: Path) -> None:
    header, records = read_capture(file)
    began = time.perf_counter()
    result = fold(header, records)
    show_fold(file, header, result, time.perf_counter() - began)
    if result.difference is not None:
        sys.exit(1)


def _play(file: Path, url: str, speed: float, budget_ms: int | None, *, keeps_ids: bool) -> None:
    _, stream = read_capture(file)
    records = list(stream)
    script = script_of(records, keeps_ids=keeps_ids)
    played = asyncio.run(_played(url, script, speed))
    code = records[-1].code if records else None
    comparison = Comparison(side_of(records, code), side_of(played.records, played.close_code, speed=speed))
    beyond = [] if budget_ms is None else comparison.beyond(budget_ms / 1000)
    show_comparison(comparison, played, beyond, speed)
    if beyond:
        sys.exit(1)


async def _played(url: str, script: Script, speed: float) -> Played:
    """Play, with a bar where there is a terminal: a call takes its time."""
    if not sys.stderr.isatty():
        return await play_to(url, script, speed)
    shown_ms = 0
    with click.progressbar(length=script.cues[-1].at_ns // 1_000_000, label="calling", file=sys.stderr) as bar:

        def show(seconds: float) -> None:
            nonlocal shown_ms
            bar.update(round(seconds * 1000) - shown_ms)
            shown_ms = round(seconds * 1000)

        return await play_to(url, script, speed, show)


def _serve(file: Path, config_file: Path) -> None:
    _, records = read_capture(file)
    handler = answer_with(part_of(records))
    config = load_config(config_file)
    set_up_logging(config.log_level)
    uvloop.run(run_service(config, config_file.resolve().parent, handler))


def _anonymise(file: Path, out: Path, *, replaces_audio: bool) -> None:
    header, records = read_capture(file)
    anonymiser = Anonymiser(header, secrets.token_bytes(32), replaces_audio=replaces_audio)
    anonymiser.note_keys(records)
    _, records = read_capture(file)
    try:
        stream = create(out)
    except OSError as error:
        msg = f"{out}: {error.strerror}"
        raise CaptureError(msg) from None
    try:
        stream.write(encode_line(anonymiser.header))
        for record in anonymiser.records(records):
            stream.write(encode_line(record))
        stream.close()
    except BaseException:
        out.unlink()
        raise
    voices = "noise in the place of voices" if replaces_audio else "the voices are in it, and what they say"
    click.echo(f"wrote {out}: ids, numbers, keys and words replaced; {voices}")
