"""The beginning and the end of the daemon: readiness, drain in its stages, signals, watchdog, sockets from systemd.

Nothing may hold up an exit: not a caller who talks on, not a platform that reads nothing, not a handler.
"""

import asyncio
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from integration.daemon import Daemon, Supervisor, on_uvloop, until, write_config
from integration.handlers.answers import speech
from integration.wire import FOR_EVER, Platform, check_speech, dialled, plan, sid_of
from smartflo_bridge.server.notify import fed_watchdog
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import HangUp, Press

LAME_DUCK_SECONDS = 1.0
DRAIN_SECONDS = 1.0
EXIT_SECONDS = 5.0  # reliability, G8: beyond the drain, whatever happens
QUICK_SECONDS = 2.0  # to part from those who answer our close, on a busy machine
STUCK = 5
BLOCKS = "a handler blocks its thread"
SIGNALS_WHILE_IT_SAYS = """
import logging, signal, sys
from smartflo_bridge.cli.main import main

class Signals(logging.Filter):
    def filter(self, record):
        if record.getMessage().startswith("listening "):
            signal.raise_signal(number)
        return True

number = int(sys.argv.pop(1))
logging.getLogger("smartflo_bridge.server.service").addFilter(Signals())
main()
"""


def refuses(port: int) -> bool:
    """True if nobody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


async def exit_code(daemon: Daemon, seconds: float) -> int:
    """Return a daemon's exit code; it must end within so many seconds."""
    return await asyncio.to_thread(daemon.wait, seconds)


async def started(platform: Platform, daemon: Daemon, role: str, **parameters: str) -> None:
    """Start a stream, and wait until the daemon has it."""
    await platform.start(role=role, **parameters)
    await daemon.log.seen(f"call started stream_sid={platform.sid} ")


def test_ready_means_accepting(tmp_path: Path) -> None:
    """In the moment of READY=1 both ports accept, and it is said once."""
    with Daemon(tmp_path) as daemon:
        assert not refuses(daemon.health_port)
        assert not refuses(daemon.port)
    assert daemon.told.all() == ["READY=1", "STOPPING=1"]


def test_a_supervisor_without_a_path(tmp_path: Path) -> None:
    """The supervisor may name an abstract socket; and one that is gone is no reason to fail."""
    with Daemon(tmp_path, address=f"@smartflo-test-{secrets.token_hex(8)}") as daemon:
        daemon.supervisor.close()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert daemon.told.all() == ["READY=1"]


