"""What is the same for all calls of one agent, in one value."""

from collections.abc import Callable
from dataclasses import dataclass, field

from smartflo_bridge.agents.answering import Answering
from smartflo_bridge.agents.dialect import CallFacts, Dialect, Opening, Tool
from smartflo_bridge.agents.events import ToolCall
from smartflo_bridge.agents.line import Network
from smartflo_bridge.agents.notices import Notices
from smartflo_bridge.agents.settings import AgentSettings
from smartflo_bridge.agents.tools import HANG_UP, Tools, failure
from smartflo_bridge.agents.transfer import TRANSFER, Transfer
from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.home import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class LegPlan:
    """What is the same for all calls of one agent.

    Attributes:
        kind: its name, for the log.
        settings: the keys that all kinds have.
        open_dialect: makes what one connection speaks.
        network: how it is reached.
        key: its secret.
        tools: the user's functions; None for none.
        answering: the user's function that answers for a service without a model; None for none.
        may_hang_up: it has a tool to end the call.
        transfer: the tool to transfer it; None for none.
        fallback: takes the call when the agent is lost; None says an apology and ends it.
        chance: a number from 0 to 1, other each time.
        notices: that it is away.
    """

    kind: str
    settings: AgentSettings
    open_dialect: Callable[[Opening], Dialect]
    network: Network
    chance: Callable[[], float]
    key: str = ""
    tools: Tools | None = None
    answering: Answering | None = None
    may_hang_up: bool = False
    transfer: Transfer | None = None
    fallback: Handler | None = None
    notices: Notices = field(default_factory=Notices)

    @property
    def specifications(self) -> tuple[Tool, ...]:
        """What the agent may call: the user's functions, then our own."""
        users = self.tools.specifications if self.tools is not None else ()
        transfer = (self.transfer.tool,) if self.transfer is not None else ()
        return users + transfer + ((HANG_UP,) if self.may_hang_up else ())

    async def run_tool(self, asked: ToolCall, facts: CallFacts, is_heard: Callable[[], bool]) -> str:
        """Return a tool's result as text, of any but the one to end the call. `is_heard`: the agent's speech still is."""
        if self.transfer is not None and asked.name == TRANSFER:
            return await self.transfer.run(asked, facts, is_heard)
        return failure("this cannot be called now") if self.tools is None else await self.tools.run(asked, facts)


def facts_of(call: Call) -> CallFacts:
    """Return all that is known of a call: for the user's own functions."""
    return CallFacts(
        stream_sid=call.stream_sid,
        call_sid=call.call_sid,
        account_sid=call.account_sid,
        direction=call.direction,
        from_number=call.from_number,
        to_number=call.to_number,
        custom_parameters=call.custom_parameters,
    )


def facts_allowed(facts: CallFacts, settings: AgentSettings) -> CallFacts:
    """Return what the service may know of a call."""
    allowed = {name: facts.custom_parameters[name] for name in settings.parameters if name in facts.custom_parameters}
    return CallFacts(
        stream_sid=facts.stream_sid,
        call_sid=facts.call_sid,
        account_sid=facts.account_sid,
        direction=facts.direction,
        from_number=facts.from_number if settings.numbers else None,
        to_number=facts.to_number if settings.numbers else None,
        custom_parameters=allowed,
    )
