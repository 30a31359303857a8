"""`smartflo-bridge forget`: deletes captures and recordings of calls from or to one number."""

import re
import sys
from pathlib import Path

import click

from smartflo_bridge.captures.forgetting import files_about
from smartflo_bridge.config import load_config
from smartflo_bridge.core.errors import BridgeError, ConfigError


@click.command()
@click.argument("number")
@click.option("--dry-run", is_flag=True, help="Name the files, and delete none.")
@click.option(
    "--in", "directories", multiple=True, type=click.Path(path_type=Path), help="Look here instead; repeatable."
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="Default: smartflo.toml, if it is there.")
def command(number: str, directories: tuple[Path, ...], file: Path | None, *, dry_run: bool) -> None:
    """Delete what capture-dir and record-dir hold of calls from or to NUMBER; - reads it from standard input.

    Pages and pictures beside a capture go too. A live call goes on; its files vanish when it ends.
    """
    number = sys.stdin.readline().strip() if number == "-" else number
    if not re.search(r"\d", number):
        msg = "NUMBER: has no digits"
        raise ConfigError(msg)
    if not directories:
        config = load_config(file)
        directories = tuple({Path(name) for name in (config.capture_dir, config.record_dir) if name})
    if not directories:
        msg = "neither capture-dir nor record-dir is configured, so nothing is kept; --in names other directories"
        raise ConfigError(msg)
    count = 0
    for directory in sorted(directories):
        try:
            for found in files_about(number, directory):
                if not dry_run:
                    found.unlink(missing_ok=True)
                click.echo(f"{'would delete' if dry_run else 'deleted'} {found}")
                count += 1
        except OSError as error:
            msg = f"{error.filename or directory}: {error.strerror}; what is named above is done, the rest is not"
            raise BridgeError(msg) from None
    click.echo(f"{count} {'file' if count == 1 else 'files'} {'found' if dry_run else 'deleted'}")