def test_a_drain_in_its_stages(tmp_path: Path) -> None:
    """Probes fail first, calls are still taken, then only who is in its handshake; who lives loses nothing; exit with 0."""

    async def main(daemon: Daemon) -> None:
        live = asyncio.create_task(place_call(daemon.url, plan(HangUp(4.0), role="speak", seed="live", seconds="3.5")))
        await daemon.log.seen("call started")
        daemon.signal(signal.SIGTERM)
        began_at = time.monotonic()
        await until(lambda: refuses(daemon.health_port), 0.5)
        await daemon.told.seen("^STOPPING=1$")
        late = await place_call(daemon.url, plan(HangUp(0.3), role="speak", seed="late", seconds="0.2"))
        check_speech(late, speech("late", 0.2))
        health = await asyncio.to_thread(_health, daemon.port)
        assert (health["status"], health["calls"]) == ("draining", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        writer.write(b"GET /vendor-stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        assert time.monotonic() - began_at < LAME_DUCK_SECONDS
        await until(lambda: refuses(daemon.port), 3)
        assert time.monotonic() - began_at >= LAME_DUCK_SECONDS - 0.05
        writer.write(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 "), "it had been let in"
        writer.close()
        report = await live
        check_speech(report, speech("live", 3.5))
        assert len(report.heard.strip(b"\xff")) == 3.5 * 8000
        assert report.close_code == 1000
        assert await exit_code(daemon, 1.5) == 0
        end = daemon.end_of(sid_of(report))
        assert (end["termination"], end["marks"]) == ("completed", "played:4")

    with Daemon(tmp_path, handler="answers:answer", lame_duck_seconds=LAME_DUCK_SECONDS, drain_seconds=30) as daemon:
        asyncio.run(main(daemon))
    assert daemon.told.all() == ["READY=1", "STOPPING=1"]
    assert daemon.log.all()[-1].endswith("stopped calls_served=2")


def test_a_drain_has_an_end(tmp_path: Path) -> None:
    """Then those who talk on are closed with 1001; platforms that read nothing, or answer nothing, are cut."""

    async def main(daemon: Daemon) -> None:
        async with AsyncExitStack() as stack:
            stuck = [await stack.enter_async_context(dialled(daemon.url)) for _ in range(STUCK)]
            for platform in stuck:
                platform.connection.transport.pause_reading()
                await started(platform, daemon, "flood", times="1000")
            silent = await stack.enter_async_context(dialled(daemon.url))
            await started(silent, daemon, "speak", seed="x", seconds="1")
            silent.connection.transport.pause_reading()
            unborn = await stack.enter_async_context(dialled(daemon.url))
            talking = asyncio.create_task(
                place_call(daemon.url, plan(FOR_EVER, role="speak", seed="live", seconds="30"))
            )
            await daemon.log.seen("call started", STUCK + 2)
            daemon.signal(signal.SIGTERM)
            began_at = time.monotonic()
            report = await talking
            assert DRAIN_SECONDS - 0.1 <= time.monotonic() - began_at < DRAIN_SECONDS + 1
            assert (report.close_code, report.close_reason) == (1001, "shutting down")
            check_speech(report, speech("live", 30))
            assert (await unborn.closed())[0] == 1001
            assert await exit_code(daemon, DRAIN_SECONDS + EXIT_SECONDS) == 0
        for sid in (sid_of(report), silent.sid, *(platform.sid for platform in stuck)):
            assert daemon.end_of(sid)["termination"] == "drained"

    with Daemon(tmp_path, handler="answers:answer", drain_seconds=DRAIN_SECONDS, write_deadline_seconds=60) as daemon:
        asyncio.run(main(daemon))


@pytest.mark.parametrize(
    ("number", "meaning"),
    [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGHUP, ["SIGHUP"]), (signal.SIGUSR1, ["vitals"])],
    ids=str,
)
def test_a_signal_as_soon_as_it_listens(tmp_path: Path, number: signal.Signals, meaning: list[str]) -> None:
    """Whoever reads that it listens may signal at once: it means what it always means."""
    file = write_config(tmp_path, port=0, health_port=0, lame_duck_seconds=60, drain_seconds=60)
    command = [sys.executable, "-c", SIGNALS_WHILE_IT_SAYS, str(int(number)), "serve", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = threading.Timer(EXIT_SECONDS, process.kill)
        end.start()
        try:
            said = [process.stderr.readline()]
            said += [process.stderr.readline() for _ in meaning]  # before the next signal, which may overtake it
            if number != signal.SIGINT:  # SIGTERM waits for a load balancer, the others end nothing
                process.send_signal(signal.SIGINT)
            said += process.stderr.read().splitlines()  # not `communicate`: it loses what came together with a line
            process.wait()
        finally:
            end.cancel()
            process.kill()
    assert process.returncode == 0, said
    assert " listening " in said[0]
    assert [text.split()[3] for text in said[1:]] == [*meaning, "draining", "stopped"], said


@pytest.mark.parametrize("stage", ["lame duck", "drain"])
@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)], ids=str)
def test_asking_twice(tmp_path: Path, stage: str, signals: tuple[signal.Signals, signal.Signals]) -> None:
    """The second signal ends the waiting, in whatever stage: the calls are closed with 1001, and it exits with 0."""

    async def main(daemon: Daemon) -> None:
        talking = asyncio.create_task(place_call(daemon.url, plan(FOR_EVER, role="speak", seed="x", seconds="30")))
        await daemon.log.seen("call started")
        daemon.signal(signals[0])
        await daemon.told.seen("^STOPPING=1$")
        if signals[0] == signal.SIGINT or stage == "drain":  # at a keyboard nobody waits for a load balancer
            await until(lambda: refuses(daemon.port))
        daemon.signal(signals[1])
        assert await exit_code(daemon, QUICK_SECONDS) == 0
        report = await talking
        assert report.close_code == 1001
        assert daemon.end_of(sid_of(report))["termination"] == "drained"

    lame_duck = 60 if stage == "lame duck" else 0
    with Daemon(tmp_path, handler="answers:answer", lame_duck_seconds=lame_duck, drain_seconds=60) as daemon:
        asyncio.run(main(daemon))


