"""The Autobahn cases against the call port: each frame and close that RFC 6455 allows or forbids, by each of the two roads.

`kosoku` plays the suite's own case files. A case that fails is a failed test unless it is an exception here, and so is an
exception that fails no more.
"""

import asyncio
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from conformance.echo import echoing, lifted_limits

CASES = 301
"""All that are not about compression. Without the 54 of category 9, long messages and many, they are 247."""

EXCEPTIONS = {
    # A message is open, then comes a close, then the rest of the message. RFC 6455, 5.4, lets control frames come between
    # fragments, so the suite wants the close answered with its own code; the library calls that an "incomplete fragmented
    # message" and answers 1002 (websockets 17.4, `Protocol.recv_frame`). The connection ends in time either way, and whole.
    "7.1.5": "FAILED, WRONG CODE: The close code should have been 1000 or empty",
}

LIMIT_SECONDS = 300.0
"""It takes six; this names a run that hangs."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kosoku") is None,
    reason="the Python package kosoku is not installed; it is in the extra `dev`",
)


async def played(*, fast_frames: bool) -> tuple[dict[str, str], Counter[str]]:
    """Play all cases; return their outcomes, and how many messages came by which road."""
    program = Path(__file__).with_name("autobahn.py")
    with lifted_limits() as roads:
        async with echoing(fast_frames=fast_frames) as url:
            suite = await asyncio.create_subprocess_exec(sys.executable, program, url, stdout=asyncio.subprocess.PIPE)
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    said, _ = await suite.communicate()
            finally:
                if suite.returncode is None:
                    suite.kill()
                    await suite.wait()
    return json.loads(said), roads


@pytest.mark.parametrize("fast_frames", [True, False])
def test_every_case_but_the_exceptions(fast_frames):
    """By the fast road and by the library's, and the cases did cross the one that they are to judge."""
    outcomes, roads = uvloop.run(played(fast_frames=fast_frames))
    assert len(outcomes) == CASES
    assert {case: outcome for case, outcome in outcomes.items() if not passed(outcome)} == EXCEPTIONS
    assert roads["library"] > 100_000  # one of the cases has 65,536 fragments
    assert (roads["fast"] > 5_000) if fast_frames else (roads["fast"] == 0)


def passed(outcome: str) -> bool:
    """True for what the suite does not call failed, and that ended with a clean close."""
    behaviour, _, close = outcome.partition(":")[0].partition(", ")
    return behaviour in ("OK", "NON-STRICT", "INFORMATIONAL") and close in ("OK", "INFORMATIONAL")
