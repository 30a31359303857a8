"""What every agent can be told in the table `[agent]`; each kind adds its own keys, in its own module."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1)]
HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+\S*\Z")]
WebSocketUrl = Annotated[str, Meta(pattern=r"^wss?://[^\s/?#]+\S*\Z")]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that all kinds take.

    Attributes:
        fallback: what the caller gets when the agent cannot be had: a spoken apology and a polite end, a built-in
            handler, or another agent, configured as `fallback-agent`.
        fallback_agent: that agent's table.
        parameters: the custom parameters of the call that the agent is told; the others stay here.
        numbers: the agent is told who calls whom.
        reconnect_seconds: how long the agent may be away, at the beginning or in the middle, before the fallback.
        answer_seconds: so long after the caller spoke, an agent that has sent nothing is lost; 0 for never.
    """

    needs_key: ClassVar[bool] = False

    fallback: Literal["apology", "agent", "ivr", "echo", "silence"] = "apology"
    fallback_agent: "AgentSettings | None" = None
    parameters: list[Text] = []
    numbers: bool = False
    reconnect_seconds: Annotated[float, Meta(ge=0.5, le=60)] = 5.0
    answer_seconds: Annotated[float, Meta(ge=0, le=600)] = 0.0


class KeySettings(AgentSettings, frozen=True, kw_only=True):
    """With a secret. `key_file` is looked for as `token-file` is: among systemd's credentials, then beside the file."""

    key_file: str = ""


class AnswerSettings(KeySettings, frozen=True, kw_only=True):
    """Without a model: a function of the user's says what is to be said.

    Attributes:
        answer: `module:function`, an `async def`: see `answering`.
        function_seconds: how long it may take, to its first text and from each to the next.
    """

    answer: Annotated[str, Meta(pattern=r"^[^:\s]+:[^:\s]+\Z")]
    function_seconds: Seconds = 15.0


class ToolSettings(KeySettings, frozen=True, kw_only=True):
    """With functions that the agent may call.

    Attributes:
        tools: `module:dict`, a dictionary from names to `async def` functions; empty for none.
        tool_seconds: how long one of them may take.
        may_hang_up: the agent has a tool to end the call.
        transfer_to: from names to the platform's numbers: the agent has a tool to transfer the call to one of the names.
        smartflo_token_file: with the token of the platform's API; it is looked for as `key_file` is.
        smartflo_url: of the platform's call operations.
    """

    tools: str = ""
    tool_seconds: Seconds = 10.0
    may_hang_up: bool = True
    transfer_to: dict[Text, str | int] = {}
    smartflo_token_file: str = ""
    smartflo_url: HttpUrl = "https://api-smartflo.tatateleservices.com/v1/call/options"
