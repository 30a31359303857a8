"""Runs the Autobahn cases against the URL in the first argument, and prints how each went, as one JSON object.

A program of its own: `kosoku` puts modules with names like `case` on the path of its process, and changes `binascii` there.
"""

import asyncio
import json
import sys

from kosoku import FailureError, run_fuzzingclient

COMPRESSION = ["12.*", "13.*"]
"""All are about permessage-deflate, which the call port never agrees to; kosoku calls them unimplemented."""

AT_ONCE = 4
"""Most of the cases' time is waiting: that a second passes without an answer, say."""


async def played(url: str, cases: list[str] | None, at_once: int) -> dict[str, str]:
    """Return each case's verdict, and what was said about it."""
    try:
        results = await run_fuzzingclient(url, cases, COMPRESSION, at_once)
    except FailureError as failure:
        results = failure.results
    return {each.case_id: f"{each.behavior.value}, {each.behavior_close.value}: {each.result}" for each in results}


async def outcomes(url: str) -> dict[str, str]:
    """Play all; what failed once more and alone, because most cases give us a second, and the machine is busy."""
    first = await played(url, None, AT_ONCE)
    failed = [case for case, outcome in first.items() if outcome.startswith("FAILED")]
    return first | (await played(url, failed, 1) if failed else {})


if __name__ == "__main__":
    print(json.dumps(asyncio.run(outcomes(sys.argv[1]))))
