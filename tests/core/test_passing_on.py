"""Audio that would leave at once and whole goes past the queue: it must be as if it had been queued and released.

Two sessions are given the same calls, one of which queues everything; whatever they do and count has to be the same.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.support import HANG_UP, connected, interrupt, mark, media, place, play, room, speech, start
from smartflo_bridge.core.commands import Interrupt, MuteRecording
from smartflo_bridge.core.playout import Playout
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Opened, Tick

MOMENTS = st.sampled_from([0.0, 0.001, 0.02, 0.08, 0.1, 0.2, 0.25]) | st.floats(0.0, 0.11) | st.floats(0.0, 0.4)
PIECES = st.sampled_from([0, 1, 159, 160, 160, 160, 320, 800, 800, 960, 1600])
RARER = st.sampled_from(
    [
        interrupt(1),
        place(2),
        room(3),
        mark("m1"),
        media(speech(800)),
        MuteRecording(is_muted=True),
        MuteRecording(is_muted=False),
        Tick(),
        HANG_UP,
    ]
)
LEADS = st.sampled_from([(0.2, 0.1), (0.2, 0.02), (0.04, 0.02), (0.3, 0.1), (1.0, 0.1)])


class Queueing(Playout):
    """Queues whatever it is given."""

    def pass_on(self, ulaw: bytes, now: float) -> list[bytes]:
        """Let nothing pass."""
        return []


def begun(lead_seconds: float, packet_seconds: float) -> Session:
    """Return a session whose stream has started."""
    session = Session(SessionSettings(lead_seconds=lead_seconds, packet_seconds=packet_seconds))
    for given_ in (Opened(), connected(), start()):
        session.handle(given_, 0.0)
    return session


def state(session: Session) -> tuple[Any, ...]:
    """Return what can be seen of a session."""
    outbound = session._outbound
    return session.ledger, session.deadline, session.queued_bytes, outbound.is_idle(0.0), outbound._playout.horizon


@given(LEADS, st.lists(st.tuples(PIECES | PIECES | RARER, MOMENTS), min_size=10, max_size=60))
def test_as_if_it_had_been_queued(settings: tuple[float, float], steps: list[tuple[Any, float]]) -> None:
    """Effects, accounts and deadlines, whatever comes, with ticks at the deadlines between."""
    ours, other = begun(*settings), begun(*settings)
    playout = Queueing(settings[0], other._outbound._playout._packet_bytes)
    playout.__dict__.update(other._outbound._playout.__dict__)
    other._outbound._playout = playout
    now = 0.0
    epoch = 0
    for step, seconds in steps:
        given_ = play(speech(step), epoch) if isinstance(step, int) else step
        epoch += isinstance(given_, Interrupt)
        until = now + seconds
        while (deadline := ours.deadline) is not None and deadline <= until:
            now = max(now, deadline)
            assert ours.handle(Tick(), now) == other.handle(Tick(), now)
            if ours.deadline == deadline:
                break
        now = until
        assert ours.handle(given_, now) == other.handle(given_, now)
        assert state(ours) == state(other)


def test_a_live_source_is_passed_on() -> None:
    """The first of a playout begins with a frame; chunks at the platform's pace follow whole, until something is queued."""
    playout = Playout(0.2, 800)
    assert playout.pass_on(speech(800), 0.0) == [speech(160), speech(800)[160:]]
    assert playout.pass_on(speech(800), 0.0) == [speech(800)]
    assert playout.pass_on(speech(800), 0.0) == [], "it would exceed the lead"
    assert playout.pass_on(speech(800), 0.11) == [speech(800)]
    playout.enqueue(speech(100), 0.2)
    assert playout.pass_on(speech(160), 0.2) == [], "it would overtake"
    assert playout.horizon == pytest.approx(0.3)
