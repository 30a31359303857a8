"""What the tests of faults share: calls whose every byte is counted, and the accounts that the daemon keeps of them.

`neighbours` run beside a fault, and may not notice it: the daemon echoes them, and each byte they say must come back,
once, in its order. `account_of` reads a call's ledger from its capture and checks that it balances.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from integration.daemon import WAIT_SECONDS, Daemon, until
from integration.handlers.answers import speech
from integration.wire import Platform, dialled

CHUNK_BYTES = 800
CADENCE_SECONDS = 0.1
SLACK_SECONDS = 1.0  # what a busy machine may add to a bound
HEAR_SECONDS = 20.0
"""Within which the rest of an echo must have come: far above the lead, so that only what is lost fails."""

Voice = Callable[[str, float], bytes]
"""Mu-law of a seed, so many seconds of it, that is like no other."""


def run(main: Coroutine[Any, Any, None], seconds: float = 60.0) -> None:
    """Run a test's coroutine; fail if it takes longer than all of its bounds together."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await main

    asyncio.run(bounded())


class CountedCall:
    """A call that speaks in real time to a daemon that echoes it.

    Attributes:
        platform: its connection.
        said: all that it said.
        heard: all that came back.
        worst_seconds: the longest that it had to wait for the next piece of echo.
    """

    def __init__(self, platform: Platform, seed: str, voice: Voice = speech) -> None:
        self.platform = platform
        self.said = b""
        self.heard = b""
        self.worst_seconds = 0.0
        self._voice = voice(seed, 120.0)
        self._is_over = False

    async def talk(self, seconds: float = 3600.0, cadence_seconds: float = CADENCE_SECONDS) -> None:
        """Speak in real time, until `be_quiet` or for so long."""
        size = round(cadence_seconds * 8000)
        began_at = time.monotonic()
        number = 0
        while not self._is_over and number * cadence_seconds < seconds:
            chunk = self._voice[len(self.said) : len(self.said) + size]
            await self.platform.speak(chunk)
            self.said += chunk
            number += 1
            await asyncio.sleep(began_at + number * cadence_seconds - time.monotonic())

    def be_quiet(self) -> None:
        """Say nothing more."""
        self._is_over = True

    async def listen(self) -> None:
        """Collect what comes back."""
        last_at = time.monotonic()
        while True:
            message = await self.platform.next()
            if message["event"] == "media":
                self.heard += base64.b64decode(message["media"]["payload"], validate=True)
                self.worst_seconds = max(self.worst_seconds, time.monotonic() - last_at)
                last_at = time.monotonic()

    async def check(self) -> None:
        """Fail unless everything that was said has come back, each byte once and in order, soon."""
        connection = self.platform.connection
        async with asyncio.timeout(HEAR_SECONDS):
            while len(self.heard) < len(self.said):
                assert not connection.close_code, f"closed with {connection.close_code} {connection.close_reason}"
                await self.platform.press(
                    "0"
                )  # the platform is never silent for long, and the echo is late after a stall
                await asyncio.sleep(0.1)
        assert self.heard == self.said

    async def stop(self) -> None:
        """Say `stop` when all has come back; fail unless the daemon closes with 1000 at once."""
        await self.check()
        await self.platform.stop()
        async with asyncio.timeout(2.0 + SLACK_SECONDS):  # 2 s of them for the slowest line of these tests
            await self.platform.connection.wait_closed()
        assert self.platform.connection.close_code == 1000


@asynccontextmanager
async def counted_call(url: str, seed: str, voice: Voice = speech) -> AsyncIterator[CountedCall]:
    """Start a call that is echoed; it listens, and talks when it is told to."""
    async with dialled(url) as platform:
        await platform.start(role="echo")
        call = CountedCall(platform, seed, voice)
        listening = asyncio.ensure_future(call.listen())
        try:
            yield call
        finally:
            listening.cancel()
            await asyncio.wait([listening])


@asynccontextmanager
async def neighbours(daemon: Daemon, count: int = 3, voice: Voice = speech) -> AsyncIterator[list[CountedCall]]:
    """Talk on so many calls all the while; none of them may lose, repeat or reorder a byte, or end otherwise than well."""
    async with AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(counted_call(daemon.url, f"neighbour {n}", voice)) for n in range(count)
        ]
        talking = [asyncio.ensure_future(call.talk()) for call in calls]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await until(lambda: all(call.heard for call in calls))
            yield calls
        finally:
            for call in calls:
                call.be_quiet()
            await asyncio.wait(talking)
        for talked in talking:
            talked.result()
        await asyncio.gather(*(call.stop() for call in calls))
    for call in calls:
        end = await asyncio.to_thread(daemon.end_of, call.platform.sid)
        assert end["termination"] == "completed"
        assert "dropped_in" not in end
        assert "dropped_out" not in end
        assert int(end["frames_in"]) == len(call.said) // 160 == int(end["frames_out"])


def account_of(folder: Path, stream_sid: str) -> dict[str, Any]:
    """Return the last line of a call's capture, its ledger checked: received = delivered + dropped, and likewise out."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        for file in folder.glob("*.capture.jsonl"):
            text = file.read_text()
            if f'"streamSid":"{stream_sid}"' not in text.replace('": "', '":"'):
                continue
            last = json.loads(text.splitlines()[-1]) if text.endswith("\n") else {}
            if last.get("dir") == "end":
                check_balance(last["ledger"])
                return dict(last)
        time.sleep(0.05)  # the capture is written behind the call
    msg = f"no finished capture of {stream_sid} in {folder}"
    raise AssertionError(msg)


def check_balance(ledger: dict[str, Any]) -> None:
    """Fail unless each byte is delivered, sent or dropped for a reason, and each mark resolved."""
    dropped_in, dropped_out = sum(ledger["inbound_drops"].values()), sum(ledger["outbound_drops"].values())
    assert ledger["received_bytes"] == ledger["delivered_bytes"] + dropped_in, ledger
    assert ledger["accepted_bytes"] + ledger["padding_bytes"] == ledger["sent_bytes"] + dropped_out, ledger
    assert sum(ledger["marks"].values()) == ledger["marks_placed"], ledger


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    (text,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(text.split()[1]) * 1024
