"""Scenarios over real connections: the steps that answer what is heard, the platform's bad manners, and pytest's fixture."""

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bots.naive_bot import FRAME, STEP, Bot, faultless
from integration.daemon import bridge, on_uvloop, url_of
from smartflo_bridge.cli.call import command
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.handlers.ivr import ivr, prompt
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.dialling import CallFailed
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.report import CallReport
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.scenario import Scenario, load_scenarios, parse_scenarios
from smartflo_bridge.simulator.trials import ScenarioFailed, play

BOUND_SECONDS = 30.0
LATE_MS = 400  # what a busy machine may add

Behaviour = Callable[[Bot], Awaitable[None]]


def scenario(*steps: str, keys: str = "") -> Scenario:
    """Make a scenario of these steps, with the short cadence; what it says is 200 ms of the IVR's voice."""
    text = f'cadence = "20 ms"\n{keys}\nsteps = {json.dumps(list(steps))}'
    (made,) = parse_scenarios("mine", text, lambda _: prompt("greeting")[8000:9600])
    return made


async def talk(bot: Bot) -> None:
    """Speak without end, in real time and 200 ms ahead, and fall silent when the caller speaks: with a clear."""
    await bot.answer()
    speaking = asyncio.create_task(_speak(bot))
    try:
        while (message := await bot.next())["event"] != "stop":
            if message["event"] == "media" and len(set(message["media"]["payload"][:40])) > 4:
                speaking.cancel()
                await bot.say("clear")
                break
        await bot.wait_for_stop()
    finally:
        speaking.cancel()


async def _speak(bot: Bot) -> None:
    began_at = asyncio.get_running_loop().time()
    for at in range(0, 60 * 8000, STEP):
        await bot.play((bot.voice * 10)[at : at + STEP])
        await asyncio.sleep(began_at + at / 8000 - 0.1 - asyncio.get_running_loop().time())


async def talk_on(bot: Bot) -> None:
    """Speak, and listen to nobody."""
    await bot.answer()
    speaking = asyncio.create_task(_speak(bot))
    try:
        await bot.wait_for_stop()
    finally:
        speaking.cancel()


async def say_ok(bot: Bot) -> None:
    """Say a word at once, another at a key, with a mark; and close with 1001."""
    await bot.answer()
    await bot.play(bot.voice[8000 : 8000 + 10 * FRAME])
    await bot.until("dtmf")
    await bot.play(bot.voice[8000 : 8000 + 10 * FRAME])
    await bot.say("mark", mark={"name": "ok"})
    await bot.wait_for_stop()
    await bot.connection.close(1001)


