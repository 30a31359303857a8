"""The form of a log line, its harmlessness, and the line that ends a call."""

import json
import logging
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartflo_bridge.core.effects import Termination
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.log import end_of_call, line, set_up_logging


def test_a_line_is_words_and_pairs():
    """Values of None are left out, the order is that of the arguments."""
    assert line("call started", stream_sid="MZ1", call_sid=None, calls=3) == "call started stream_sid=MZ1 calls=3"
    assert line("stopped") == "stopped"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("MZ0a1", "MZ0a1"),
        ("1758000000.4242", "1758000000.4242"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("[::1]:8000", '"[::1]:8000"'),
        ("/vendor-stream", "/vendor-stream"),
        ("module:function", "module:function"),
        ("a:1,b:2", "a:1,b:2"),
        (1.5, "1.5"),
        (0, "0"),
        (False, "False"),
        (Termination.PEER_LOST, "peer_lost"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("a\nb", '"a\\nb"'),
        ("a\r\n2026-11-24 ERROR fire", '"a\\r\\n2026-11-24 ERROR fire"'),
        ("\x1b[31mred\x1b[0m", '"\\u001b[31mred\\u001b[0m"'),
        ("\x9b31m", '"\\u009b31m"'),
        ("\x7f", '"\\u007f"'),
        ("\x00", '"\\u0000"'),
        ("नमस्ते", '"\\u0928\\u092e\\u0938\\u094d\\u0924\\u0947"'),
        ("\u2028\u202e", '"\\u2028\\u202e"'),
        ("\ud800", '"\\ud800"'),
    ],
)
def test_a_value_is_made_harmless(value, shown):
    """Plain ones stand as they are; all others are quoted, in ASCII without control characters."""
    assert line("x", value=value) == f"x value={shown}"


@given(st.text(max_size=50))
def test_no_value_can_break_a_line(value):
    """Whatever it is, the line is printable ASCII on one line, and the value can be read out of it again."""
    text = line("call ended", sid=value, after="x")
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text
    assert text.startswith("call ended sid=")
    assert text.endswith(" after=x")
    shown = text.removeprefix("call ended sid=").removesuffix(" after=x")
    assert (json.loads(shown) if shown.startswith('"') else shown) == value


def ended(**counts):
    """Return a session that is over, with these counts."""
    session = Session(SessionSettings())
    session.stream_sid, session.call_sid, session.termination = "MZ1", "17.42", Termination.COMPLETED
    for name, value in counts.items():
        setattr(session.ledger, name, value)
    return session


def test_the_end_of_a_quiet_call():
    """The least there is to say."""
    assert end_of_call(ended(), 12.3456) == (
        "call ended stream_sid=MZ1 call_sid=17.42 termination=completed seconds=12.3 frames_in=0 frames_out=0"
        " worst_lateness_ms=0.0"
    )


@pytest.mark.parametrize("member", ["received_bytes", "delivered_bytes", "accepted_bytes", "sent_bytes"])
def test_a_call_whose_accounts_do_not_balance(member):
    """It says so: a byte that is in no account is a mistake of ours."""
    assert end_of_call(ended(**{member: 1}), 1.0).endswith(" balanced=no")


def test_the_end_of_an_eventful_call():
    """Frames, drops by reason, marks, lateness, gaps and anomalies: enough to see what went wrong."""
    session = ended(
        received_bytes=16_000,
        delivered_bytes=14_399,
        accepted_bytes=8_161,
        sent_bytes=8_000,
        worst_lateness_seconds=0.01234,
        gaps=2,
    )
    session.ledger.inbound_drops.update(slow_handler=1600, unread=1)
    session.ledger.outbound_drops.update(interrupted=161)
    session.ledger.marks.update(played=3, discarded=1)
    session.ledger.anomalies.update(malformed=2, sequence_gap=7)
    assert end_of_call(session, 2.0) == (
        "call ended stream_sid=MZ1 call_sid=17.42 termination=completed seconds=2.0 frames_in=100 frames_out=50"
        " dropped_in=slow_handler:10,unread:1 dropped_out=interrupted:2 marks=discarded:1,played:3"
        " worst_lateness_ms=12.3 gaps=2 anomalies=malformed:2,sequence_gap:7"
    )


def test_a_line_can_be_split_as_a_shell_would():
    """Which is how people take logs apart."""
    assert shlex.split(line("x", a="two words", b=1))[1:] == ["a=two words", "b=1"]


@pytest.fixture
def _logging_is_put_back():
    """Leave the loggers as they were."""
    root = logging.getLogger()
    names = ("websockets", "asyncio", "smartflo_bridge")  # the last one's is every test's, for the ear of conftest
    before = (root.level, root.handlers[:], [logging.getLogger(name).level for name in names])
    logging.getLogger("smartflo_bridge").setLevel(logging.NOTSET)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in zip(names, before[2], strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_logging_is_put_back")
@pytest.mark.parametrize(
    ("stream", "starts"), [("", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    said"), ("8:1", "INFO    said")]
)
def test_lines_go_to_standard_error(stream, starts, monkeypatch, capsys):
    """With the time, unless journald stamps them itself; the libraries say only what is wrong, at any level of ours."""
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    set_up_logging("debug")
    logging.getLogger("smartflo_bridge.x").info("said")
    logging.getLogger("websockets.server").info("connection open")
    logging.getLogger("websockets.server").debug("< GET /vendor-stream?token=secret HTTP/1.1")
    logging.getLogger("asyncio").info("selector")
    logging.getLogger("asyncio").warning("slow")
    logging.getLogger().handlers[0].close()
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert re.match(starts, first)
    assert second.endswith("WARNING slow")


@pytest.mark.usefixtures("_logging_is_put_back")
def test_the_level_is_the_configuration_s(capsys):
    """What is below it is not written."""
    set_up_logging("warning")
    logging.getLogger("smartflo_bridge.x").info("quiet")
    logging.getLogger("smartflo_bridge.x").warning("loud")
    logging.getLogger().handlers[0].close()
    assert capsys.readouterr().err.count("\n") == 1
