"""The built-in tool `transfer`: the platform is asked, over its REST interface, to connect the caller to somebody else.

The agent chooses among names; what number a name stands for is in the configuration and nowhere else, so an agent that was
talked into it cannot dial one of its own invention. What the platform then does with the stream is left to it: it may send
`stop`, or close the connection, or neither.

Source: docs.smartflo.tatatelebusiness.com/reference/v1calloptions.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from smartflo_bridge.agents.dialect import CallFacts, HttpRequest, Tool
from smartflo_bridge.agents.events import ToolCall
from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.message import DECODE_ERRORS, json_object, to_text
from smartflo_bridge.agents.tools import failure
from smartflo_bridge.core.errors import AgentError, ConfigError
from smartflo_bridge.log import line

TRANSFER = "transfer"
"""What agents call the tool by."""

REQUEST_SECONDS = 5.0
"""For the platform's answer: its own limit for ours is 2 s, and nobody waits longer at the telephone."""

HEARD_CHECK_SECONDS = 0.05
"""How often we look whether the caller has heard the agent's last words."""

_TRANSFER_TYPE = 4  # of call operations; 1 to 3 are monitor, whisper and barge
_NUMBER = re.compile(r"\+?[0-9]{1,20}")

_log = logging.getLogger(__name__)


class _Arguments(msgspec.Struct, frozen=True):
    to: str


class Transfer:
    """The tool of one agent, for all its calls.

    Args:
        targets: from the names that the agent may choose to the platform's intercoms, extensions or telephone numbers.
        url: of the platform's call operations.
        token: of the platform's API.
        ask: makes one HTTP request, within a time.
        timeout_seconds: how long the tool may take, with the wait for the agent's last words.

    Raises:
        ConfigError: a number that is none; the text does not quote it.
    """

    def __init__(
        self,
        targets: Mapping[str, str | int],
        url: str,
        token: str,
        ask: Callable[[HttpRequest, float], Awaitable[bytes]],
        timeout_seconds: float,
    ) -> None:
        self._numbers = {name: str(number) for name, number in targets.items()}
        for name, number in self._numbers.items():
            if not _NUMBER.fullmatch(number):
                msg = f"agent.transfer-to: {name!r} takes a number: digits, with or without a + before them"
                raise ConfigError(msg)
        self._url = url
        self._token = token
        self._ask = ask
        self._request_seconds = min(REQUEST_SECONDS, timeout_seconds)
        self._words_seconds = timeout_seconds - self._request_seconds
        self._under_way: set[str] = set()  # streams
        self.tool = _tool(list(self._numbers))

    async def run(self, asked: ToolCall, facts: CallFacts, is_heard: Callable[[], bool]) -> str:
        """Have the call transferred; return what the agent is told of it, as JSON.

        Args:
            asked: the agent's wish.
            facts: of the call.
            is_heard: True while the caller still hears the agent, whose last words are not to be cut.
        """
        try:
            name = msgspec.json.decode(asked.arguments or "{}", type=_Arguments).to
        except DECODE_ERRORS:
            return failure("say to whom")
        if name not in self._numbers:
            return failure(f"to is one of {', '.join(self._numbers)}")
        if facts.call_sid is None:
            return failure("this call cannot be transferred")
        if facts.stream_sid in self._under_way:
            return failure("a transfer of this call is under way")
        self._under_way.add(facts.stream_sid)
        try:
            await self._wait_for_words(is_heard)
            await self._request(facts.call_sid, self._numbers[name])
        except AgentError as error:
            _log.warning(line("a transfer failed", stream_sid=facts.stream_sid, to=name, reason=error))
            return failure(f"the transfer was not confirmed: {error}")
        finally:
            self._under_way.discard(facts.stream_sid)
        return '{"done":true}'

    async def _wait_for_words(self, is_heard: Callable[[], bool]) -> None:
        """Wait until what the agent said was heard, or the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._words_seconds
        while is_heard() and loop.time() < until:  # noqa: ASYNC110 - time is what is awaited
            await asyncio.sleep(HEARD_CHECK_SECONDS)

    async def _request(self, call_sid: str, number: str) -> None:
        """Ask the platform, once: the request is not to be repeated when nobody knows what became of the first."""
        body = to_text({"type": _TRANSFER_TYPE, "call_id": call_sid, "intercom": number}).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        try:
            async with asyncio.timeout(self._request_seconds):
                answer = await self._ask(HttpRequest(self._url, headers, body), self._request_seconds)
        except TimeoutError:
            msg = "it did not answer in time"
            raise DialError(msg) from None
        said = json_object(answer)
        if said is not None and said.get("success") is False:  # with status 200, as the platform's other calls have it
            msg = "it answered that it has not succeeded"
            raise AgentError(msg)


def _tool(names: list[str]) -> Tool:
    """Describe the tool: its one argument is one of the names."""
    to = {"type": "string", "enum": names, "description": "to whom"}
    return Tool(
        TRANSFER,
        "Transfer the telephone call to somebody else. Say so to the caller first; the caller hears that to its end.",
        {"type": "object", "properties": {"to": to}, "required": ["to"], "additionalProperties": False},
    )
