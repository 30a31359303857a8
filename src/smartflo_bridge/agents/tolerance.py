"""How much of what a service says may be no message at all, before it counts as lost: as a caller's budget, for the other side."""

from smartflo_bridge.core.errors import AgentError

MALFORMED_BUDGET = 20
"""In one call, over all its connections; a caller has as many by default. Reliability, section 5."""


class Tolerance:
    """That of one call.

    Attributes:
        malformed: messages so far that could not be understood. Unknown ones are none of them: services learn new words.
    """

    def __init__(self) -> None:
        self.malformed = 0

    def count(self) -> None:
        """Count one more.

        Raises:
            AgentError: that was too many. Another connection would speak no better.
        """
        self.malformed += 1
        if self.malformed > MALFORMED_BUDGET:
            msg = f"it has sent {self.malformed} messages that are none of its protocol"
            raise AgentError(msg)
