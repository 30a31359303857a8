"""The user's function as a connection: what it is asked, what it says, and what becomes of it when nobody wants it."""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import pytest

from smartflo_bridge.agents.answering import HANG_UP, Answering, AnsweringConnection, Asked, Stop
from smartflo_bridge.agents.dialect import CallFacts
from smartflo_bridge.agents.events import Transcript
from smartflo_bridge.agents.message import to_text
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.errors import ConfigError
from virtual_clock import virtual

FACTS = CallFacts("MZ1", from_number="+911")


def connect(function: object, seconds: float = 5.0, home: HandlerLoop | None = None) -> AnsweringConnection:
    """Return a connection to a function."""
    return Answering(function, home or HandlerLoop.main(), seconds).connect(FACTS)


async def ask(connection: AnsweringConnection, number: int = 1, said: str = "Hi") -> None:
    """Ask it something."""
    await connection.send(to_text(Asked(number, said, (Transcript(is_caller=True, text="Before"),))))


async def told(connection: AnsweringConnection) -> list[tuple[str, str]]:
    """Return what it says to the end of an answer."""
    found: list[tuple[str, str]] = []
    while not found or found[-1][0] not in ("done", "failed"):
        message = await connection.recv()
        assert isinstance(message, str)
        event: dict[str, Any] = json.loads(message)
        assert event["number"] == 1
        found.append((event["kind"], event.get("text", "")))
    return found


async def whole(said: str) -> str:
    """Answer at once."""
    return f"You said {said}."


async def pieces(call: CallFacts, said: str, story: list[Transcript]):
    """Answer by and by, with all that it may know."""
    yield f"From {call.from_number}: "
    await asyncio.sleep(1.0)
    yield f"{story[0].text}, {said}."
    yield ""


@pytest.mark.parametrize(("function", "texts"), [(whole, ["You said Hi."]), (pieces, ["From +911: ", "Before, Hi."])])
@virtual
async def test_an_answer_comes_whole_or_in_pieces(function, texts):
    """Each piece at once; a piece of nothing is none."""
    connection = connect(function)
    await ask(connection)
    assert await told(connection) == [("asked", ""), *(("text", text) for text in texts), ("done", "")]


@virtual
async def test_it_hangs_up():
    """With a word that is not spoken."""

    async def leave(said: str):
        yield "Bye."
        yield HANG_UP

    connection = connect(leave)
    await ask(connection)
    assert [kind for kind, _ in await told(connection)] == ["asked", "text", "hang_up", "done"]


@virtual
async def test_a_question_stops_the_one_before():
    """Whose function is cancelled, and whose words are not heard any more."""
    ends: list[str] = []

    async def slow(said: str) -> str:
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            ends.append(said)
            raise
        return said

    connection = connect(slow)
    await ask(connection, 0, "old")
    await asyncio.sleep(0.5)
    await ask(connection, 1, "new")
    assert await told(connection) == [("asked", ""), ("text", "new"), ("done", "")]
    assert ends == ["old"]
    await ask(connection, 2, "stopped")
    await asyncio.sleep(0.5)
    await connection.send(to_text(Stop(2)))
    await ask(connection, 3, "closed")
    await asyncio.sleep(0.5)
    await connection.close()
    await asyncio.sleep(2.0)
    assert ends == ["old", "stopped", "closed"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.recv(), 1.0)


@virtual
async def test_one_that_takes_too_long_has_failed(caplog):
    """To its first text, or from one to the next; each gives it its time again."""
    ends: list[bool] = []

    async def slower(said: str):
        try:
            for pause in (0.9, 0.9, 1.1):
                await asyncio.sleep(pause)
                yield "Well, "
        finally:
            ends.append(True)

    connection = connect(slower, 1.0)
    await ask(connection)
    assert await told(connection) == [("asked", ""), ("text", "Well, "), ("text", "Well, "), ("failed", "")]
    await asyncio.sleep(0.1)
    assert ends == [True]
    assert "took too long" in caplog.text


async def broken(said: str) -> str:
    """Fail."""
    msg = "no model"
    raise RuntimeError(msg)


async def no_text(said: str) -> int:
    """Answer with a number."""
    return 5


async def no_texts(said: str):
    """Answer with a number at last."""
    yield "Well, "
    yield 5


async def leaves(said: str) -> str:
    """Exit."""
    sys.exit(3)


async def is_cancelled(said: str) -> str:
    """Await what somebody has cancelled."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("function", [broken, no_text, no_texts, leaves, is_cancelled])
@virtual
async def test_one_that_fails_says_so(function, caplog):
    """What went wrong is in the log, in full."""
    connection = connect(function)
    await ask(connection)
    assert (await told(connection))[-1] == ("failed", "")
    assert "the function that answers has failed" in caplog.text
    assert "Hi" not in caplog.messages[-1]


@virtual
async def test_an_endless_answer_ends():
    """After some twenty minutes of speech."""

    async def endless(said: str):
        while True:
            yield "x" * 1000
            await asyncio.sleep(0)

    connection = connect(endless)
    await ask(connection)
    found = await told(connection)
    assert len(found) == 22
    assert found[-1] == ("done", "")


def test_it_runs_on_its_own_thread():
    """A function that blocks holds up nobody's audio."""
    threads: list[str] = []

    async def blocks(said: str) -> str:
        threads.append(threading.current_thread().name)
        time.sleep(0.3)  # noqa: ASYNC251 - what a user's function may do
        return said

    async def main() -> None:
        home = HandlerLoop.in_thread()
        connection = connect(blocks, home=home)
        await ask(connection)
        gaps, at = [], time.monotonic()
        answer = asyncio.create_task(told(connection))
        while not answer.done():
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - at)
            at = time.monotonic()
        assert await answer == [("asked", ""), ("text", "Hi"), ("done", "")]
        assert max(gaps) < 0.25
        assert len(gaps) > 10
        assert home.stop(1.0)

    asyncio.run(main())
    assert threads == ["handlers"]


def not_async(said: str) -> str:
    """Not awaitable."""
    return said


async def no_words(call: CallFacts) -> str:
    """Does not want to know what was said."""
    return ""


async def wants_more(said: str, weather: str) -> str:
    """Wants what nobody has."""
    return said + weather


@pytest.mark.parametrize("function", [5, not_async, no_words, wants_more, None])
def test_what_cannot_answer_is_refused(function):
    """Before there is a call."""
    with pytest.raises(ConfigError, match=r"agent\.answer"):
        Answering(function, None, 1.0)  # type: ignore[arg-type]
