"""New calls at a steady rate for as long as a test wants them, from a process of its own.

    python -m integration.steady URL CALLS_PER_SECOND SECONDS SPEECH_SECONDS

Calls begin on an absolute schedule, so none waits for the one before it, until standard input ends. Each is one line of JSON:
a `generator.Result`, or why it was not answered. `steady_calls` runs it from a test.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from integration.generator import Result, place_one
from smartflo_bridge.simulator.dialling import CallFailed

TESTS = Path(__file__).parent.parent
END_SECONDS = 30.0
"""For the last calls to end, and for Python on a busy machine."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one call: its result, or why there is none."""

    result: Result | None = None
    failure: str = ""


class SteadyCalls:
    """Calls that are being placed.

    Attributes:
        outcomes: of those that are over.
    """

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    @property
    def results(self) -> list[Result]:
        """What the calls that were answered were like."""
        return [outcome.result for outcome in self.outcomes if outcome.result]

    @property
    def failures(self) -> list[str]:
        """Why the others were not."""
        return [outcome.failure for outcome in self.outcomes if outcome.failure]


@contextmanager
def steady_calls(url: str, *, calls_per_second: float, seconds: float, speech_seconds: float) -> Iterator[SteadyCalls]:
    """Place calls inside the context; leaving it waits for the last to end."""
    command = [sys.executable, "-m", "integration.steady", url, *map(str, (calls_per_second, seconds, speech_seconds))]
    process = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    calls, output = SteadyCalls(), process.stdout

    def read() -> None:
        calls.outcomes += [msgspec.json.decode(line, type=Outcome) for line in output]

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield calls
        process.stdin.close()
        assert process.wait(END_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdin.close()
        output.close()


async def _place_steadily(url: str, calls_per_second: float, seconds: float, speech_seconds: float) -> None:
    async def attempt(number: int) -> None:
        try:
            outcome = Outcome(await place_one(url, number, seconds, speech_seconds))
        except CallFailed as error:
            outcome = Outcome(failure=str(error))
        print(msgspec.json.encode(outcome).decode(), flush=True)

    loop = asyncio.get_running_loop()
    over = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    began_at = loop.time()
    number = 0
    async with asyncio.TaskGroup() as group:
        while not over.done():
            group.create_task(attempt(number))
            number += 1
            await asyncio.wait([over], timeout=max(0.0, began_at + number / calls_per_second - loop.time()))


if __name__ == "__main__":
    _url, *_numbers = sys.argv[1:]
    uvloop.run(_place_steadily(_url, *map(float, _numbers)))
