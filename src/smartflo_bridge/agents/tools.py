"""Functions that an agent may call: a user's `async def`s, on the handlers' thread, bounded in time.

`tools = "module:dict"` names a dictionary from names to functions. The schema that the service is given comes from a
function's signature, its description from its docstring. A first parameter called `call` is given the `CallFacts`, all of
them: the allow-list is for the service, not for the user's own code.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, get_type_hints

import msgspec

from smartflo_bridge.agents.dialect import CallFacts, Tool
from smartflo_bridge.agents.events import ToolCall
from smartflo_bridge.agents.message import DECODE_ERRORS
from smartflo_bridge.calls.home import HandlerLoop
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.log import line

HANG_UP = Tool(
    "hang_up",
    "End the telephone call. Say goodbye first; the call ends when the caller has heard it.",
    {"type": "object", "properties": {}, "additionalProperties": False},
)

MAX_RESULT_CHARACTERS = 20_000
"""What a function may answer: some pages. A service takes more, at a price."""

_log = logging.getLogger(__name__)


class Function:
    """One function of the user's.

    Args:
        name: that the service calls it by.
        function: `async def f(...)`; every parameter can be a keyword, and has a type that JSON can hold.

    Raises:
        ConfigError: it is no such function.
    """

    def __init__(self, name: str, function: object) -> None:
        if not inspect.iscoroutinefunction(function):
            msg = f"tools: {name!r} is not an `async def`"
            raise ConfigError(msg)
        self._function: Callable[..., Coroutine[Any, Any, object]] = function
        parameters = inspect.signature(function).parameters
        hints = get_type_hints(function, include_extras=True)
        self._wants_call = "call" in parameters
        fields: list[Any] = []
        for parameter in parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                msg = f"tools: {name!r} has a parameter {parameter.name!r} that cannot be given by its name"
                raise ConfigError(msg)
            if parameter.name != "call":
                kind = hints.get(parameter.name, str)
                has_default = parameter.default is not parameter.empty
                fields.append((parameter.name, kind, parameter.default) if has_default else (parameter.name, kind))
        try:
            self._arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
            self.tool = Tool(name, inspect.getdoc(function) or "", _schema(self._arguments))
        except (TypeError, ValueError) as error:
            msg = f"tools: {name!r} has a parameter that JSON cannot hold: {error}"
            raise ConfigError(msg) from None

    def start(self, arguments: str, facts: CallFacts) -> Coroutine[Any, Any, object]:
        """Return the coroutine of one call.

        Raises:
            ValueError: the arguments are not what the function takes.
        """
        try:
            given = msgspec.json.decode(arguments or "{}", type=self._arguments, strict=False)
        except DECODE_ERRORS as error:
            raise ValueError(str(error)) from None
        values = {name: getattr(given, name) for name in self._arguments.__struct_fields__}
        return self._function(**({"call": facts} if self._wants_call else {}), **values)


class Tools:
    """All functions of one agent.

    Args:
        functions: from names to functions.
        home: the loop that they run on: never the calls'.
        timeout_seconds: how long one may take.
    """

    def __init__(self, functions: Mapping[str, object], home: HandlerLoop, timeout_seconds: float) -> None:
        self._functions = {name: Function(name, function) for name, function in functions.items()}
        self._home = home
        self._timeout = timeout_seconds
        self.specifications = tuple(function.tool for function in self._functions.values())

    async def run(self, asked: ToolCall, facts: CallFacts) -> str:
        """Return a function's result as text; what goes wrong is told to the agent in a word, and logged in full."""
        function = self._functions.get(asked.name)
        if function is None:
            return failure("there is no such function")
        try:
            coroutine = function.start(asked.arguments, facts)
        except ValueError as error:
            return failure(str(error))
        results: list[str] = []
        running = self._home.start(self._keep(asked.name, coroutine, results))
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wrap_future(running)
        except TimeoutError:
            _log.warning(line("a tool took too long", tool=asked.name, seconds=self._timeout))
            return failure("the function took too long")
        return results[0] if results else failure("the function failed")

    async def _keep(self, name: str, coroutine: Coroutine[Any, Any, object], results: list[str]) -> None:
        """Put the result into a list, if there is one. Making text of it calls the user's code as well."""

        async def finish() -> None:
            results.append(_text(await coroutine))

        await self._home.attempt(finish(), "tool", tool=name)


def _text(result: object) -> str:
    if result is None:
        return '{"done":true}'
    text = result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=str).decode()
    return text[:MAX_RESULT_CHARACTERS]


def failure(reason: str) -> str:
    """Return a result that says why there is none."""
    return msgspec.json.encode({"error": reason}).decode()


def _schema(arguments: type[msgspec.Struct]) -> dict[str, object]:
    (root,), components = msgspec.json.schema_components((arguments,), ref_template="#/$defs/{name}")
    schema: dict[str, object] = dict(components.pop(root["$ref"].rpartition("/")[2]))
    schema.pop("title", None)
    schema["additionalProperties"] = False
    return schema | ({"$defs": components} if components else {})