def test_calls_are_taken_until_the_port_is_shut(tmp_path: Path) -> None:
    """A load balancer that has not noticed yet sends calls for a while after SIGTERM: they are answered, and heard out."""

    async def main(daemon: Daemon) -> None:
        daemon.signal(signal.SIGTERM)
        await daemon.told.seen("^STOPPING=1$")
        await asyncio.sleep(1.0)  # longer than what counts as a late loop
        report = await place_call(daemon.url, plan(HangUp(0.5), role="speak", seed="late", seconds="0.2"))
        check_speech(report, speech("late", 0.2))

    with Daemon(tmp_path, handler="answers:answer", lame_duck_seconds=3, shed_lag_seconds=0.25) as daemon:
        asyncio.run(main(daemon))


def test_a_hangup_of_the_terminal_drops_no_call(tmp_path: Path) -> None:
    """SIGHUP is what a closed terminal sends, and who wants a reload of what has no secrets: a live call is heard out."""

    async def main(daemon: Daemon) -> None:
        talking = asyncio.create_task(place_call(daemon.url, plan(HangUp(1.5), role="speak", seed="live", seconds="1")))
        await daemon.log.seen("call started")
        daemon.signal(signal.SIGHUP)
        report = await talking
        assert report.heard.strip(b"\xff") == speech("live", 1)
        assert report.close_code == 1000

    with Daemon(tmp_path, handler="answers:answer", drain_seconds=30) as daemon:
        asyncio.run(main(daemon))


def test_asked_for_its_vitals(tmp_path: Path) -> None:
    """SIGUSR1 costs no call, and is answered with what there is, on the handlers' thread too: the same again after the call."""

    async def main(daemon: Daemon) -> None:
        idle = await daemon.vitals()
        async with dialled(daemon.url) as platform:
            await started(platform, daemon, "speak", seed="live", seconds="1")
            live = await daemon.vitals()
        await daemon.log.seen(f"call ended stream_sid={platform.sid} ")
        after = await daemon.vitals()
        assert (idle["calls"], live["calls"], after["calls"]) == (0, 1, 0)
        assert (idle["connections"], live["connections"], after["connections"]) == (0, 1, 0)
        assert live["tasks"] >= idle["tasks"] + 2 == after["tasks"] + 2  # the actor, and the handler in its thread
        assert live["files"] == idle["files"] + 1 == after["files"] + 1
        assert idle["threads"] == after["threads"] > 1
        assert live["lag_p50_ms"] <= live["lag_p99_ms"] <= live["lag_max_ms"]
        assert live["objects"] > idle["objects"] + 50  # those of a call; what was there at the start is not counted

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        on_uvloop(main(daemon))


def test_paused_and_resumed(tmp_path: Path) -> None:
    """A machine that stands still for two seconds costs two seconds: no call, and none of what is said in it."""

    async def main(daemon: Daemon) -> None:
        talking = asyncio.create_task(place_call(daemon.url, plan(HangUp(4.5), role="speak", seed="x", seconds="2")))
        await daemon.log.seen("call started")
        daemon.signal(signal.SIGSTOP)
        await asyncio.sleep(2.0)  # that is how long it stands still
        daemon.signal(signal.SIGCONT)
        report = await talking
        assert report.heard.replace(b"\xff", b"") == speech("x", 2)
        assert report.faults == {}
        assert report.close_code == 1000
        end = await asyncio.to_thread(daemon.end_of, sid_of(report))
        assert end["termination"] == "completed"
        assert "dropped_in" not in end

    with Daemon(tmp_path, handler="answers:answer") as daemon:
        asyncio.run(main(daemon))


