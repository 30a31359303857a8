"""P1-P6, P11, P19: processor time per frame, of servers under the same load in turns.

Two loads, because the time that a server takes for a frame depends on how busy it is: an idle core has to be woken for each
frame, which costs any server as much again. *Saturated*: so many calls that a core has always something to do; that is
what the limits of P1 to P4 and P6 are about. *Paced*: 200 calls, which all but pipecat carry, as on an ordinary day.

Both are calls in real time, and no flood: the daemon plays what a handler gives it in real time and no faster, so a flood
would be measured against its clock. A call of a saturated server has at most four frames under way, or two chunks of 100 ms,
and those that are due wait; so each call is slower than real time, the daemon's pacing holds nothing back, and no queue grows.
"""

from dataclasses import dataclass, replace
from statistics import median

from speed.load import Load
from speed.rounds import Journal, Rounds, measure, take_turns
from speed.servers import ALL, BARE, FASTAPI, FRAME_BY_FRAME, OURS_20_MS, PIPECAT_ECHO, daemon
from speed.verdicts import Outcome

CALLS = 200
"""At 50 frames a second each way: what the slowest but pipecat carries on one core."""
SATURATED = Load(2000, warm_up_seconds=0.6, settle_seconds=0.3, most_under_way=4)
"""100,000 frames a second: more than all but picows and C carry on one core."""
SATURATED_100_MS = Load(5000, payload_bytes=800, warm_up_seconds=0.6, settle_seconds=0.3, most_under_way=2)
"""50,000 chunks a second; two under way are as long as the lead, so here too pacing holds nothing back."""
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
    for one in (name, to):
        if one not in rounds.seen:
            return Outcome("", note=f"{one} is not installed")
    ratio = rounds.ratio(name, to)
    if ratio is None:
        return Outcome("", note="others had the servers' core in every round")
    return Outcome(f"{ratio:.2f}", (ratio,), ", ".join(rounds.troubles(name)[:3]))


def compare_frames(size: Size, journal: Journal) -> tuple[dict[str, Outcome], Rounds]:
    """Measure everybody at 20 ms frames, saturated: P1 to P4."""
    rounds = take_turns(ALL, replace(SATURATED, seconds=size.seconds), size.rounds, journal)
    ours = OURS_20_MS.name
    pairs = {"P1": (ours, "bare"), "P2": (ours, "picows"), "P3": (ours, "Node ws"), "P4": ("FastAPI", ours)}
    return {number: ratio_outcome(rounds, *pair) for number, pair in pairs.items()}, rounds


def compare_paced(size: Size, journal: Journal) -> Rounds:
    """Measure everybody at 200 calls."""
    return take_turns(ALL, Load(CALLS, seconds=size.seconds), size.rounds, journal)


def compare_essentials(size: Size, journal: Journal) -> tuple[dict[str, Outcome], Rounds]:
    """Measure only what P1 and P4 need."""
    rounds = take_turns((OURS_20_MS, BARE, FASTAPI), replace(SATURATED, seconds=size.seconds), size.rounds, journal)
    ours = OURS_20_MS.name
    return {"P1": ratio_outcome(rounds, ours, "bare"), "P4": ratio_outcome(rounds, "FastAPI", ours)}, rounds


def compare_100_ms(size: Size, journal: Journal, *, everybody: bool) -> tuple[dict[str, Outcome], Rounds]:
    """Measure chunks of 100 ms, Smartflo's own cadence, answered with messages as long, saturated: P6."""
    servers = (OURS_100_MS, *ALL[1:]) if everybody else (OURS_100_MS, BARE)
    rounds = take_turns(servers, replace(SATURATED_100_MS, seconds=size.seconds), size.rounds, journal)
    return {"P6": ratio_outcome(rounds, OURS_100_MS.name, "bare")}, rounds


def compare_pipecat(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure pipecat beside us, at as few calls as it carries: P5."""
    load = Load(PIPECAT_CALLS, seconds=size.seconds, settle_seconds=2.0)
    rounds = take_turns((OURS_20_MS, PIPECAT_ECHO), load, min(size.rounds, 3), journal)
    return {"P5": ratio_outcome(rounds, "pipecat", OURS_20_MS.name)}


def compare_many(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure 500 paced calls against 50, and, because those 50 let the core sleep, 2000 against 500 saturated: P11."""
    loads = {
        "few": Load(50, seconds=size.seconds),
        "many": Load(500, seconds=size.seconds),
        "busy": replace(SATURATED, calls=500, seconds=size.seconds),
        "busier": replace(SATURATED, calls=2000, seconds=size.seconds),
    }
    seen = {name: [measure(OURS_20_MS, load, journal) for _ in range(2)] for name, load in loads.items()}
    us = {name: median(one.us_per_frame for one in runs) for name, runs in seen.items()}
    paced, saturated = us["many"] / us["few"], us["busier"] / us["busy"]
    carried = all(one.has_kept_up for one in seen["many"])
    note = f"the worse counts; {'carried' if carried else '500 at 20 ms were more than the core carried'}"
    return {
        "P11": Outcome(f"{paced:.2f}; saturated, 2000 against 500: {saturated:.2f}", (max(paced, saturated),), note)
    }


def compare_threads(size: Size, journal: Journal) -> dict[str, Outcome]:
    """Measure the echo as a user's handler, on the handlers' thread, against the built-in one: P19."""
    rounds = take_turns((OURS_20_MS, USER_ECHO), Load(THREAD_CALLS, seconds=size.seconds), min(size.rounds, 3), journal)
    extra = rounds.us(USER_ECHO.name) - rounds.us(OURS_20_MS.name)
    return {"P19": Outcome(f"{extra:.1f}", (extra,))}
