"""Whether this machine kept its processes waiting for a CPU: then a gap may be its fault, and is looked for again.

A measurement in real time says something about the bridge only if both ends were allowed to run. Where the kernel says
that they were not, it is repeated; a gap on a machine that had time is a failure at once.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

ATTEMPTS = 3
STARVED_SHARE = 0.6
"""Of the time, during which something that could run had to wait: less is usual while tests run, on two cores."""

P = ParamSpec("P")
T = TypeVar("T")


class GapsError(AssertionError):
    """Somebody heard a gap."""


def again_if_starved(measure: Callable[P, T]) -> Callable[P, T]:
    """Repeat a test, or a fixture's work, that found a gap while the machine was too busy to measure one."""

    @functools.wraps(measure)
    def measured(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            began_at, waited = time.monotonic(), _waited_seconds()
            try:
                return measure(*args, **kwargs)
            except GapsError as error:
                share = (_waited_seconds() - waited) / (time.monotonic() - began_at)
                if share < STARVED_SHARE or attempt == ATTEMPTS:
                    error.add_note(f"attempt {attempt}: something waited for a CPU during {share:.0%} of the time")
                    raise
        raise AssertionError("unreachable")

    return measured


def _waited_seconds() -> float:
    """Return how long something had to wait for a CPU since the machine started; 0 where the kernel keeps no account."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6
