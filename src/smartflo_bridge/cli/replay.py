"""`smartflo-bridge replay`: a recorded caller calls again."""

import asyncio
from collections import Counter
from pathlib import Path

import click

from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.captures.replay import ReplayReport, replay_to


class _Speed(click.ParamType[float | None]):
    name = "speed"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value == "max":
            return None
        try:
            speed = float(value)
        except ValueError:
            speed = 0
        if speed < 1:
            self.fail(f'{value!r} is neither a number of at least 1 nor "max"', param, ctx)
        return speed


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("url", default="ws://127.0.0.1:8000/vendor-stream")
@click.option("--speed", type=_Speed(), default="1", show_default=True, help='1 is real time; "max" does not wait.')
def command(file: Path, url: str, speed: float | None) -> None:
    """Send what the platform sent in the captured call FILE to the server at URL, and count what comes back."""
    header, records = read_capture(file)
    click.echo(f"{file.name}: captured {header.began} by version {header.software}")
    report = asyncio.run(replay_to(url, list(records), speed))
    _print(report)


def _print(report: ReplayReport) -> None:
    click.echo(f"sent       {_counts(report.sent)}, in {report.seconds:.1f} s")
    click.echo(f"came back  {_counts(report.answered)}, {report.audio_bytes / 8000:.1f} s of audio")
    click.echo(f"recorded   {_counts(report.recorded)}")
    first = "none" if report.first_audio_seconds is None else f"after {report.first_audio_seconds * 1000:.0f} ms"
    click.echo(
        f"first audio {first}; close code {report.close_code}; sent at most "
        f"{report.worst_lateness_seconds * 1000:.1f} ms late by this program"
    )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
