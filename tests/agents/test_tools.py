"""Functions of the user's that an agent may call: their schema, their arguments, their results, and what goes wrong."""

import asyncio
import json
import sys
import threading
import time
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from smartflo_bridge.agents.dialect import CallFacts
from smartflo_bridge.agents.events import ToolCall
from smartflo_bridge.agents.tools import MAX_RESULT_CHARACTERS, Tools
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.errors import ConfigError

FACTS = CallFacts("MZ1", from_number="+911")


class Address(msgspec.Struct):
    """Where to."""

    city: str


async def book(
    day: Literal["monday", "friday"],
    people: Annotated[int, Meta(ge=1, description="how many come")] = 2,
    *,
    to: Address | None = None,
) -> str:
    """Book a table."""
    return f"{day} {people} {to}"


async def who(call: CallFacts) -> str | None:
    """Say who calls."""
    return call.from_number


def run(functions: dict[str, object], name: str, arguments: str = "{}", seconds: float = 5.0) -> str:
    """Call a function as a leg does."""

    async def main() -> str:
        home = HandlerLoop.in_thread()
        try:
            return await Tools(functions, home, seconds).run(ToolCall("c1", name, arguments), FACTS)
        finally:
            home.stop(1.0)

    return asyncio.run(main())


def test_the_schema_is_the_signature_s():
    """Types, defaults, bounds and descriptions; the call itself is no argument of the agent's."""
    tools = Tools({"book": book, "who": who}, None, 5.0)  # type: ignore[arg-type]  # none is called
    booked, asked = tools.specifications
    assert (booked.name, booked.description) == ("book", "Book a table.")
    assert booked.parameters["type"] == "object"
    assert booked.parameters["required"] == ["day"]
    properties = booked.parameters["properties"]
    assert isinstance(properties, dict)
    assert properties["day"] == {"enum": ["friday", "monday"]}
    assert properties["people"] == {"type": "integer", "minimum": 1, "description": "how many come", "default": 2}
    assert "#/$defs/Address" in json.dumps(properties["to"])
    assert "Address" in json.dumps(booked.parameters["$defs"])
    assert asked.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ('{"day":"friday"}', "friday 2 None"),
        ('{"day":"monday","people":3,"to":{"city":"Pune"}}', "monday 3 Address(city='Pune')"),
        ('{"day":"monday","people":"4"}', "monday 4 None"),
    ],
)
def test_arguments_arrive_as_their_types(arguments, result):
    """Numbers as text too: agents are not strict."""
    assert run({"book": book}, "book", arguments) == result


@pytest.mark.parametrize(
    "arguments",
    ["", "{}", "[]", "{", '{"day":"sunday"}', '{"day":"friday","people":0}', '{"day":"friday","x":1}', "[" * 60_000],
)
def test_wrong_arguments_are_told_to_the_agent(arguments):
    """It may ask again; the function is not called."""
    assert "error" in json.loads(run({"book": book}, "book", arguments))


def test_the_call_is_known_to_a_function():
    """All of it: the allow-list is for the service."""
    assert run({"who": who}, "who") == "+911"


def test_results_become_text():
    """Nothing, a structure, what JSON does not know, and a novel."""

    async def nothing() -> None:
        """Do it."""

    async def structure() -> dict[str, object]:
        return {"a": [1, None], "b": FACTS.from_number, "c": 1j}

    async def novel() -> str:
        return "x" * 100_000

    functions: dict[str, object] = {"nothing": nothing, "structure": structure, "novel": novel}
    assert run(functions, "nothing") == '{"done":true}'
    assert run(functions, "structure") == '{"a":[1,null],"b":"+911","c":"1j"}'
    assert len(run(functions, "novel")) == MAX_RESULT_CHARACTERS


def test_what_goes_wrong_is_told_in_a_word(caplog):
    """A function that fails, one that does not return, one that is not there; the log has the traceback."""

    async def fails() -> None:
        msg = "secret"
        raise RuntimeError(msg)

    async def hangs() -> None:
        await asyncio.sleep(60)

    functions: dict[str, object] = {"fails": fails, "hangs": hangs}
    assert json.loads(run(functions, "fails")) == {"error": "the function failed"}
    assert "secret" in caplog.text
    began = time.monotonic()
    assert json.loads(run(functions, "hangs", seconds=0.2)) == {"error": "the function took too long"}
    assert time.monotonic() - began < 2
    assert json.loads(run(functions, "missing")) == {"error": "there is no such function"}


class Unspeakable:
    """No text can be made of it."""

    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize("what", ["exits", "is cancelled", "times out", "gives what is no text"])
def test_whatever_a_function_raises_is_its_own(what, caplog):
    """An exit, a cancellation and a time-out of its own fail it alone, with a traceback; the calls' loop goes on."""

    async def fails() -> object:
        if what == "exits":
            sys.exit(3)
        if what == "is cancelled":
            raise asyncio.CancelledError
        if what == "times out":
            raise TimeoutError
        return Unspeakable()

    assert json.loads(run({"fails": fails}, "fails")) == {"error": "the function failed"}
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "a tool failed tool=fails"


def test_failures_are_counted():
    """By the kind of code that failed, and not those that took too long."""

    async def fails() -> None:
        raise LookupError

    async def hangs() -> None:
        await asyncio.sleep(60)

    async def main() -> dict[str, int]:
        home = HandlerLoop.in_thread()
        tools = Tools({"fails": fails, "hangs": hangs}, home, 0.1)
        for name in ("fails", "hangs", "fails"):
            await tools.run(ToolCall("c", name, "{}"), FACTS)
        home.stop(1.0)
        return dict(home.failures)

    assert asyncio.run(main()) == {"tool": 2}


def test_functions_run_on_their_own_thread():
    """One that blocks does not hold up the calls' loop."""
    where = []

    async def blocks() -> None:
        where.append(threading.current_thread())
        time.sleep(0.5)  # noqa: ASYNC251 - what it must not do

    async def main() -> float:
        home = HandlerLoop.in_thread()
        running = asyncio.create_task(Tools({"f": blocks}, home, 5.0).run(ToolCall("c", "f", "{}"), FACTS))
        worst = 0.0
        while not running.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - began)
        home.stop(1.0)
        return worst

    assert asyncio.run(main()) < 0.3
    assert where[0] is not threading.main_thread()


@pytest.mark.parametrize("function", [5, print, lambda: None, Address])
def test_what_is_no_function_is_refused(function):
    """At the start, not with the first call."""
    with pytest.raises(ConfigError, match="tools: 'f' is not an `async def`"):
        Tools({"f": function}, None, 5.0)  # type: ignore[arg-type]  # is not reached


def test_parameters_that_cannot_be_given_are_refused():
    """Those without a name, and types that JSON does not have."""

    async def stars(*args: str) -> None:
        """Take anything."""

    async def foreign(thread: threading.Thread) -> None:
        """Take a thread."""

    with pytest.raises(ConfigError, match="cannot be given by its name"):
        Tools({"f": stars}, None, 5.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="JSON cannot hold"):
        Tools({"f": foreign}, None, 5.0)  # type: ignore[arg-type]
