"""What is the same for all calls of a bridge, in one value."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smartflo_bridge.calls.home import Handler, HandlerLoop
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.calls.tap import Tap
from smartflo_bridge.core.settings import SessionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSetup:
    """What is the same for all calls of a bridge.

    Attributes:
        settings: the session's.
        handler: serves each call.
        home: where it runs.
        registry: where the call is entered.
        inbound_seconds: how much of the caller's audio may wait for a slow handler.
        recent_seconds: how much of it `Call.recent_audio` remembers.
        grace_seconds: how long a handler may go on after the call, and again after being cancelled.
        refuses_other_calls: whether one whose `start` names another call than its token is closed on.
        open_taps: makes the observers of one call.
        clock_ns: a clock that never goes backwards.
    """

    settings: SessionSettings
    handler: Handler
    home: HandlerLoop
    registry: Registry
    inbound_seconds: float = 2.0
    recent_seconds: float = 1.0
    grace_seconds: float = 5.0
    refuses_other_calls: bool = True
    open_taps: Callable[[], Sequence[Tap]] = tuple
    clock_ns: Callable[[], int] = time.monotonic_ns
