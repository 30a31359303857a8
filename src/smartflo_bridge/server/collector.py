"""Python's garbage collector, set for a process that serves calls.

Nearly nothing is left to it: what a call was made of goes with its last reference. What is left is a traceback of a failed
handler, a cycle of a user's own. By default a full pass comes after 200,000 new
objects (70,000 on Python 3.11), and stops every live call for as long as it takes to look at all of them and free those.
"""

import gc

THRESHOLDS = (2000, 10, 4)
"""A full pass after some 120,000 objects that came and did not go. What is under way between two frames counts too, so with 1
in the place of 4 there were passes enough among 300 steady calls to treble the latency at p99."""


def set_collector() -> None:
    """Leave what is there now alone for ever, and have full passes come sooner, which makes each of them short."""
    gc.collect()
    gc.freeze()
    gc.collect()  # or it would go on to wait for a quarter of what it has just been told to leave alone
    gc.set_threshold(*THRESHOLDS)
