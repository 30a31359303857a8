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


async def outcomes(url: str) -> dict[str, str]:
    """Return each case's verdict, and what was said about it."""
    try:
        results = await run_fuzzingclient(url, exclude_cases=COMPRESSION, concurrency=AT_ONCE)
    except FailureError as failure:
        results = failure.results
    return {each.case_id: f"{each.behavior.value}, {each.behavior_close.value}: {each.result}" for each in results}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(outcomes(sys.argv[1]))))
