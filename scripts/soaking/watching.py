"""What goes on beside the calls: probes of the ports, samples of the daemons, and the watch for a machine that stands still."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from soaking.daemon import Daemon
from soaking.samples import Sample, sample
from soaking.trends import Stall

SAMPLE_SECONDS = 5.0
PROBE_SECONDS = 1.0
ANSWER_SECONDS = 3.0


class Prober:
    """Connects to each port once a second and says nothing, as load balancers do.

    Attributes:
        probes: made.
        failures: what went wrong.
    """

    def __init__(self, daemons: Sequence[Daemon]) -> None:
        self.probes = 0
        self.failures: list[str] = []
        self._daemons = daemons

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            for daemon in self._daemons:
                for port in daemon.ports:
                    await self._probe(daemon.name, port)

    async def _probe(self, name: str, port: int) -> None:
        self.probes += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError) as error:
            self.failures.append(f"{name}: a probe of port {port} failed: {str(error) or 'it takes too long'}")
        else:
            writer.close()


async def vitals_of(daemon: Daemon) -> dict[str, float]:
    """Ask a daemon for its vitals.

    Raises:
        TimeoutError: no answer.
    """
    before = daemon.log.vitals
    daemon.ask()
    async with asyncio.timeout(ANSWER_SECONDS):
        while daemon.log.vitals is before:
            await asyncio.sleep(0.05)
            daemon.read()
    return daemon.log.vitals[1]


class Sampler:
    """Looks at each daemon every five seconds.

    Attributes:
        samples: so far.
        missed: looks that a daemon did not answer in time.
    """

    def __init__(self, daemons: Sequence[Daemon]) -> None:
        self.samples: list[Sample] = []
        self.missed = 0
        self._daemons = daemons

    async def run(self) -> None:
        """Sample until cancelled, on an absolute timeline."""
        began = time.monotonic()
        number = 0
        while True:
            number += 1
            await asyncio.sleep(max(0.0, began + number * SAMPLE_SECONDS - time.monotonic()))
            for daemon in self._daemons:
                try:
                    vitals = await vitals_of(daemon)
                except TimeoutError:
                    self.missed += 1
                    continue
                self.samples.append(sample(daemon.name, daemon.pid, time.monotonic() - began, vitals))


class StallWatch:
    """One watching process on each core.

    Attributes:
        stalls: seen so far.
        is_first: they come before all others, so what they saw was the machine's doing.
    """

    def __init__(self, cores: Sequence[int]) -> None:
        command = [sys.executable, "-m", "soaking.stalls"]
        self.stalls: list[Stall] = []
        self.is_first = True
        self._processes = [
            subprocess.Popen([*command, str(core)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for core in cores
        ]

    def close(self) -> None:
        """Let them end, and take what they saw."""
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                first, *lines = process.communicate(timeout=ANSWER_SECONDS)[0].splitlines() or ["plain"]
                self.is_first &= first == "first"
                pairs = (map(float, line.split()) for line in lines)
                self.stalls += [Stall(at, seconds) for at, seconds in pairs]
            process.kill()
            process.wait()
        self.stalls.sort(key=lambda stall: stall.began_at)
