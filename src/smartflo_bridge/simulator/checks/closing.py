"""How a call ended: closed in time, with a fit code, by a frame. Pure."""

import msgspec

from smartflo_bridge.simulator.checks.finding import Finding
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.rules import Rule

GOOD_CODES = frozenset({1000, 1001, 1005})
"""Close codes that say no more than that the call is over. Protocol, "The order of things"."""

_TOO_BIG = 1009


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a call, as the platform saw it.

    Attributes:
        at_seconds: when the call was over.
        ended_by: who ended it.
        ending: how the platform did. None: the connection was gone before it could.
        code: the far end's, in its close frame or in its answer to ours. None: it said none.
        reason: its text.
        closed_after_seconds: how long after the end the far end closed of its own accord. None: it did not.
        our_code: with which our library gave the connection up, if it did: the far end sent what is no WebSocket.
        is_disturbed: the platform had stopped reading or talking, so that the far end may cut the line.
    """

    at_seconds: float
    ended_by: EndedBy
    ending: Ending | None = None
    code: int | None = None
    reason: str = ""
    closed_after_seconds: float | None = None
    our_code: int | None = None
    is_disturbed: bool = False


def judge_closing(closing: Closing, close_seconds: float) -> list[Finding]:
    """Return what was wrong with the end."""
    if closing.our_code is not None:
        return [_given_up(closing.our_code)]
    findings = []
    if closing.ending in {Ending.STOP, Ending.STOP_ONLY}:
        findings += _after_stop(closing.closed_after_seconds, close_seconds)
    if closing.code is not None and closing.code not in GOOD_CODES:
        reason = f" ({closing.reason})" if closing.reason else ""
        findings.append(Finding(Rule.CLOSE_CODE, f"closed with {closing.code}{reason}"))
    if closing.code is None and closing.ending is not Ending.DROP and not closing.is_disturbed and not findings:
        text = "our close frame was not answered" if closing.ending is Ending.CLOSE else "ended without a close frame"
        findings.append(Finding(Rule.CONNECTION_LOST, text))
    return findings


def _after_stop(closed_after_seconds: float | None, close_seconds: float) -> list[Finding]:
    if closed_after_seconds is None:
        return [Finding(Rule.NOT_CLOSED, "still open when the platform lost its patience")]
    if closed_after_seconds > close_seconds:
        return [
            Finding(Rule.NOT_CLOSED, f"closed {closed_after_seconds:.1f} s after stop; {close_seconds:g} s are enough")
        ]
    return []


def _given_up(our_code: int) -> Finding:
    if our_code == _TOO_BIG:
        return Finding(Rule.OVERSIZED_MESSAGE, "a message was longer than 1 MiB")
    return Finding(
        Rule.BROKEN_WEBSOCKET, f"what it sent is not WebSocket, so the connection was given up with {our_code}"
    )