def test_killed_and_started_again(tmp_path: Path) -> None:
    """After SIGKILL with a call in progress there is nothing to clean up: the same ports can be used at once."""

    async def kill(daemon: Daemon) -> None:
        async with dialled(daemon.url) as platform:
            await started(platform, daemon, "speak", seed="x", seconds="5")
            daemon.signal(signal.SIGKILL)
            assert await exit_code(daemon, 2) == -signal.SIGKILL
            assert (await platform.closed())[0] == 1006

    with Daemon(tmp_path, handler="answers:answer", exit_code=-signal.SIGKILL) as daemon:
        asyncio.run(kill(daemon))
    with Daemon(tmp_path, handler="answers:answer", port=daemon.port, health_port=daemon.health_port) as again:
        report = asyncio.run(place_call(again.url, plan(HangUp(0.5), role="speak", seed="x", seconds="0.2")))
        check_speech(report, speech("x", 0.2))


# --- Handlers that do not end


@pytest.mark.parametrize("role", ["block_for_good", "wait_in_a_thread", "never_end", "ignore_cancelling"])
def test_no_handler_keeps_the_process_alive(tmp_path: Path, role: str) -> None:
    """However it goes on: its call is closed, its end is in the log, and the daemon exits in time and says no more."""

    async def main(daemon: Daemon) -> None:
        talking = asyncio.create_task(place_call(daemon.url, plan(Press(0.2, "1"), FOR_EVER, role=role)))
        await daemon.log.seen("call started")
        await asyncio.sleep(0.5)  # the key is pressed, and nothing tells when it blocks
        daemon.signal(signal.SIGTERM)
        report = await talking
        assert report.close_code == 1001
        assert await exit_code(daemon, DRAIN_SECONDS + EXIT_SECONDS) == 0
        assert daemon.end_of(sid_of(report), 0.1)["termination"] == "drained"

    with Daemon(tmp_path, handler="answers:answer", drain_seconds=DRAIN_SECONDS, expects=[BLOCKS]) as daemon:
        asyncio.run(main(daemon))
    assert len(daemon.log.find(f"{BLOCKS}; it is left alone")) == (role == "block_for_good")


# --- The watchdog


def test_the_watchdog_is_fed(tmp_path: Path) -> None:
    """Twice in the time that systemd gives, from the beginning to the end, and while a drain waits for its calls too."""

    async def main(daemon: Daemon) -> None:
        talking = asyncio.create_task(place_call(daemon.url, plan(HangUp(2.5), role="speak", seed="x", seconds="2")))
        await daemon.told.seen("^WATCHDOG=1$", 3)
        daemon.signal(signal.SIGTERM)
        check_speech(await talking, speech("x", 2))

    environment = {"WATCHDOG_USEC": "400000"}
    with Daemon(tmp_path, handler="answers:answer", drain_seconds=30, environment=environment) as daemon:
        asyncio.run(main(daemon))
    fed = [at for at, _ in daemon.told.find("^WATCHDOG=1$")]
    ((stopping, _),) = daemon.told.find("^STOPPING=1$")
    assert max(after - before for before, after in itertools.pairwise(fed)) < 0.4
    assert fed[-1] - stopping > 1, "it is fed no more while it drains"


def test_a_loop_that_stands_still_does_not_feed_it() -> None:
    """It is fed by the main loop itself, so whatever blocks that is seen by systemd; when it turns again, it is fed again."""

    async def main() -> None:
        with fed_watchdog():
            await supervisor.told.seen("^WATCHDOG=1$", 2)
            fed.append(len(supervisor.told.all()))
            time.sleep(0.6)  # noqa: ASYNC251 - that is what is tested: six times what the watchdog allows
            fed.append(len(supervisor.told.all()))
            await supervisor.told.seen("^WATCHDOG=1$", fed[-1] + 2)

    fed: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(f"{folder}/notify")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("NOTIFY_SOCKET", supervisor.address)
            environment.setenv("WATCHDOG_USEC", "100000")
            environment.delenv("WATCHDOG_PID", raising=False)
            on_uvloop(main())
        supervisor.close()
    assert fed[1] <= fed[0] + 1, "one may have been on its way"


