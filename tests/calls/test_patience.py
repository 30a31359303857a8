"""Patience: a timer that is on time acts on time, and one that overslept waits for what was said meanwhile."""

import asyncio
import time

from smartflo_bridge.calls.patience import GRACE_SECONDS, STALL_SECONDS, Patience


def test_in_time():
    """It calls once, when it is due; not at all if it is cancelled."""

    async def main():
        called = []
        Patience(0.05, lambda: called.append("kept"))
        Patience(0.05, lambda: called.append("cancelled")).cancel()
        await asyncio.sleep(0.04)
        assert called == []
        await asyncio.sleep(0.1)
        assert called == ["kept"]

    asyncio.run(main())


def test_overslept():
    """When the loop stood still beyond the due time, it gives as long as its grace, and then calls all the same."""

    async def main():
        called_at = []
        Patience(0.05, lambda: called_at.append(time.monotonic()))
        cancelled = Patience(0.05, lambda: called_at.append(0.0))
        time.sleep(0.05 + 2 * STALL_SECONDS)  # noqa: ASYNC251 - that is what is tested
        woken_at = time.monotonic()
        await asyncio.sleep(0)
        assert called_at == []
        cancelled.cancel()
        await asyncio.sleep(2 * GRACE_SECONDS)
        (at,) = called_at
        assert at - woken_at >= GRACE_SECONDS - 0.01

    asyncio.run(main())
