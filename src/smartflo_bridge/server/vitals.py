"""What the daemon is made of right now, for whoever suspects that it grows: one line of the log for each SIGUSR1.

Only who may signal the process can ask, so it may say more than `GET /health` tells strangers, and take a few ms of the loop.
"""

import asyncio
import gc
import os
import threading

from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.log import line
from smartflo_bridge.server.loop_lag import LoopLag


def vitals(registry: Registry, lag: LoopLag, home: HandlerLoop) -> str:
    """Return the line. `objects` are those that Python's collector tracks but for the frozen ones, lags are of the last minute."""
    loops = [asyncio.get_running_loop()] + ([home.thread[0]] if home.thread is not None else [])
    return line(
        "vitals",
        calls=len(registry),
        connections=registry.connections,
        calls_served=registry.calls_served,
        tasks=sum(len(asyncio.all_tasks(loop)) for loop in loops),
        threads=threading.active_count(),
        files=len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - one of them is the look itself
        objects=len(gc.get_objects()),
        lag_p50_ms=_ms(lag.percentile_seconds(50)),
        lag_p99_ms=_ms(lag.percentile_seconds(99)),
        lag_max_ms=_ms(lag.percentile_seconds(100)),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
