"""P8, P9, P17, P18: when things come, seen at the caller's end of the wire."""

import time

from speed.load import Load, finish, run_load, start
from speed.rounds import Journal, measure
from speed.servers import FRAME_BY_FRAME, OURS_20_MS, daemon, running
from speed.verdicts import Outcome

SPEAKER = daemon({**FRAME_BY_FRAME, "handler": "answers:speak", "queue-seconds": 2.0}, "ours, speaks")
GIVES_WAY = daemon({**FRAME_BY_FRAME, "handler": "answers:give_way"}, "ours, gives way")

TALKING = 200
NEW = 50
TRIES = 3


def response(seconds: float, journal: Journal) -> dict[str, Outcome]:
    """Measure the time from a frame sent to its echo, at 300 calls: P8. The best of three tries: a stall is not ours."""
    tries = [measure(OURS_20_MS, Load(300, seconds=seconds), journal) for _ in range(TRIES)]
    best = min(tries, key=lambda seen: seen.figure("latency_us", "p99"))
    p50, p99, worst = (best.figure("latency_us", which) / 1000 for which in ("p50", "p99", "max"))
    note = ", ".join([f"at most {worst:.1f} ms", *best.troubles])
    return {"P8": Outcome(f"{p50:.2f} / {p99:.2f}", (p50, p99), note)}


def pacing(seconds: float, journal: Journal) -> dict[str, Outcome]:
    """Measure the schedule of our own speech at 200 calls: P9.

    The schedule of a call is set by the packets that came earliest in the first tenth of the time; each packet's jitter is
    its distance from it, and the drift is between the first tenth's schedule and the last's.
    """
    load = Load(TALKING, seconds=seconds, warm_up_seconds=2.0, is_listening=True)
    seen = measure(SPEAKER, load, journal)
    p99, worst = (seen.figure("jitter_us", which) / 1000 for which in ("p99", "max"))
    drift = seen.report["drift_us"] / 20_000
    note = f"at most {worst:.1f} ms, {seen.report['gaps']} gaps"
    return {"P9": Outcome(f"{p99:.2f}; {drift:.2f} in {seconds:g} s", (p99, drift, worst), note)}


def newcomers(journal: Journal) -> dict[str, Outcome]:
    """Let 50 new calls come in one second while 200 are spoken to, and count these calls' gaps: P17."""
    talking = Load(TALKING, seconds=8.0, warm_up_seconds=1.5, is_listening=True)
    coming = Load(NEW, seconds=2.0, warm_up_seconds=0.5, is_listening=True, per_second=NEW, first_number=TALKING)
    with running(SPEAKER) as served:
        first = start(talking, served.port, [served.pid])
        time.sleep(4.5)  # it has opened its calls, and measures
        late = run_load(coming, served.port, [served.pid])
        seen = finish(talking, first)
    journal.note(SPEAKER.name, seen)
    gaps, longest = seen.report["gaps"], seen.report["longest_gap_us"] / 1000
    note = ", ".join([f"longest {longest:.1f} ms" if gaps else "", *seen.troubles, *late.troubles])
    return {"P17": Outcome(f"{gaps}", (gaps,), note.strip(", "))}


def interrupts(seconds: float, journal: Journal) -> dict[str, Outcome]:
    """Measure from a key, at which a user's handler interrupts, to the clear, at 200 calls: P18.

    More than the figure asks for: the key's way in, and to the handler's thread, are in it.
    """
    seen = measure(GIVES_WAY, Load(TALKING, seconds=seconds, is_listening=True, press_ms=1000), journal)
    p50, p99, worst = (seen.figure("clear_us", which) / 1000 for which in ("p50", "p99", "max"))
    missing = seen.report["presses"] - seen.report["clears"]
    note = f"from the key; p50 {p50:.2f}, at most {worst:.1f} ms" + (f"; {missing} without a clear" if missing else "")
    return {"P18": Outcome(f"{p99:.2f}", (p99,), note)}
