"""The daemon's life: open, be ready, drain, stop. The stages of its end are `_stop`'s.

Nothing here can hold up an exit: every wait has a bound, and the last one is followed by cutting all that is left.
"""

import asyncio
import logging
import signal
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from smartflo_bridge.agents.lookup import Agent, network_of
from smartflo_bridge.calls.actor import run_call
from smartflo_bridge.calls.home import Handler, HandlerLoop
from smartflo_bridge.calls.registry import Registry
from smartflo_bridge.calls.setup import CallSetup
from smartflo_bridge.calls.tap import Tap
from smartflo_bridge.captures.capture import CaptureWriter
from smartflo_bridge.captures.recording import RecordingWriter
from smartflo_bridge.config import Config
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.handlers.lookup import BUILT_IN, find_handler
from smartflo_bridge.log import counts, line
from smartflo_bridge.server.access import Access, refuse_exposure
from smartflo_bridge.server.collector import fit_collector, set_collector
from smartflo_bridge.server.connection import CLOSE_SECONDS
from smartflo_bridge.server.entrance import open_entrance
from smartflo_bridge.server.files import allow_files, files_needed, watch_files
from smartflo_bridge.server.listener import Listener, open_listener
from smartflo_bridge.server.loop_errors import LoopErrors
from smartflo_bridge.server.notify import fed_watchdog, notify
from smartflo_bridge.server.sockets import inherited_socket, listening_socket
from smartflo_bridge.server.stalls import StallFinder, WatchedLoop
from smartflo_bridge.server.status import Status, open_probe_port
from smartflo_bridge.server.vitals import vitals

PARTING_SECONDS = CLOSE_SECONDS + 1
"""How long cut calls have to end before their connections are aborted."""

_log = logging.getLogger(__name__)


