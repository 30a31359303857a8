"""P7, P16: how many calls one core carries, found by bisection. Carried means: p99 below 5 ms, and nothing lost."""

from collections.abc import Callable
from dataclasses import dataclass

from speed.load import FRAME_BYTES, Load, Seen
from speed.rounds import Journal, measure
from speed.servers import OURS_20_MS, PLAIN, Server, daemon
from speed.verdicts import Outcome

P99_US = 5000
CLOSE_ENOUGH = 1.05
TRIES = 2
"""A stall of the machine costs a server one try, not its place."""
PLATFORM_BYTES = 800
LEAST_CALLS, MOST_CALLS = 20, 8000
DISTURBED = "in a try that failed the generator was late, or others had the core: it may be more"


@dataclass(frozen=True)
class Try:
    """Whether a load was carried; and if not, whether the generator or the machine may have been the reason."""

    is_carried: bool
    is_doubtful: bool = False


def is_carried(seen: Seen) -> bool:
    """Return True if a server did well under a load."""
    return not seen.troubles and seen.figure("latency_us", "p99") < P99_US


def try_load(server: Server, load: Load, journal: Journal) -> Try:
    """Put a load on a server, a second time if it fails."""
    is_doubtful = False
    for _ in range(TRIES):
        seen = measure(server, load, journal)
        if is_carried(seen):
            return Try(is_carried=True)
        is_doubtful = is_doubtful or seen.is_disturbed or bool(seen.generator_troubles)
    return Try(is_carried=False, is_doubtful=is_doubtful)


def most_calls(try_calls: Callable[[int], Try], first_guess: int) -> tuple[int, str]:
    """Return the most calls that were carried, and a note if the limit may have been another.

    The answer is at most 5 % below the fewest that were too many.
    """
    carried, too_many, note = 0, 0, ""
    calls = first_guess
    while LEAST_CALLS <= calls <= MOST_CALLS and not 0 < too_many < CLOSE_ENOUGH * carried:
        tried = try_calls(calls)
        if tried.is_carried:
            carried = calls
        else:
            too_many = calls
            note = DISTURBED if tried.is_doubtful else ""
        if carried and too_many:
            calls = round((carried * too_many) ** 0.5)
        else:
            calls = calls * 3 // 2 if tried.is_carried else calls * 2 // 3
    return carried, note


def capacity(server: Server, payload_bytes: int, first_guess: int, journal: Journal) -> tuple[int, str]:
    """Return the most calls that a server was seen to carry, with a note."""
    return most_calls(lambda calls: try_load(server, Load(calls, payload_bytes, seconds=3.0), journal), first_guess)


def compare_capacity(journal: Journal) -> tuple[dict[str, Outcome], dict[str, int]]:
    """Measure calls at 20 ms: P7."""
    if not journal.can(PLAIN):
        return {"P7": Outcome("", note="plain is not installed")}, {}
    ours, note = capacity(OURS_20_MS, FRAME_BYTES, 300, journal)
    plain, plain_note = capacity(PLAIN, FRAME_BYTES, 300, journal)
    ratio = ours / plain if plain else float("nan")
    return {"P7": Outcome(f"{ratio:.2f}x plain ({plain}): {ours}", (ratio, ours), note or plain_note)}, {"20 ms": ours}


def count_platform_calls(journal: Journal) -> tuple[dict[str, Outcome], dict[str, int]]:
    """Measure calls at Smartflo's own cadence, with the configuration as it comes: P16."""
    calls, note = capacity(daemon(), PLATFORM_BYTES, 1000, journal)
    return {"P16": Outcome(f"{calls}", (calls,), note)}, {"100 ms": calls}
