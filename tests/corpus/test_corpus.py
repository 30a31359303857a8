"""Bad input, case by case, against the real daemon: what each does to its own call, and that it does nothing else.

All cases of a category are played at once, a few at a time, beside five neighbour calls that count each of their bytes;
then each has its test. The daemon may log no line above INFO for any of them, and no traceback.
"""

import asyncio
import base64
import functools
import json
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from corpus.case import Case, Message, Mistake, Request, Wrapped, audio_of, load, text_of
from faults.support import check_balance, neighbours, run
from integration.daemon import Daemon, counts, run_program
from integration.wire import Platform, dialled
from secret_files import write_secret

AT_ONCE = 12
CASE_SECONDS = 15.0
TIMED_OUT = 0
TOKEN = "corpus-token-5f2d8a1c"
MAX_LINES_OF_A_CALL = 3  # its beginning, its end, and what was noticed once
MAX_LINE = 600
"""Characters of a log line: an end line with all it can have, whatever the ids are."""

NO_CAPTURE = ["^no capture of a connection "]
"""A connection that never starts leaves no file where it says more than its memory may hold."""

CALL_CATEGORIES = "BCDEFH"
REQUESTS: list[Request] = load("A", Request)
MISTAKES: list[Mistake] = load("J", Mistake)
CASES: dict[str, list[Case]] = {category: load(category, Case) for category in CALL_CATEGORIES}


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        code: with which the daemon closed; 0 if it did not, or not all audio came back.
        said: the audio that should have come back.
        heard: the audio that did.
        end: the pairs of its end line; None if it never began.
        account: the last line of its capture; None likewise.
    """

    code: int
    said: bytes
    heard: bytes
    end: dict[str, str] | None = None
    account: dict[str, Any] | None = None


# --- Calls


class CaseCall:
    """One case, played in one position."""

    def __init__(self, case: Case, position: str, platform: Platform) -> None:
        self._case = case
        self._position = position
        self._platform = platform
        self._said = b""
        self._heard = b""

    async def play(self) -> Outcome:
        """Say it, and what belongs around it; return what came of it."""
        listening = asyncio.ensure_future(self._listen())
        try:
            async with asyncio.timeout(CASE_SECONDS):
                with suppress(ConnectionClosed):
                    await self._talk()
                code = await listening
        except TimeoutError:
            code = TIMED_OUT
        return Outcome(code, self._said, self._heard)

    async def _talk(self) -> None:
        if self._position == "before":
            await self._send_case()
        if self._position == "start":
            await self._send_case()
        else:
            await self._platform.start(role="echo")
        await self._speak()
        if self._position == "call":
            await self._send_case()
            await self._speak()
        if self._position in ("before", "call"):
            # Only the last frame of what was echoed may be incomplete, and wait for more.
            while len(self._heard) < len(self._said) // 160 * 160:
                await asyncio.sleep(0.05)
                await self._platform.connection.ping()  # raises once the connection is closed
        await self._stop()
        if self._position == "after":
            await self._send_case()

    async def _stop(self) -> None:
        await self._platform.connection.send(json.dumps({"event": "stop", "streamSid": self._platform.sid}))

    async def _speak(self) -> None:
        chunk = secrets.token_bytes(800)
        payload = base64.b64encode(chunk).decode()
        message = {"event": "media", "streamSid": self._platform.sid, "media": {"payload": payload}}
        await self._platform.connection.send(json.dumps(message))
        self._said += chunk

    async def _send_case(self) -> None:
        for _ in range(self._case.times):
            for message in self._case.send:
                await self._send(message)

    async def _send(self, message: Message) -> None:
        connection = self._platform.connection
        if not isinstance(message, Wrapped):
            text = text_of(message)
            payload = audio_of(text)
            if payload is not None and self._case.action in ("accept", "ignore") and self._position == "call":
                self._said += base64.b64decode(payload, validate=True)
            await connection.send(self._named(text))
        elif message.binary is not None:
            await connection.send(self._named(text_of(message.binary)).encode())
        elif message.latin is not None:
            await connection.send(self._named(text_of(message.latin)).encode("latin-1"), text=True)
        elif message.raw is not None:
            connection.transport.write(text_of(message.raw).encode("latin-1"))

    def _named(self, text: str) -> str:
        return text.replace("SID", self._platform.sid, text.count('"SID"')) if '"SID"' in text else text

    async def _listen(self) -> int:
        try:
            while True:
                message = await self._platform.next()
                if message["event"] == "media":
                    self._heard += base64.b64decode(message["media"]["payload"], validate=True)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


def _played(cases: list[Case], folder: Path) -> dict[tuple[str, str], Outcome]:
    """Play all cases in all their positions; return what came of each."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    sids: dict[tuple[str, str], str] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def play(daemon: Daemon, case: Case, position: str) -> None:
        async with room, dialled(daemon.url) as platform:
            sids[case.id, position] = platform.sid
            outcomes[case.id, position] = await CaseCall(case, position, platform).play()

    async def main(daemon: Daemon) -> None:
        async with neighbours(daemon, 5), asyncio.TaskGroup() as tasks:
            for case in cases:
                for position in case.positions:
                    tasks.create_task(play(daemon, case, position))

    with Daemon(folder, handler="answers:answer", capture_dir=str(folder / "captures"), expects=NO_CAPTURE) as daemon:
        run(main(daemon), 120)
    said = daemon.log.all()
    assert all(len(text) < MAX_LINE for text in said)
    assert len(said) < MAX_LINES_OF_A_CALL * (len(sids) + 5) + 10
    accounts = _accounts(folder / "captures")
    for place, sid in sids.items():
        outcomes[place].account = accounts.get(sid)
        if daemon.log.find(f" call ended stream_sid={sid} "):
            outcomes[place].end = daemon.end_of(sid)
    return outcomes