class StopRequests:
    """What was asked of the daemon: nothing, to drain, or to be quick about it."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.skips_lame_duck = False

    def request(self, *, is_interactive: bool = False) -> None:
        """Drain; asked a second time, cut. At a keyboard nobody waits for a load balancer."""
        if self.stop.is_set():
            self.hurry.set()
        self.skips_lame_duck = is_interactive
        self.stop.set()

    def listen_to_signals(self, renew: Callable[[], None], tell: Callable[[], None]) -> None:
        """SIGTERM and SIGINT ask to stop.

        SIGHUP, which is also a closing terminal's, asks to `renew` what can be without a restart, and SIGUSR1 to `tell` how
        the daemon is.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.request)
        loop.add_signal_handler(signal.SIGINT, lambda: self.request(is_interactive=True))
        loop.add_signal_handler(signal.SIGHUP, renew)
        loop.add_signal_handler(signal.SIGUSR1, tell)

    async def wait_unless_hurried(self, condition: Awaitable[object], seconds: float) -> None:
        """Wait for a condition, at most so long, and no longer once we are to hurry."""
        waits = [asyncio.ensure_future(condition), asyncio.ensure_future(self.hurry.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


@dataclass
class Service:
    """A bridge that serves.

    Attributes:
        registry: its live calls.
        port: that calls come in on.
        health_port: for probes.
        renew: takes the certificate and the secrets that are in their files now.
        tell_vitals: writes a line of the log that says what it is made of.
        requests: what was asked of it.
    """

    registry: Registry
    port: int
    health_port: int
    renew: Callable[[], None]
    tell_vitals: Callable[[], None]
    requests: StopRequests = field(default_factory=StopRequests)


async def run_service(config: Config, config_dir: Path, handler: Handler | None = None) -> None:
    """Serve until a signal asks to stop, and then until the drain is over. For `handler` see `serving`."""
    set_collector()
    allow_files(files_needed(config))
    asyncio.get_running_loop().set_exception_handler(LoopErrors())
    with _doing([watch_files()]), fed_watchdog():  # also while we drain: a loop that turns is not to be killed
        async with serving(config, config_dir, handler, _listen_to_signals) as service:
            with _doing([fit_collector(service.registry)]):
                notify("READY=1")
                await service.requests.stop.wait()


def _listen_to_signals(service: Service) -> None:
    service.requests.listen_to_signals(service.renew, service.tell_vitals)


@asynccontextmanager
async def serving(
    config: Config,
    config_dir: Path,
    handler: Handler | None = None,
    before_calls: Callable[[Service], None] | None = None,
) -> AsyncIterator[Service]:
    """Serve inside the context; leaving it drains.

    Args:
        config: what to serve, and how.
        config_dir: the folder that its files are relative to.
        handler: overrides the configuration's, and runs on its own thread.
        before_calls: what is to be done before the ports take calls, and before anybody is told that they do.

    Raises:
        ConfigError: something in the configuration cannot work here.
    """
    agent = _agent_of(config, config_dir) if handler is None else None
    is_built_in = handler is None and config.handler in BUILT_IN  # as it is with an agent
    chosen = handler or (agent.open() if agent else find_handler(config.handler))
    registry = Registry(config.max_calls)
    entrance = open_entrance(config, config_dir, registry)
    captures = _capture_writer(config)
    recordings = _recording_writer(config)
    call_sock, health_sock = _open_sockets(config, entrance.doors.access)
    home = HandlerLoop.main() if is_built_in else HandlerLoop.in_thread()

    def open_taps() -> Sequence[Tap]:
        return [writer.tap() for writer in (captures, recordings) if writer is not None]

    setup = CallSetup(
        settings=config.session_settings(),
        handler=chosen,
        home=home,
        registry=registry,
        inbound_seconds=config.inbound_seconds,
        recent_seconds=0.0 if is_built_in else config.recent_audio_seconds,  # ours never ask for it
        grace_seconds=config.handler_grace_seconds,
        refuses_other_calls=config.call_id_mismatch == "refuse",
        open_taps=open_taps,
    )
    tls = entrance.certificate.context if entrance.certificate else None
    service = Service(
        registry,
        call_sock.getsockname()[1],
        health_sock.getsockname()[1],
        lambda: entrance.renew(config, config_dir),
        lambda: _log.info(vitals(registry, entrance.lag, home)),
    )
    if before_calls is not None:
        before_calls(service)
    listener = await open_listener(call_sock, entrance.gate, config, registry, partial(run_call, setup=setup), tls=tls)
    probes = await open_probe_port(health_sock)
    _log.info(
        line(
            "listening",
            address=f"{config.host}:{service.port}",
            path=config.path,
            tls="yes" if tls else None,
            health_port=service.health_port,
            handler=_name_of_handler(config, agent) if handler is None else "given",
        )
    )
    finder = _stall_finder(home)
    try:
        with finder.watching(), _doing(entrance.chores()):  # while we drain, too: new calls still come
            try:
                yield service
            finally:
                await _stop(config, service, entrance.status, listener, probes)
    finally:
        if not home.stop(1.0) or not (agent is None or agent.close(1.0)):
            _log.warning("a handler blocks its thread; it is left alone")
        for writer in (captures, recordings):
            if writer is not None:
                writer.close()
        failures = home.failures + (agent.failures if agent else Counter[str]())
        _log.info(
            line(
                "stopped",
                calls_served=registry.calls_served,
                stalls=finder.stalls or None,
                failures=counts(failures),
            )
        )


def _agent_of(config: Config, config_dir: Path) -> Agent | None:
    """Return what answers calls in the place of a handler, if that is configured."""
    return Agent(config.agent, config_dir, network_of(fast_frames=config.fast_frames)) if config.agent else None


def _stall_finder(home: HandlerLoop) -> StallFinder:
    loops = [WatchedLoop("the main loop stands still", asyncio.get_running_loop(), threading.get_ident())]
    if home.thread is not None:
        loops.append(WatchedLoop("a handler blocks its thread", *home.thread))
    return StallFinder(*loops)


def _name_of_handler(config: Config, agent: Agent | None) -> str:
    return config.handler if agent is None else f"agent:{agent.kind}"


@contextmanager
def _doing(chores: Iterable[Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Run what never ends beside what happens inside the context."""
    tasks = [asyncio.get_running_loop().create_task(chore) for chore in chores]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _capture_writer(config: Config) -> CaptureWriter | None:
    if not config.capture_dir:
        return None
    return CaptureWriter(
        Path(config.capture_dir),
        config.session_settings(),
        max_megabytes=config.capture_max_megabytes,
        keep_days=config.capture_keep_days,
        compresses=config.capture_compress,
    )


def _recording_writer(config: Config) -> RecordingWriter | None:
    return RecordingWriter(Path(config.record_dir), keep_days=config.record_keep_days) if config.record_dir else None


def _open_sockets(config: Config, access: Access) -> tuple[socket.socket, socket.socket]:
    """Return the call port's and the probe port's socket, or none of them."""
    call_sock = inherited_socket("calls")
    if call_sock is None:
        refuse_exposure(access, config, config.host)
        call_sock = listening_socket("", config.host, config.port, is_shared=config.reuse_port)
    try:
        if call_sock.family in (socket.AF_INET, socket.AF_INET6):
            refuse_exposure(access, config, call_sock.getsockname()[0])
        health_sock = inherited_socket("health") or listening_socket(
            "health-", config.health_host, config.health_port, is_shared=config.reuse_port
        )
    except ConfigError:
        call_sock.close()
        raise
    return call_sock, health_sock


async def _stop(config: Config, service: Service, status: Status, listener: Listener, probes: asyncio.Server) -> None:
    """End in stages, none of which can last: no more probes, no more calls, drain, cut, abort."""
    requests, registry = service.requests, service.registry
    notify("STOPPING=1")
    status.is_draining = True
    _log.info(line("draining", calls=registry.connections, at_most_seconds=config.drain_seconds))
    probes.close()
    if not requests.skips_lame_duck:
        await requests.wait_unless_hurried(asyncio.sleep(config.lame_duck_seconds), config.lame_duck_seconds)
    await listener.shut_port()
    await requests.wait_unless_hurried(
        _until(lambda: not registry.connections and not listener.is_greeting), config.drain_seconds
    )
    listener.refuse_handshakes()
    cut = registry.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(PARTING_SECONDS):
            await _until(lambda: not registry.connections)
    await listener.abort()
    if cut:
        _log.info(line("calls cut", calls=cut))


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - happens once in the daemon's life, and the registry knows no loop
        await asyncio.sleep(0.05)
