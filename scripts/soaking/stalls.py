"""Notices when the machine stands still: a process of its own on each core, which wants to run every 5 ms.

    python -m soaking.stalls CORE

It runs in the real-time class where that is allowed, so that no load of ours or of others holds it up: what it misses then is
what the whole core missed. A busy loop would see the same, and take the core from those that are measured. Prints a line for
each stall, its beginning on the wall clock and its length, until its standard input ends.
"""

import os
import select
import sys
import time
from contextlib import suppress

STEP_SECONDS = 0.005
STALL_SECONDS = 0.1


def main() -> None:
    """Watch one core."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    is_first = False
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        is_first = True
    print("first" if is_first else "plain", flush=True)
    last = time.monotonic()
    while not select.select([sys.stdin], [], [], STEP_SECONDS)[0]:
        now = time.monotonic()
        if now - last > STALL_SECONDS:
            print(f"{time.time() - (now - last):.3f} {now - last:.3f}", flush=True)
        last = now


if __name__ == "__main__":
    main()
