"""A whole soak: daemons, calls at a steady number, what watches them, their end; and what is wrong with any of it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soaking.agent import Agents
from soaking.caller import Caller
from soaking.daemon import Daemon
from soaking.judging import Heard, faults_of
from soaking.mix import Kind, Load, Plan, plans, steady_plans
from soaking.samples import Sample, busy_share
from soaking.timing import Latency, Pulse, goal_faults
from soaking.trends import MOST_STARVED_SHARE, Stall, Trend, starved, state_faults, trend
from soaking.watching import Prober, Sampler, StallWatch, vitals_of

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]
MOST_NEW_PER_SECOND = 20.0
"""While the number of calls is still growing to what it should be. The daemons let in 30 each."""
TURN_SECONDS = 0.02
LINE_SECONDS = 3.0
"""For a daemon's line about the end of a call, after its caller saw the end; a black hole is seen in the line alone."""
LAST_SECONDS = 90.0
"""For the last calls to end."""
IDLE_SECONDS = 2.0
"""For what still ends behind the last call."""
EXCUSING_SECONDS = 1.0
"""A stall so long can make a call late, so what it met is not judged; a shorter one is only told."""
FILES_OF_A_CALL = {"bridged": 2.0, "echo": 1.0}
SLOPES_SECONDS = 1795.0
"""From half an hour on there must be slopes."""
WARM_UP_KINDS = (Kind.STOP, Kind.FIN, Kind.BAD_INPUT)


@dataclass
class Outcome:
    """What a soak has found.

    Attributes:
        faults: in the order in which they were found, the first first.
        calls: judged, by kind.
        discarded: calls that were not as they must be, while the machine stood still.
        samples, trends: of the daemons.
        echoes: how long they took, by daemon.
        start, end: the vitals of each daemon before the first and after the last call.
    """

    load: Load
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    calls: Counter[Kind] = field(default_factory=Counter)
    slowest: dict[Kind, float] = field(default_factory=dict)
    frames_out: int = 0
    frames_back: int = 0
    bad_calls: list[tuple[Heard, list[str]]] = field(default_factory=list)
    discarded: list[tuple[Heard, list[str]]] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    starved: list[Stall] = field(default_factory=list)
    watch_is_first: bool = True
    samples: list[Sample] = field(default_factory=list)
    missed_samples: int = 0
    trends: list[Trend] = field(default_factory=list)
    start: dict[str, dict[str, float]] = field(default_factory=dict)
    end: dict[str, dict[str, float]] = field(default_factory=dict)
    probes: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    pulse: Pulse = field(default_factory=Pulse)
    echoes: dict[str, Latency] = field(default_factory=dict)