@asynccontextmanager
async def answering(behaviour: Behaviour, bots: list[Bot] | None = None):
    """Serve bots that behave so; yield where."""

    async def answer(connection: ServerConnection) -> None:
        bot = Bot(connection, prompt("greeting") + prompt("menu"))
        if bots is not None:
            bots.append(bot)
        with suppress(ConnectionClosed, KeyError):
            await behaviour(bot)

    async with serve(answer, "127.0.0.1", 0, ping_interval=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def run(behaviour: Behaviour, wanted: Scenario, bots: list[Bot] | None = None) -> CallReport:
    """Play a scenario to a bot."""

    async def main() -> CallReport:
        async with asyncio.timeout(BOUND_SECONDS), answering(behaviour, bots) as url:
            return await place_call(url, wanted.plan, wanted=wanted.wanted, judging=wanted.judging)

    return asyncio.run(main())


def verdicts(report: CallReport) -> list[bool]:
    """Whether each step has passed."""
    return [step.has_passed for step in report.steps]


TALK_OVER = scenario(
    "expect first audio within 800 ms",
    "wait for speech",
    "talk over after 300 ms with it",
    f"expect silence within {LATE_MS} ms of talking over",
    f"expect clear within {LATE_MS} ms of talking over",
    "expect silence for 300 ms",
    "hang up",
    "expect close 1000 within 2 s",
)


def test_a_bot_that_is_talked_over_falls_silent() -> None:
    """Within the time that is allowed, and it breaks no rule by it."""
    report = run(talk, TALK_OVER)
    assert verdicts(report) == [True] * 8, report.steps
    assert Rule.STALE_AUDIO not in report.broken
    assert report.ending is Ending.STOP
    assert report.spoken.strip(b"\xff")


def test_a_bot_that_talks_on_fails_the_steps_that_say_so() -> None:
    """The rest of the scenario goes on."""
    report = run(talk_on, TALK_OVER)
    assert verdicts(report) == [True, True, True, False, False, False, True, True], report.steps
    assert "no silence, not even within" in report.steps[3].detail


def test_keys_marks_and_the_close_code() -> None:
    """What is measured is told; a code that is not the wanted one has failed."""
    report = run(
        say_ok,
        scenario(
            "expect speech within 1 s",
            "press 1",
            "wait for mark ok within 3 s",
            "expect silence for 200 ms",
            "hang up without closing",
            "expect close 1000 within 2 s",
        ),
    )
    assert verdicts(report) == [True, True, True, True, True, False], report.steps
    assert report.steps[-1].detail.startswith("closed with 1001 after ")
    assert report.broken == {}


@pytest.mark.parametrize(
    ("step", "ending"), [("hang up by closing", Ending.CLOSE), ("drop the connection", Ending.DROP)]
)
def test_the_platform_ends_the_call_as_the_scenario_says(step: str, ending: Ending) -> None:
    """Without `stop`."""
    report = run(talk, scenario("wait for speech", step))
    assert (report.ending, verdicts(report)) == (ending, [True, True])


def test_a_muted_platform_sends_nothing_and_then_goes_on() -> None:
    """Half a second without a message; the clock of the stream goes on."""
    bots: list[Bot] = []
    heard: list[float] = []

    async def listen(bot: Bot) -> None:
        await bot.answer()
        await bot.play(bot.voice[: 50 * FRAME])
        while (message := await bot.next())["event"] != "stop":
            if message["event"] == "media":
                heard.append(int(message["media"]["timestamp"]) / 1000)

    run(listen, scenario("wait 300 ms", "mute", "wait 500 ms", "unmute", "wait 300 ms"), bots)
    steps = [after - before for before, after in itertools.pairwise(heard)]
    assert [round(step, 1) for step in steps if step > 0.03] == [pytest.approx(0.5, abs=0.11)]


def test_jitter_is_the_same_each_time_and_overtakes_nothing() -> None:
    """Chunks come late by chance and in order; `seed` decides the chances."""
    times: list[list[float]] = []

    async def listen(bot: Bot) -> None:
        await bot.answer()
        times.append([])
        began_at = asyncio.get_running_loop().time()
        while (message := await bot.next())["event"] != "stop":
            if message["event"] == "media":
                late = asyncio.get_running_loop().time() - began_at - int(message["media"]["timestamp"]) / 1000
                times[-1].append(late)

    wanted = scenario("wait 800 ms", keys='jitter = "100 ms"\nallow = ["no_answer"]')
    run(listen, wanted)
    assert len(times[0]) == 39 or len(times[0]) > 30
    assert max(times[0]) - min(times[0]) > 0.04


def test_a_slow_reader_and_a_half_open_line() -> None:
    """The bot feels both; the referee blames nobody for what the platform does itself."""
    slow = run(
        talk_on, scenario("wait for speech", "read 4000 bytes/s", "wait 600 ms", "read everything", "wait 200 ms")
    )
    assert verdicts(slow) == [True] * 5
    assert slow.broken == {}

    bots: list[Bot] = []

    async def give_up(bot: Bot) -> None:
        await bot.answer()
        await bot.play(bot.voice[: 50 * FRAME])
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    async with asyncio.timeout(0.15):
                        await bot.next()
        bot.connection.transport.abort()

    dead = run(
        give_up,
        scenario("wait for speech", "go half-open", "wait 600 ms", "read everything", "expect close within 1 s"),
        bots,
    )
    assert verdicts(dead) == [True] * 5, dead.steps
    assert dead.broken == {}


def test_a_wait_in_vain_hangs_up() -> None:
    """And what follows was not come to."""

    async def silent(bot: Bot) -> None:
        await bot.answer()
        await bot.wait_for_stop()

    report = run(silent, scenario("wait for speech within 300 ms", "press 1", "wait 20 s"))
    assert [step.was_reached for step in report.steps] == [True, False, False]
    assert report.duration_seconds < 5


def test_our_bridge_reads_every_variant() -> None:
    """All forms of the platform's messages at once, one call for each."""

    async def main() -> list[CallReport]:
        async with bridge(ivr) as service:
            calls = [
                place_call(url_of(service), one.plan, wanted=one.wanted, judging=one.judging)
                for one in load_scenarios("every-variant")
            ]
            return list(await asyncio.gather(*calls))

    for report in on_uvloop(main()):
        assert not report.failed_steps, report.failed_steps
        assert set(report.broken) <= {Rule.GAP_0_MS, Rule.GAP_60_MS}  # twenty calls and the bridge share a loop


@contextmanager
def served(behaviour: Behaviour) -> Iterator[str]:
    """Serve bots beside the test, in a thread; yield where."""
    is_over, urls = asyncio.Event(), []
    loop = asyncio.new_event_loop()

    async def main(up: asyncio.Future[None]) -> None:
        async with answering(behaviour) as url:
            urls.append(url)
            up.set_result(None)
            await is_over.wait()

    up: asyncio.Future[None] = loop.create_future()
    thread = Thread(target=loop.run_until_complete, args=[main(up)])
    thread.start()
    asyncio.run(_until_done(up))
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()
        loop.close()


async def _until_done(up: "asyncio.Future[None]") -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not up.done():
            await asyncio.sleep(0.01)


SAYS_OK = """
about = "It says ok."
cadence = "20 ms"
steps = ["expect first audio within 2 s", "press 1", "wait for mark ok", "hang up", "expect close CODE within 2 s"]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write a scenario that the bot passes, and one that it fails."""
    (tmp_path / "good.toml").write_text(SAYS_OK.replace("CODE", "1001"))
    (tmp_path / "bad.toml").write_text(SAYS_OK.replace("CODE", "1000"))
    return tmp_path


def test_play_returns_the_report_or_says_what_happened(files: Path) -> None:
    """Readable: each step with what was measured, each broken rule with its place, and the events."""
    with served(say_ok) as url:
        report = play(files / "good.toml", url)
        assert isinstance(report, CallReport)
        with pytest.raises(ScenarioFailed) as caught:
            play(files / "bad.toml", url)
    lines = str(caught.value).splitlines()
    assert lines[0] == "bad: 1 of 5 steps failed, 0 rules broken"
    assert lines[1].startswith("  ok     1  expect first audio within 2 s  (first audio after ")
    assert lines[5].startswith("  FAIL   5  expect close 1000 within 2 s  (closed with 1001 after ")
    assert any(line.endswith("mark ok echoed") for line in lines)


def test_play_refuses_what_it_does_not_know(files: Path) -> None:
    """A rule that does not exist; and a bot that does not answer fails the test."""
    with pytest.raises(ConfigError, match=r"allow: there is no rule .rudeness."):
        play(files / "good.toml", "ws://127.0.0.1:1/", allow=["rudeness"])
    with pytest.raises(ScenarioFailed, match=r"good: call failed: no connection to 127\.0\.0\.1:1"):
        play(files / "good.toml", "ws://127.0.0.1:1/")


TEST_FILE = """
import pytest

def test_good(place_call):
    report = place_call("good.toml")
    assert report.counts.marks == 1

def test_bad(place_call):
    place_call("bad.toml")

def test_rude(place_call):
    place_call("good.toml", allow=["rudeness"])
"""


def test_the_fixture_works_in_any_project(files: Path) -> None:
    """It is found by pytest itself; XX it by itself; a failure shows no traceback of ours; without a URL it asks for one."""
    (files / "test_bot.py").write_text(TEST_FILE)
    pytest_there = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short"]
    with served(say_ok) as url:
        done = subprocess.run(
            [*pytest_there, "--smartflo-url", url], cwd=files, capture_output=True, text=True, timeout=60, check=False
        )
    assert "1 passed" in done.stdout, done.stdout
    assert "2 failed" in done.stdout
    assert "ScenarioFailed: bad: 1 of 5 steps failed, 0 rules broken" in done.stdout
    assert "simulator/caller.py" not in done.stdout
    lost = subprocess.run(
        [*pytest_there, "-k", "good"], cwd=files, capture_output=True, text=True, timeout=60, check=False
    )
    assert "where is the bot? Give --smartflo-url" in lost.stdout


def call(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_the_command_plays_a_scenario_and_writes_json(files: Path) -> None:
    """Exit code 0 or 1, the steps in the text, and all of it for machines."""
    with served(say_ok) as url:
        good = call(url, "--scenario", files / "good.toml", "--json", files / "report.json")
        bad = call(url, "--scenario", files / "bad.toml")
    assert good.exit_code == 0, good.output
    assert "steps       5 of 5 passed\n" in good.output
    assert "rules       none broken\n" in good.output
    document = json.loads((files / "report.json").read_text())
    assert (document["format"], document["passed"]) == (1, True)
    (told,) = document["calls"]
    assert (told["scenario"], told["close_code"], told["broken"], told["violations"]) == ("good", 1001, {}, [])
    assert [step["has_passed"] for step in told["steps"]] == [True] * 5
    assert [tally["jitter_buffer_ms"] for tally in told["gap_tallies"]] == [0, 60, 200]
    assert {"kind": "KeyPressed", "at_seconds": pytest.approx(1, abs=3), "digit": "1"} in told["history"]
    assert bad.exit_code == 1
    assert "  FAIL   5  expect close 1000 within 2 s  (closed with 1001" in bad.output


def test_a_rule_that_is_allowed_does_not_fail_the_call() -> None:
    """It is shown all the same, and named as allowed in the JSON."""

    async def forget_the_chunk(bot: Bot) -> None:
        await bot.answer()
        await bot.say("media", media={"payload": "/" * 212 + "/w=="})
        await bot.wait_for_stop()

    with served(forget_the_chunk) as url:
        strict = call(url, "--hang-up-at", "300ms")
        lenient = call(url, "--hang-up-at", "300ms", "--allow", "chunk-out-of-order")
    assert strict.exit_code == 1
    assert "  chunk_out_of_order, at 0.0" in strict.output
    assert "docs/protocol.md#to-the-platform" in strict.output
    assert lenient.exit_code == 0, lenient.output
    assert "  chunk_out_of_order (allowed), at 0.0" in lenient.output


def test_a_scenario_of_several_calls_names_each() -> None:
    """This bot wants the stream's id inside `start`: it fails the one variant that has it only outside."""
    with served(faultless) as url:
        result = call(url, "--scenario", "every-variant")
    assert result.exit_code == 1
    failed = [line for line in result.output.splitlines() if line.startswith("FAIL")]
    assert failed == ["FAIL  every-variant[sid-outside-only]"], result.output
    assert result.output.count("ok    every-variant[") == 20


def test_nobody_answers_a_scenario() -> None:
    """One line."""

    async def main() -> None:
        wanted = scenario("hang up")
        await place_call("ws://127.0.0.1:1/", wanted.plan, wanted=wanted.wanted)

    with pytest.raises(CallFailed, match="connection refused"):
        asyncio.run(main())
