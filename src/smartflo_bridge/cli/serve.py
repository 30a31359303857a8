"""`smartflo-bridge serve`: the daemon."""

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

import click
import uvloop

from smartflo_bridge.config import DEFAULT_FILE, load_config
from smartflo_bridge.log import set_up_logging
from smartflo_bridge.server.service import run_service


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), help="Default: smartflo.toml, if it is there.")
def command(file: Path | None) -> None:
    """Answer calls until SIGTERM or SIGINT; live calls may then finish, within drain-seconds. A second one cuts them."""
    config = load_config(file)
    _hold_standard_streams()
    set_up_logging(config.log_level)
    uvloop.run(run_service(config, (file or DEFAULT_FILE).resolve().parent))
    logging.shutdown()
    if threading.active_count() > 1:
        os._exit(0)  # a handler blocks a thread for good, and the interpreter would wait for those of pools


def _hold_standard_streams() -> None:
    """Open what whoever started us has closed: else a call's connection gets the number of standard error."""
    for number in (0, 1, 2):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
