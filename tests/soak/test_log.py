"""What the soak reads out of a daemon's log: ends of calls, vitals, and every line that should not be there."""

import logging

import pytest
from soaking.daemon import Log

from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.log import end_of_call, line

AT = "2026-11-24 13:36:05,250"


def test_the_end_of_a_call_is_found_by_its_stream():
    """As the daemon writes it, with its time to the ms; values in quotes are read as they were."""
    session = Session(SessionSettings())
    session.stream_sid, session.call_sid, session.termination = "MZ1", "two words", Termination.COMPLETED
    session.ledger.received_bytes = 1600
    log = Log()
    log.take(f"{AT} INFO    {end_of_call(session, 1.0)}")
    at, end = log.ended["MZ1"]
    assert at % 1 == pytest.approx(0.25)
    assert (end["termination"], end["frames_in"], end["call_sid"]) == ("completed", "10", "two words")
    assert end["balanced"] == "no"
    assert log.errors == []


def test_vitals_are_the_newest():
    """With the time, so that an answer can be told from the one before."""
    log = Log()
    before = log.vitals
    for calls in (1, 2):
        log.take(f"{AT} INFO    {line('vitals', calls=calls, lag_p50_ms=0.5)}")
    assert log.vitals is not before
    assert log.vitals[1] == {"calls": 2.0, "lag_p50_ms": 0.5}


def test_where_it_listens():
    """Both ports are in one line."""
    log = Log()
    log.take(f"{AT} INFO    {line('listening', address='127.0.0.1:8000', path='/vendor-stream', health_port=8001)}")
    assert (log.listening["address"], log.listening["health_port"]) == ("127.0.0.1:8000", "8001")


@pytest.mark.parametrize(
    "text",
    [
        f"{AT} ERROR   handler failed stream_sid=MZ1",
        f"{AT} WARNING a handler blocks its thread at=x.py:1:f",
        "Traceback (most recent call last):",
        "ValueError: x",
    ],
)
def test_what_nobody_expects(text):
    """Errors, tracebacks line by line, and warnings that no lost agent explains."""
    log = Log()
    log.take(text)
    assert log.errors == [text]


def test_lost_agents_are_counted():
    """Their warnings are what the soak asks for; an ordinary line is nothing."""
    log = Log()
    for text in (
        "agent lost stream_sid=MZ1 reason=x",
        "agent away stream_sid=MZ2 so_far=3",
        "agent lost stream_sid=MZ3",
    ):
        log.take(f"{AT} {logging.getLevelName(logging.WARNING):7} {text}")
    log.take(f"{AT} INFO    call started stream_sid=MZ1")
    assert log.warnings == {"agent lost": 2, "agent away": 1}
    assert log.errors == []
