"""The command line of `scripts/soak`, and what it prints."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
import uvloop
from speed.machine import coming_first

from soaking.mix import CI, HOUR, STEADY, Load
from soaking.run import CORES, Outcome, Soak
from soaking.table import commit, lines, write

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".soak"
CI_MINUTES = 3.0
MOST_FAULTS = 20
"""That are printed; all are kept."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Soak the daemon: docs/reliability.md says how.")
    parser.add_argument(
        "--minutes", type=float, default=CI_MINUTES, help="default: 3. From 10, it is the load of the hour"
    )
    parser.add_argument("--calls", type=int, help="at once, instead of the load's")
    parser.add_argument("--per-second", type=float, help="new calls, instead of the load's")
    parser.add_argument(
        "--steady",
        type=int,
        choices=sorted(frames * 20 for frames in STEADY),
        help="bridged calls that last as long as the soak, and speak every so many ms: goals G1 (100) and G2 (20)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order and the lengths of calls")
    parser.add_argument("--polite", action="store_true", help="do not come before everybody else on the machine")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    if given.write and given.steady is not None:
        parser.error("--write is for the mix of calls: a steady load's table would take its place in the document")
    return given


def chosen_load(given: argparse.Namespace) -> Load:
    """Return the load: a steady one if that is asked for, that of CI for a few minutes, that of the hour for longer."""
    usual = STEADY.get((given.steady or 0) // 20) or (CI if given.minutes < 10 else HOUR)
    return Load(given.calls or usual.calls, given.per_second or usual.per_second, usual.steady_frames)


def keep(folder: Path, outcome: Outcome) -> None:
    """Write down what a failed soak leaves to whoever looks for the cause."""
    kept: dict[str, Sequence[object]] = {
        "samples.jsonl": outcome.samples,
        "calls.jsonl": [{"faults": faults, "heard": heard} for heard, faults in outcome.bad_calls + outcome.discarded],
        "stalls.jsonl": outcome.stalls,
        "faults.jsonl": outcome.faults,
    }
    for name, rows in kept.items():
        (folder / name).write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def main() -> None:
    """Soak, print what was found, and exit with 1 if it is not as it must be."""
    given = arguments()
    if len(CORES) < 2:
        sys.exit("soak: needs two cores, one for the daemons, and one for callers and agent")
    folder = KEPT / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    at_commit = commit()
    soak = Soak(chosen_load(given), given.minutes * 60, folder, given.seed)
    with nullcontext() if given.polite else coming_first():
        outcome = uvloop.run(soak.run())
    keep(folder, outcome)
    for fault in outcome.faults[:1]:
        print(f"soak: failed first: {fault}")
    told = lines(outcome, shlex.join(["scripts/soak", *sys.argv[1:]]), at_commit)
    for name, value in told:
        print(f"{name:28} {value}")
    for fault in outcome.faults[:MOST_FAULTS]:
        print(f"soak: failed: {fault}")
    if outcome.faults:
        sys.exit(
            f"soak: failed, {len(outcome.faults)} faults; the samples, logs and calls are in {folder.relative_to(ROOT)}"
        )
    if given.write:
        write(told)
    print("soak: passed")


if __name__ == "__main__":
    main()
