"""What is measured in which order, of all figures or of some."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from speed.capacity import compare_capacity, count_platform_calls
from speed.comparing import (
    Size,
    compare_100_ms,
    compare_essentials,
    compare_frames,
    compare_many,
    compare_paced,
    compare_pipecat,
    compare_threads,
)
from speed.footprint import endurance, memory, share_port, starts
from speed.inprocess import a_minute_at_once, resampling
from speed.machine import taking_turns
from speed.rounds import Journal, Rounds
from speed.timing import interrupts, newcomers, pacing, response
from speed.verdicts import NUMBERS, Outcome

FULL = Size(rounds=4, seconds=4.0)
SHORT = Size(rounds=2, seconds=3.0)
QUICK = Size(rounds=2, seconds=1.5)
PACED = Size(rounds=3, seconds=4.0)
GATE = Size(rounds=5, seconds=1.5)
LONG_MINUTES, SHORT_MINUTES = 30, 3

GATE_P1, GATE_P4 = 0.80, 2.2
"""A change that makes the daemon slower than this, in the best of five short rounds, does not land."""


@dataclass
class Results:
    """What has been measured so far."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    rounds: dict[str, Rounds] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)

    def keep_rounds(self, key: str, measured: tuple[dict[str, Outcome], Rounds]) -> None:
        """Keep a comparison of all servers."""
        self.outcomes.update(measured[0])
        self.rounds[key] = measured[1]

    def keep_paced(self, rounds: Rounds) -> None:
        """Keep the comparison at an ordinary load; the notes of P1 to P4 tell its ratios."""
        self.rounds["paced"] = rounds
        pairs = {"P1": ("ours", "bare"), "P2": ("ours", "picows"), "P3": ("ours", "Node ws"), "P4": ("FastAPI", "ours")}
        for number, pair in pairs.items():
            ratio, outcome = rounds.ratio(*pair), self.outcomes.get(number)
            if ratio is not None and outcome is not None:
                note = f"{ratio:.2f} at {rounds.load.calls} paced calls"
                self.outcomes[number] = replace(outcome, note=", ".join(filter(None, [outcome.note, note])))

    def keep_capacity(self, measured: tuple[dict[str, Outcome], dict[str, int]]) -> None:
        """Keep how many calls a core carries."""
        self.outcomes.update(measured[0])
        self.carried.update(measured[1])


Step = tuple[tuple[str, ...], Callable[[], None]]


def in_turn(figures: Callable[[], dict[str, Outcome]]) -> dict[str, Outcome]:
    """Measure when things come, without coming before everybody else."""
    with taking_turns():
        return figures()


def full_steps(results: Results, journal: Journal, minutes: int) -> list[Step]:
    """Return the steps, each with the figures that it gives."""
    keep = results.outcomes.update
    return [
        (("P20",), lambda: keep(starts())),
        (
            ("P1", "P2", "P3", "P4"),
            lambda: results.keep_rounds("20", compare_frames(FULL, journal)),
        ),
        (("paced",), lambda: results.keep_paced(compare_paced(PACED, journal))),
        (("P5",), lambda: keep(compare_pipecat(FULL, journal))),
        (("P6",), lambda: results.keep_rounds("100", compare_100_ms(SHORT, journal, everybody=True))),
        (("P7",), lambda: results.keep_capacity(compare_capacity(journal))),
        (("P8",), lambda: keep(in_turn(lambda: response(8.0, journal)))),
        (("P9",), lambda: keep(in_turn(lambda: pacing(60.0, journal)))),
        (("P10",), lambda: keep(memory(journal))),
        (("P11",), lambda: keep(compare_many(FULL, journal))),
        (("P12",), lambda: keep(endurance(minutes, journal))),
        (("P13",), lambda: keep(a_minute_at_once())),
        (("P14",), lambda: keep(resampling(journal))),
        (("P15",), lambda: keep(share_port(3, FULL.seconds, journal))),
        (("P16",), lambda: results.keep_capacity(count_platform_calls(journal))),
        (("P17",), lambda: keep(in_turn(lambda: newcomers(journal)))),
        (("P18",), lambda: keep(in_turn(lambda: interrupts(10.0, journal)))),
        (("P19",), lambda: keep(compare_threads(FULL, journal))),
    ]


def measure_all(journal: Journal, only: set[str], minutes: int) -> Results:
    """Measure all figures, or those named. One that fails leaves its row empty, and says why."""
    results = Results()
    for numbers, step in full_steps(results, journal, minutes):
        if only and not only & set(numbers):
            continue
        began = time.monotonic()
        print(f"{', '.join(numbers)}:", flush=True)
        try:
            step()
        except (RuntimeError, OSError) as why:
            results.outcomes.update({number: Outcome("", note=str(why)) for number in numbers if number in NUMBERS})
            print(f"  failed: {why}", flush=True)
        for number in numbers:
            if outcome := results.outcomes.get(number):
                print(f"  {number} = {outcome.measured or '-'}  {outcome.note}")
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return results


def measure_quickly(journal: Journal) -> Results:
    """Measure P1, P4 and P6 in about a minute."""
    results = Results()
    results.keep_rounds("20", compare_essentials(QUICK, journal))
    results.keep_rounds("100", compare_100_ms(Size(1, 2.0), journal, everybody=False))
    return results


def best_ratios(rounds: Rounds) -> tuple[float, float]:
    """Return P1 and P4 of their best rounds. Where others had the core a frame looks cheaper: such rounds are the last resort."""
    p1 = rounds.ratios("ours", "bare", quiet=True) or rounds.ratios("ours", "bare")
    p4 = rounds.ratios("FastAPI", "ours", quiet=True) or rounds.ratios("FastAPI", "ours")
    return min(p1, default=float("inf")), max(p4, default=0.0)


def gate(journal: Journal) -> bool:
    """Measure P1 and P4 in five short rounds, and say whether the best of them is good enough."""
    _, rounds = compare_essentials(GATE, journal)
    p1, p4 = best_ratios(rounds)
    is_good = p1 <= GATE_P1 and p4 >= GATE_P4
    print(f"\nbest of {GATE.rounds} rounds: P1 {p1:.2f} (at most {GATE_P1}), P4 {p4:.2f} (at least {GATE_P4})")
    print("gate: passed" if is_good else "gate: FAILED")
    return is_good