class Soak:
    """One soak, with its files in a folder."""

    def __init__(self, load: Load, seconds: float, folder: Path, seed: int) -> None:
        self.outcome = Outcome(load)
        self._seconds = seconds
        self._folder = folder
        self._seed = seed
        self._agents = Agents()
        self._daemons: dict[bool, Daemon] = {}  # by whether it bridges
        self._live: set[asyncio.Task[None]] = set()
        self._callers: set[Caller] = set()
        self._judged: list[tuple[Heard, list[str]]] = []

    async def run(self) -> Outcome:
        """Do all of it. What was started is stopped again, whatever happens."""
        os.sched_setaffinity(0, {GENERATOR_CORE})
        watch = StallWatch((SERVER_CORE, GENERATOR_CORE))
        try:
            await self._start()
            await self._soak()
        except* (OSError, RuntimeError, TimeoutError) as broken:  # what was seen until then is told all the same
            self.outcome.faults += [f"the soak broke off: {error!r}" for error in _all_of(broken)]
        finally:
            self._agents.close()
            for daemon in self._daemons.values():
                self._stop(daemon)
            watch.close()
        self.outcome.stalls, self.outcome.watch_is_first = watch.stalls, watch.is_first
        self._conclude()
        return self.outcome

    async def _start(self) -> None:
        await self._agents.open()
        agent = f'[agent]\nkind = "raw"\nurl = "ws://127.0.0.1:{self._agents.port}/"\n'
        for is_bridged, name, table in ((True, "bridged", agent), (False, "echo", 'handler = "echo"\n')):
            daemon = self._daemons[is_bridged] = Daemon(name, self._folder, SERVER_CORE, table)
            self.outcome.echoes[name] = Latency()
            daemon.await_ready()

    async def _soak(self) -> None:
        outcome, daemons = self.outcome, list(self._daemons.values())
        prober, sampler = Prober(daemons), Sampler(daemons)
        outcome.samples, outcome.faults = sampler.samples, prober.failures
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read_logs())
            await self._warm_up()
            outcome.start = {daemon.name: await vitals_of(daemon) for daemon in daemons}
            watching = [tasks.create_task(one.run()) for one in (prober, sampler)]
            began = time.monotonic()
            load = outcome.load
            mix = steady_plans(load.steady_frames) if load.steady_frames else plans(load.longest_seconds, self._seed)
            try:
                await self._keep_calls(mix, began + self._seconds)
            finally:
                outcome.seconds = time.monotonic() - began
                outcome.probes, outcome.missed_samples = prober.probes, sampler.missed
            for task in watching:
                task.cancel()
            await self._end_calls()
            outcome.end = {daemon.name: await vitals_of(daemon) for daemon in daemons}
            reading.cancel()

    async def _read_logs(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for daemon in self._daemons.values():
                daemon.read()
                if not daemon.is_running:
                    msg = f"{daemon.name} has ended by itself"
                    raise RuntimeError(msg)

    # --- Calls

    async def _warm_up(self) -> None:
        """Place some calls of each kind that leaves at once: what is made with the first is not a leak."""
        for number, kind in enumerate(WARM_UP_KINDS * 2):
            for is_bridged in self._daemons:
                plan = Plan(number + len(WARM_UP_KINDS) * 2 * is_bridged + 0xF00000, kind, is_bridged, 5, 2.0)
                self._place(plan)
        await asyncio.wait(self._live)
        await asyncio.sleep(IDLE_SECONDS)

    async def _keep_calls(self, plans: Iterator[Plan], until: float) -> None:
        """Keep as many calls as the load has, until a time: when one is over, another begins."""
        allowed, last = 0.0, time.monotonic()
        while (now := time.monotonic()) < until:
            allowed = min(2.0, allowed + (now - last) * MOST_NEW_PER_SECOND)
            last = now
            while allowed >= 1 and len(self._live) < self.outcome.load.calls:
                allowed -= 1
                self._place(next(plans))
            await asyncio.sleep(TURN_SECONDS)

    async def _end_calls(self) -> None:
        for caller in self._callers:
            caller.end_soon()
        if self._live:
            await asyncio.wait(self._live, timeout=LAST_SECONDS)
        for caller in self._callers:
            self.outcome.faults.append(f"{caller.heard.stream_sid}, {caller.plan.kind.value}: it never ended")
        await asyncio.sleep(IDLE_SECONDS)

    def _place(self, plan: Plan) -> None:
        task = asyncio.ensure_future(self._serve(plan))
        self._live.add(task)
        task.add_done_callback(self._live.discard)

    async def _serve(self, plan: Plan) -> None:
        """Place a call, and judge it when it is over."""
        daemon = self._daemons[plan.is_bridged]
        outcome = self.outcome
        caller = Caller(plan, daemon.name, outcome.pulse, outcome.echoes[daemon.name], self._agents.lose)
        self._callers.add(caller)
        await caller.place(daemon.port, "/vendor-stream")
        end = await self._end_of(caller, daemon)
        self._callers.discard(caller)
        heard = caller.heard
        self._agents.gone.discard(heard.stream_sid)
        heard.ended_at = time.time()
        if end is not None and caller.acted_at:
            heard.end_seconds = round(end[0] - caller.acted_at, 3)
        self._judge(heard, faults_of(heard, end[1] if end else None))

    async def _end_of(self, caller: Caller, daemon: Daemon) -> tuple[float, dict[str, str]] | None:
        """Wait until a call is over on both sides; return the daemon's line about it."""
        sid, ended = caller.heard.stream_sid, daemon.log.ended
        given_up_at = None
        while sid not in ended:
            if caller.over.done():
                given_up_at = given_up_at or time.monotonic() + LINE_SECONDS
                if time.monotonic() > given_up_at or caller.heard.failure:
                    return ended.pop(sid, None)
            await asyncio.wait([caller.over], timeout=0.1) if not caller.over.done() else await asyncio.sleep(0.1)
        if caller.plan.kind is Kind.BLACK_HOLE:
            caller.let_go()
        await asyncio.wait([caller.over], timeout=LINE_SECONDS)
        caller.let_go()
        return ended.pop(sid)

    def _judge(self, heard: Heard, faults: list[str]) -> None:
        kind = Kind[heard.kind]
        self.outcome.calls[kind] += 1
        self.outcome.slowest[kind] = max(self.outcome.slowest.get(kind, 0.0), heard.end_seconds)
        self.outcome.frames_out += heard.frames_sent
        self.outcome.frames_back += heard.frames_heard
        if faults:
            self._judged.append((heard, faults))

    # --- The end

    def _stop(self, daemon: Daemon) -> None:
        code = daemon.stop()
        if code != 0:
            self.outcome.faults.append(f"{daemon.name}: exit code {code}")
        self.outcome.faults += [f"{daemon.name} says: {text}" for text in daemon.log.errors]
        self.outcome.warnings += daemon.log.warnings

    def _conclude(self) -> None:
        """Judge what only the whole shows, now that it is known when the machine stood still, or was not ours."""
        outcome = self.outcome
        own = {name: [one for one in outcome.samples if one.daemon == name] for name in outcome.start}
        outcome.starved = [stall for samples in own.values() for stall in starved(samples)]
        disturbances = [stall for stall in outcome.stalls if stall.seconds >= EXCUSING_SECONDS] + outcome.starved
        bad = []
        for heard, faults in self._judged:
            is_excused = any(stall.meets(heard.began_at, heard.ended_at) for stall in disturbances)
            (outcome.discarded if is_excused else outcome.bad_calls).append((heard, faults))
            if not is_excused:
                bad += [f"{heard.stream_sid}, {heard.daemon}, {Kind[heard.kind].value}: {fault}" for fault in faults]
        outcome.faults = bad + outcome.faults
        for daemon, samples in own.items():
            if daemon in outcome.end:
                outcome.faults += state_faults(daemon, outcome.start[daemon], outcome.end[daemon])
            found = trend(samples, FILES_OF_A_CALL[daemon], disturbances)
            if found is not None:
                outcome.trends.append(found)
                outcome.faults += found.faults()
        if outcome.load.steady_frames and (bridged := own.get("bridged")):
            outcome.faults += goal_faults(busy_share(bridged), outcome.echoes["bridged"])
        outcome.faults += self._what_is_not_worth_much()

    def _what_is_not_worth_much(self) -> list[str]:
        """Return why this soak does not say what it should: too much of it was disturbed."""
        outcome, why = self.outcome, []
        share = sum(stall.seconds for stall in outcome.starved) / max(outcome.seconds, 1.0)
        if share > MOST_STARVED_SHARE * len(FILES_OF_A_CALL):
            why.append(f"others had the cores for {share / len(FILES_OF_A_CALL):.0%} of the time: nothing can be said")
        if outcome.seconds >= SLOPES_SECONDS and len(outcome.trends) < len(outcome.start):
            why.append("no undisturbed time is long enough for a slope")
        return why


def _all_of(broken: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the exceptions of a group, and of the groups in it."""
    for error in broken.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _all_of(error)
        else:
            yield error