def _accounts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the last lines of all captures by their streams, each ledger balanced."""
    found = {}
    for file in folder.glob("*.capture.jsonl"):
        lines = file.read_text().splitlines()
        last = json.loads(lines[-1])
        assert last["dir"] == "end", file
        check_balance(last["ledger"])
        for text in lines:
            with suppress(KeyError, TypeError):
                message = json.loads(text)["message"]
                if message["event"] == "start":
                    found[message.get("streamSid") or message["start"]["streamSid"]] = last
    return found


@pytest.fixture(scope="module")
def outcomes_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[tuple[str, str], Outcome]]:
    """Return what plays all cases of a category, once."""
    return functools.cache(lambda category: _played(CASES[category], tmp_path_factory.mktemp(category)))


@pytest.mark.parametrize(
    ("case", "position"),
    [
        pytest.param(case, position, id=f"{case.id}-{position}")
        for cases in CASES.values()
        for case in cases
        for position in case.positions
    ],
)
def test_a_message(outcomes_of: Callable[[str], dict[tuple[str, str], Outcome]], case: Case, position: str) -> None:
    """It is accepted, ignored, dropped or the end of its call, as its line says, and counted so."""
    outcome = outcomes_of(case.id[0])[case.id, position]
    closes = case.action == "close" and position != "after"
    codes = [case.code, case.also] if closes else [1000, case.code] if position == "after" else [1000]
    assert outcome.code in codes, case.what
    if closes and position == "before":
        assert outcome.end is None
        return
    assert outcome.end is not None
    if closes:
        return
    assert outcome.end["termination"] == "completed"
    if position == "after":
        return
    if position != "start":  # such a start names no handler, and gets one that only listens
        assert outcome.heard == outcome.said[: len(outcome.heard)]
        assert len(outcome.heard) >= len(outcome.said) // 160 * 160
    counters = case.before if position == "before" and case.before is not None else case.counters
    assert counts(outcome.end.get("anomalies")) == counters, case.what
    if outcome.account is not None:
        ledger = outcome.account["ledger"]
        assert ledger["delivered_bytes"] == len(outcome.said)
        if position == "call" or case.dropped:
            assert ledger["inbound_drops"] == case.dropped


# --- Requests


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Send all requests; return what each was answered."""
    folder = tmp_path_factory.mktemp("A")
    write_secret(folder / "stream.token", f"{TOKEN}\n")
    found: dict[str, int] = {}
    with (
        Daemon(folder, handler="answers:answer", open_seconds=1.0) as plain,
        Daemon(folder, handler="answers:answer", token_file="stream.token", secrets=[TOKEN]) as guarded,
        ThreadPoolExecutor(len(REQUESTS)) as pool,
    ):

        async def main() -> None:
            async with neighbours(plain, 5):
                before = len(plain.log.all())
                ports = [(guarded if case.wants_token else plain).port for case in REQUESTS]
                statuses = await asyncio.to_thread(lambda: list(pool.map(_status, REQUESTS, ports)))
                found.update(zip((case.id for case in REQUESTS), statuses, strict=True))
                assert plain.log.all()[before:] == []

        run(main())
    return found


def _status(case: Request, port: int) -> int:
    """Return the status of the answer to a request; 0 if there is none."""
    said = text_of(case.send).replace("HALF", TOKEN[:10]).replace("TOKEN", TOKEN)
    with socket.create_connection(("127.0.0.1", port), timeout=CASE_SECONDS) as sock:
        try:
            sock.sendall(said.encode("latin-1"))
            answer = sock.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""
    assert TOKEN.encode() not in answer
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in REQUESTS])
def test_a_request(answers: dict[str, int], case: Request) -> None:
    """It is answered with what HTTP has for it, or with a close; never with 5xx but for a version, never with a trace."""
    assert answers[case.id] in case.expect, case.what


# --- Configurations


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in MISTAKES])
def test_a_configuration(tmp_path: Path, case: Mistake) -> None:
    """One line names what is wrong and where, and the exit code is 2."""
    file = tmp_path / "wrong.toml"
    if isinstance(case.text, Wrapped):
        file.write_bytes(text_of(case.text.latin or "").encode("latin-1"))
    else:
        file.write_text(text_of(case.text))
    said = run_program("serve" if case.at_start else "check-config", "--config", file)
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    for word in case.words:
        assert word in said.stderr, case.what


def test_the_corpus_is_as_large_as_it_says() -> None:
    """No case is lost, and no id is given twice."""
    ids = [case.id for case in [*REQUESTS, *MISTAKES, *(case for cases in CASES.values() for case in cases)]]
    assert len(set(ids)) == len(ids) >= 350
