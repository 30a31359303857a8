"""P13, P14: what is measured in a process of its own, without a wire."""

import json
import os
import subprocess

from speed.install import HERE, OTHERS, OURS, ROOT
from speed.load import SERVER_CORE
from speed.rounds import Journal
from speed.servers import environment
from speed.verdicts import Outcome

PAIRS = [("8000", "16000"), ("16000", "8000"), ("8000", "24000"), ("24000", "8000")]
LIMIT_SECONDS = 120


def output_of(*command: str, **variables: str) -> str:
    """Return what a program prints, run on the servers' core."""
    pinned = ["taskset", "--cpu-list", str(SERVER_CORE), *command]
    done = subprocess.run(
        pinned,
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
        env={**environment(), **variables},
    )
    return done.stdout


def a_minute_at_once() -> dict[str, Outcome]:
    """Hand a minute of speech to a session at once: P13."""
    seen = json.loads(output_of(str(OURS), str(HERE / "inside.py")))
    ratio = seen["minute_us"] / seen["second_us"]
    measured = f"{ratio:.2f}x; {seen['interrupt_ms']:.3f}; {seen['packets_after']}"
    note = f"bounded at {seen['cap_seconds']:.0f} s (twice queue-seconds) for a handler that does not wait"
    return {"P13": Outcome(measured, (ratio, seen["interrupt_ms"], seen["packets_after"]), note)}


def resampling(journal: Journal) -> dict[str, Outcome]:
    """Take the worst of the four directions that agents use, as `scripts/bench/resampling` measures them: P14."""
    if "others" in journal.missing:
        return {"P14": Outcome("", note="numpy is not installed")}
    source = os.fspath(ROOT / "src")
    text = output_of(str(OTHERS), str(ROOT / "scripts" / "bench" / "resampling"), PYTHONPATH=source)
    us, db, delay = [], [], []
    for line in text.splitlines():
        words = line.replace("->", " ").split()
        if tuple(words[:2]) in PAIRS:
            us.append(float(words[2]))
            db.append(float(words[-3]))
            delay.append(float(words[-1]))
    worst = (max(us), max(db), max(delay))
    return {"P14": Outcome("{:.1f}; {:.0f}; {:.1f}".format(*worst), worst, "the worst of the four directions")}
