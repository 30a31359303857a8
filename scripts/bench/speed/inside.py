"""P13, inside a session: a minute of speech handed over at once. Run by the daemon's own Python; prints JSON.

    python inside.py

A session is pure, so time is a number here and nothing waits: what is measured is only what its own code takes.
"""

import json
import time
from statistics import median

from smartflo_bridge.core.commands import Interrupt, Play
from smartflo_bridge.core.effects import Send
from smartflo_bridge.core.incoming import parse_incoming_event
from smartflo_bridge.core.outgoing import ClearEvent, MediaEvent
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Opened, Tick

SECOND_BYTES = 8000
SPEECH = bytes(0x80 | n % 0x7F for n in range(SECOND_BYTES))
START = b'{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"1","from":"1","to":"2"}}'
MEASURED_FRAMES = 500
TRIES = 41


def talking(seconds: int) -> Session:
    """Return a session that has so much speech to play."""
    session = Session(SessionSettings(packet_seconds=0.02))
    session.handle(Opened(), 0.0)
    session.handle(parse_incoming_event(START), 0.0)
    for _ in range(seconds):
        session.handle(Play(SPEECH, 0), 0.0)
    return session


def us_per_frame(seconds: int) -> float:
    """Return what the release of a frame takes, with so much speech waiting behind it."""
    session, taken = talking(seconds), []
    for number in range(1, min(MEASURED_FRAMES, 50 * seconds - 20)):
        began = time.perf_counter_ns()
        session.handle(Tick(), number * 0.02)
        taken.append(time.perf_counter_ns() - began)
    return median(taken) / 1000


def interrupt_us(seconds: int) -> tuple[float, int]:
    """Return what an interrupt takes, and how many packets leave after its clear."""
    session = talking(seconds)
    session.handle(Tick(), 0.02)
    began = time.perf_counter_ns()
    effects = session.handle(Interrupt(1), 0.03)
    taken = time.perf_counter_ns() - began
    later = [*effects, *(effect for tick in range(1, 100) for effect in session.handle(Tick(), 0.03 + tick * 0.02))]
    sent = [effect.event for effect in later if isinstance(effect, Send)]
    clear = next(place for place, event in enumerate(sent) if isinstance(event, ClearEvent))
    return taken / 1000, sum(isinstance(event, MediaEvent) for event in sent[clear:])


def main() -> None:
    """Print what was measured."""
    second, minute = (median(us_per_frame(seconds) for _ in range(5)) for seconds in (2, 60))
    tries = [interrupt_us(60) for _ in range(TRIES)]
    cap = talking(200)
    print(
        json.dumps(
            {
                "second_us": second,
                "minute_us": minute,
                "interrupt_ms": max(taken for taken, _ in tries) / 1000,
                "packets_after": max(packets for _, packets in tries),
                "cap_seconds": cap.queued_bytes / SECOND_BYTES,
            }
        )
    )


if __name__ == "__main__":
    main()
