"""Python's garbage collector, set for a process that serves calls.

Nearly nothing is left to it: what a call was made of goes with its last reference. What is left is a traceback of a failed
handler, a cycle of a user's own. By default a full pass comes after 200,000 new
objects (70,000 on Python 3.11), and stops every live call for as long as it takes to look at all of them and free those.
"""

import asyncio
import gc

from smartflo_bridge.calls.registry import Registry

FIRST_OBJECTS, LATER = 13_000, (2, 1)
"""A full pass after some 120,000 objects that came and did not go, without a call: it comes with the ninth of 13,000."""

OBJECTS_PER_CALL = 20
"""So much later a pass comes for each call. What is under way between two frames, a handful of objects, counts as come: among three
thousand calls each turn of the loop had its pass, and the full ones, of 0.2 s and more, took an eighth of all time."""

FIT_SECONDS = 1.0
"""Between two looks at how many calls there are: fifty new ones a second move the threshold by a thousand objects, which is little."""


def set_collector() -> None:
    """Leave what is there now alone for ever, and have full passes come sooner, which makes each of them short."""
    gc.collect()
    gc.freeze()
    gc.collect()  # or it would go on to wait for a quarter of what it has just been told to leave alone
    gc.set_threshold(FIRST_OBJECTS, *LATER)


async def fit_collector(registry: Registry) -> None:
    """Have passes come as rarely as so many calls need, until we are cancelled."""
    while True:
        gc.set_threshold(FIRST_OBJECTS + OBJECTS_PER_CALL * registry.connections, *LATER)
        await asyncio.sleep(FIT_SECONDS)