def test_another_processs_watchdog_is_not_fed(tmp_path: Path) -> None:
    """WATCHDOG_PID says whom systemd watches."""
    environment = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    with Daemon(tmp_path, handler="answers:answer", environment=environment) as daemon:
        asyncio.run(place_call(daemon.url, plan(HangUp(0.5))))
    assert daemon.told.all() == ["READY=1", "STOPPING=1"]


# --- Sockets that systemd opened


def inheriting(sock: socket.socket, names: str) -> tuple[str, ...]:
    """Return a command that hands a socket over as systemd does: as file descriptor 3, to the very process."""
    script = (
        f"import os, sys; os.dup2({sock.fileno()}, 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        f"os.environ['LISTEN_FDNAMES'] = '{names}'; os.execv(sys.argv[1], sys.argv[1:])"
    )
    return (sys.executable, "-c", script, "{program}", "serve", "--config", "{file}")


@pytest.mark.parametrize("names", ["calls", "smartflo-bridge.socket", ""])
def test_the_call_port_can_be_inherited(tmp_path: Path, names: str) -> None:
    """Under its name, its unit's, or none; the configuration's port is not used, and the probe port is its own."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with Daemon(
            tmp_path,
            handler="answers:answer",
            command=inheriting(sock, names),
            pass_fds=[sock.fileno()],
            port=1,  # it may not even be tried
        ) as daemon:
            daemon.port = port
            report = asyncio.run(place_call(daemon.url, plan(HangUp(0.5), role="speak", seed="x", seconds="0.2")))
            check_speech(report, speech("x", 0.2))
            assert not refuses(daemon.health_port)
            assert daemon.log.find(f"listening address=127.0.0.1:{port} ")


def test_an_inherited_socket_is_for_the_process_it_was_given_to(tmp_path: Path) -> None:
    """One that another process of the service inherited is left alone."""
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "calls"}
    with Daemon(tmp_path, handler="answers:answer", environment=environment) as daemon:
        report = asyncio.run(place_call(daemon.url, plan(HangUp(0.5), role="speak", seed="x", seconds="0.2")))
        check_speech(report, speech("x", 0.2))


def test_an_inherited_public_socket_needs_a_token(tmp_path: Path) -> None:
    """What counts is where it listens, not what the configuration would have listened on."""
    with socket.create_server(("0.0.0.0", 0)) as sock:
        daemon = Daemon(tmp_path, command=inheriting(sock, "calls"), pass_fds=[sock.fileno()])
        with pytest.raises(AssertionError, match=r"exit code 2(?s:.*)token-file"), daemon:
            pass


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed (Debian: systemd)"
)
def test_systemd_activates_it(tmp_path: Path) -> None:
    """The first call starts the daemon, waits in the socket until it is ready, and is served."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = ("systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=calls", "--setenv=NOTIFY_SOCKET")
    daemon = Daemon(
        tmp_path,
        handler="answers:answer",
        command=(*command, "{program}", "serve", "--config", "{file}"),
        noise="Listening on |Communication attempt |Execing ",
    )

    async def call() -> None:
        await until(lambda: not _is_free(port))
        report = await place_call(
            f"ws://127.0.0.1:{port}/vendor-stream", plan(HangUp(0.5), role="speak", seed="x", seconds="0.2")
        )
        check_speech(report, speech("x", 0.2))

    async def main() -> None:
        calling = asyncio.create_task(call())
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(daemon.__enter__)
            stack.push(daemon.__exit__)
            await calling

    asyncio.run(main())


def _is_free(port: int) -> bool:
    """True if a port could be listened on: asking it in another way would start what waits behind it."""
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _health(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        told: dict[str, object] = json.load(answer)
    return told
