"""P1-P6, P11, P19: processor time per frame, of servers under the same load in turns.

Why processor time of paced calls, and not the throughput of a flood: the daemon plays what a handler gives it in real time
and no faster, so a flood would be measured against its clock. And the time that a server takes for a frame depends on how
busy it is, because an idle core has to be woken: so the load is the same for all that are compared.
"""

from dataclasses import dataclass
from statistics import median

from speed.load import Load
from speed.rounds import Journal, Rounds, measure, take_turns
from speed.servers import ALL, BARE, FASTAPI, FRAME_BY_FRAME, OURS_20_MS, PIPECAT_ECHO, daemon
from speed.verdicts import Outcome

CALLS = 200
"""At 50 frames a second each way: what the slowest but pipecat carries on one core."""
CALLS_100_MS = 600
PIPECAT_CALLS = 40
THREAD_CALLS = 100
"""A handler's thread makes the daemon's second one: a load that also a slower machine carries."""

OURS_100_MS = daemon()
USER_ECHO = daemon({**FRAME_BY_FRAME, "handler": "smartflo_bridge.handlers.echo:echo"}, "ours, thread")


@dataclass(frozen=True)
class Size:
    """How long the measurements are."""

    rounds: int
    seconds: float


def ratio_outcome(rounds: Rounds, name: str, to: str) -> Outcome:
    """Return the ratio of two servers as an outcome."""
    ratio = rounds.ratio(name, to)
    if ratio is None:
        return Outcome("", note=f"{name} or {to} is not installed")
    slow = [one for one in (name, to) if not rounds.kept_up(one)]
    note = f"asked for more than a core carries: {', '.join(slow)}" if slow else ""
    return Outcome(f"{ratio:.2f}", (ratio,), note)


def compare_frames(size: Size, journal: Journal) -> tuple[dict[str, Outcome], Rounds]:
    """Measure everybody at 20 ms frames: P1 to P4."""
    rounds = take_turns(ALL, Load(CALLS, seconds=size.seconds), size.rounds, journal)
    ours = OURS_20_MS.name
    pairs = {"P1": (ours, "bare"), "P2": (ours, "picows"), "P3": (ours, "Node ws"), "P4": ("FastAPI", ours)}
    return {number: ratio_outcome(rounds, *pair) for number, pair in pairs.items()}, rounds


def compare_essentials(size: Size, journal: Journal) -> tuple[dict[str, Outcome], Rounds]:
    """Measure only what P1 and P4 need."""
    load = Load(CALLS, seconds=size.seconds, warm_up_seconds=0.6, settle_seconds=0.3)
    rounds = take_turns((OURS_20_MS, BARE, FASTAPI), load, size.rounds, journal)
    ours = OURS_20_MS.name
    return {"P1": ratio_outcome(rounds, ours, "bare"), "P4": ratio_outcome(rounds, "FastAPI", ours)}, rounds


def compare_100_ms(size: Size, journal: Journal, *, everybody: bool) -> tuple[dict[str, Outcome], Rounds]:
    """Measure chunks of 100 ms, Smartflo's own cadence, answered with messages as long: P6."""
    servers = (OURS_100_MS, *ALL[1:]) if everybody else (OURS_100_MS, BARE)
    load = Load(CALLS_100_MS, payload_bytes=800, seconds=size.seconds)
    rounds = take_turns(servers, load, size.rounds, journal)
    return {"P6": ratio_outcome(rounds, OURS_100_MS.name, "bare")}, rounds


def compare_pipecat(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure pipecat beside us, at as few calls as it carries: P5."""
    load = Load(PIPECAT_CALLS, seconds=size.seconds, settle_seconds=2.0)
    rounds = take_turns((OURS_20_MS, PIPECAT_ECHO), load, min(size.rounds, 3), journal)
    return {"P5": ratio_outcome(rounds, "pipecat", OURS_20_MS.name)}


def compare_many(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure 500 calls against 50: P11."""
    frames: dict[int, list[float]] = {50: [], 500: []}
    carried = True
    for _ in range(min(size.rounds, 3)):
        for calls, us in frames.items():
            seen = measure(OURS_20_MS, Load(calls, seconds=size.seconds), journal)
            us.append(seen.us_per_frame)
            carried = carried and seen.has_kept_up
    few, many = map(median, frames.values())
    note = "" if carried else "500 calls at 20 ms are more than the core carried"
    return {"P11": Outcome(f"{many / few:.2f}", (many / few,), note)}


def compare_threads(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure the echo as a user's handler, on the handlers' thread, against the built-in one: P19."""
    rounds = take_turns((OURS_20_MS, USER_ECHO), Load(THREAD_CALLS, seconds=size.seconds), min(size.rounds, 3), journal)
    extra = rounds.us(USER_ECHO.name) - rounds.us(OURS_20_MS.name)
    return {"P19": Outcome(f"{extra:.1f}", (extra,))}
