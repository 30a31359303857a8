"""The program behind `scripts/fuzz`: fuzzes targets, each in a process of its own, and says what came of it.

What is kept lies in `.cache/fuzz`: inputs that reached new code, with which the next run begins, and findings.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import NAMES, find

KEPT = Path(__file__).parents[2] / ".cache/fuzz"

HANG_SECONDS = 30
"""An input takes a millisecond; this much, even beside much else, only if it never ends."""

MEMORY_MB = 2048
TOLD_LINES = 25


def main() -> int:
    """Return 0 if nothing was found, 1 with a finding, 2 if it cannot run."""
    asked = _parsed(sys.argv[1:])
    if asked.replay is not None:
        return replay(asked.replay, asked.target)
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: the Python package atheris is not installed; the extra `dev` has it on Linux, from Python 3.12 on")
        return 2
    with ThreadPoolExecutor(asked.jobs) as runs:
        codes = runs.map(lambda name: fuzz(name, asked.seconds, asked.corpus), asked.target or NAMES)
        return max(codes)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Looks for inputs that break the bridge.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one; may be given again")
    parser.add_argument("--corpus", type=Path, default=KEPT, help="where inputs and findings are kept")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (default: %(default)s)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a finding, once more")
    return parser.parse_args(arguments)


def fuzz(name: str, seconds: int, kept: Path) -> int:
    """Fuzz one target for so long, and print a line about it; with a finding, what was raised and how to see it again."""
    inputs, findings = kept / name, kept / "findings"
    for folder in (inputs, findings):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        seeds = Path(made) / "seeds"
        words = Path(made) / "words"
        _write_seeds(name, seeds, words)
        flags = [  # libFuzzer's
            f"-max_total_time={seconds}",
            f"-max_len={find(name).MAX_BYTES}",
            f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-artifact_prefix={findings}/{name}-",
            *([f"-dict={words}"] if find(name).WORDS else []),
            "-print_final_stats=1",
        ]
        command = [sys.executable, "-m", "fuzz.guided", name, *flags, inputs, seeds]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = ran.stdout.decode(errors="replace")
    if ran.returncode == 0:
        print(f"{name}: {_summary(said)}", flush=True)
        return 0
    print(f"{name}: a finding, or it cannot run (exit code {ran.returncode})\n{_end_of(said)}", flush=True)
    for file in re.findall(r"Test unit written to (.+)", said):
        print(f"\nto see it again: scripts/fuzz --replay {file}", flush=True)
    return 1


def _write_seeds(name: str, seeds: Path, words: Path) -> None:
    target = find(name)
    seeds.mkdir()
    for number, seed in enumerate(target.seeds()):
        (seeds / str(number)).write_bytes(seed[: target.MAX_BYTES])
    entries = [word if isinstance(word, bytes) else word.encode() for word in target.WORDS]
    words.write_text("".join(f'"{_escaped(entry)}"\n' for entry in entries))


def _escaped(entry: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in entry)


def _summary(said: str) -> str:
    """Say in a line how much was tried and reached. Edges are libFuzzer's: ways from one place of our code to another."""
    runs = re.search(r"stat::number_of_executed_units: (\d+)", said)
    rate = re.search(r"stat::average_exec_per_sec: +(\d+)", said)
    reached = re.findall(r"cov: (\d+) .*?corp: (\d+)", said)
    first = re.search(r"INITED cov: (\d+)", said)
    if not (runs and rate and reached and first):
        return f"nothing found, and no figures in what it said:\n{_end_of(said)}"
    edges, inputs = reached[-1]
    return f"nothing found in {runs[1]} runs ({rate[1]}/s), {edges} edges ({first[1]} at first), {inputs} inputs kept"


def _end_of(said: str) -> str:
    """Return what was raised, or what was said last."""
    lines = said.splitlines()
    raised = next((at for at, line in enumerate(lines) if "Uncaught Python exception" in line), None)
    return "\n".join(lines[-TOLD_LINES:] if raised is None else lines[raised : raised + 2 * TOLD_LINES])


def replay(file: Path, named: list[str] | None) -> int:
    """Try one input, in this process and without atheris; its name begins with its target's."""
    name = (named or [file.name.partition("-")[0]])[0]
    if name not in NAMES:
        print(f"fuzz: {file}: of which target? (--target {' or '.join(NAMES)})")
        return 2
    try:
        find(name).check(file.read_bytes())
    except Exception:  # noqa: BLE001 - whatever it is, it is what was found
        traceback.print_exc()
        return 1
    print(f"{name}: nothing is wrong with {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
