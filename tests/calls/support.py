"""What the tests of the shell share: a call that is dialled in memory, served by `run_call` on a virtual clock."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

from memory_peer import SID, MemoryPeer, Platform
from smartflo_bridge.calls.actor import run_call
from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.home import Handler, HandlerLoop
from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.calls.setup import CallSetup
from smartflo_bridge.calls.tap import Tap
from smartflo_bridge.core.commands import Command
from smartflo_bridge.core.errors import CallEnded
from smartflo_bridge.core.session import Session
from smartflo_bridge.core.settings import SessionSettings
from smartflo_bridge.core.signals import Signal
from virtual_clock import clock_ns

_SPOKEN = bytes(byte for byte in range(256) if byte not in (0x00, 0x7F, 0x80, 0xFF))


async def arrival(inbox: Inbox) -> None:
    """Wait until there is something to take."""
    coming = asyncio.get_running_loop().create_future()
    inbox.wait(lambda: coming.done() or coming.set_result(None))
    await coming


def speech(seconds: float, seed: object = "speech") -> bytes:
    """Return mu-law that is like no other of another seed, and holds no silence: what is lost or repeated shows."""
    return bytes(random.Random(str(seed)).choices(_SPOKEN, k=round(seconds * 8000)))


async def silent(call: Call) -> None:
    """Listen until the call ends."""
    async for _ in call:
        pass


async def until(condition: Callable[[], object], seconds: float = 60.0, step_seconds: float = 0.001) -> None:
    """Wait until the condition is met, looking each ms of the virtual clock."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while not condition():
        assert loop.time() < ends, "it never came true"
        await asyncio.sleep(step_seconds)


class RecordingTap:
    """A tap that keeps what it is shown: the time in ns, the kind, and the thing itself."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, str, Any]] = []
        self.session: Session | None = None

    def message_in(self, at_ns: int, text: bytes) -> None:
        """Keep it."""
        self.shown.append((at_ns, "in", text))

    def given(self, at_ns: int, given: Command | Signal) -> None:
        """Keep it."""
        self.shown.append((at_ns, "do", given))

    def message_out(self, at_ns: int, text: bytes) -> None:
        """Keep it."""
        self.shown.append((at_ns, "out", text))

    def ended(self, at_ns: int, session: Session) -> None:
        """Keep it; there is nothing behind it."""
        self.shown.append((at_ns, "end", None))
        self.session = session

    @property
    def transcript(self) -> list[str]:
        """All that was shown, a word or two each: `in start`, `do Play`, `out media`, `end`."""
        return [f"{kind} {_name(shown)}".strip() for _, kind, shown in self.shown]

    def of(self, kind: type) -> list[Any]:
        """Return the commands or signals of one class."""
        return [shown for _, _, shown in self.shown if isinstance(shown, kind)]


def _name(shown: object) -> str:
    if shown is None:
        return ""
    if not isinstance(shown, bytes):
        return type(shown).__name__
    try:
        return str(json.loads(shown)["event"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "?"


class Dialled:
    """A call on its way: `run_call` runs as a task, the platform is at the other end.

    `start` is said at once unless `starts` is false. An exception of the handler's other than the end of the call fails
    the test in `over`, unless it is expected.
    """

    def __init__(
        self,
        handler: Handler = silent,
        *,
        starts: bool = True,
        start: dict[str, Any] | None = None,
        sid: str = SID,
        registry: Registry | None = None,
        peer: MemoryPeer | None = None,
        echoes_marks: bool = True,
        taps: tuple[Tap, ...] = (),
        settings: dict[str, Any] | None = None,
        bound_to: str | None = None,
        **setup: Any,
    ) -> None:
        self.peer = peer or MemoryPeer()
        self.platform = Platform(self.peer, sid, echoes_marks=echoes_marks)
        self.registry = Registry(10) if registry is None else registry
        self.tap = RecordingTap()
        self.call: Call | None = None
        self.handler_error: BaseException | None = None
        self.handler_ended_at: float | None = None
        self._handler = handler
        made = {
            "settings": msgspec.convert(settings or {}, SessionSettings),
            "home": HandlerLoop.main(),
            "open_taps": lambda: (self.tap, *taps),
            "clock_ns": clock_ns,
        }
        self.setup = CallSetup(handler=self._serve, registry=self.registry, **made | setup)
        self.task = asyncio.get_running_loop().create_task(run_call(self.peer, self.setup, bound_to))
        if starts:
            self.platform.start(**(start or {}))

    async def begun(self) -> Call:
        """Wait until the handler has its call."""
        await until(lambda: self.call is not None)
        assert self.call is not None
        return self.call

    async def over(self, *, fails: bool = False) -> Session:
        """Wait until nothing is left of the call; check what holds for every call, and return its session."""
        session = await self.task
        if not fails and self.handler_error is not None:
            raise self.handler_error
        assert session.is_over
        assert session.ledger.balanced, session.ledger
        assert self.registry.get(self.platform.sid) is not self.call or self.call is None, "still registered"
        assert not self.platform.line.faults, "a rule of the wire was broken"
        assert self.tap.transcript[-1] == "end"
        assert self.peer.closed is not None
        return session

    async def hung_up_on(self) -> Session:
        """Let the platform say `stop`, and wait for the end."""
        self.platform.stop()
        return await self.over()

    async def _serve(self, call: Call) -> None:
        self.call = call
        try:
            await self._handler(call)
        except CallEnded:
            raise
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError | BaseExceptionGroup):
                self.handler_error = error
            raise
        finally:
            self.handler_ended_at = self.peer.seconds
