"""What happened in a simulated call, from the platform's side. Values only."""

import msgspec

from smartflo_bridge.simulator.earpiece import Gap
from smartflo_bridge.simulator.line import LineCounts
from smartflo_bridge.simulator.messages import CallIds
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import EndedBy, Fault, Progress

_GOOD_CODES = frozenset({1000, 1001, 1005})
"""Close codes that say no more than that the call is over. Protocol, section 2."""


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """One call that was answered. `heard` and `spoken` are mu-law on the call's axis, equally long."""

    ids: CallIds
    duration_seconds: float
    ended_by: EndedBy
    ending: Ending | None
    """How the platform ended it. None: the connection was gone before it could."""
    close_code: int | None
    """As the bridge said it, in its close frame or in the answer to ours. None: it said none."""
    close_reason: str
    closed_after_seconds: float | None
    """From the end of the call until the bridge closed the connection of its own accord. None: it did not."""

    heard: bytes
    spoken: bytes
    first_audio_seconds: float | None
    gaps: tuple[Gap, ...]
    """Silences inside an utterance."""
    pauses: tuple[Gap, ...]
    """Silences of up to a second after a mark: gaps only if the bridge marks inside its utterances."""
    counts: LineCounts
    faults: dict[Fault, int]
    pending_marks: tuple[str, ...]
    """Marks that were not reached when the call ended."""
    history: tuple[Progress, ...]
    """What happened when, without the audio."""

    send_lateness_seconds: float
    """The simulator's own worst: a server is not to blame for what is below it."""
    send_blocked_seconds: float
    """The longest that a send waited for the bridge to read."""

    @property
    def ended_well(self) -> bool:
        """True if the bridge closed, or answered the close, as one does; or could not, because the platform was gone."""
        return self.close_code in _GOOD_CODES or self.ending is Ending.DROP

    @property
    def misaligned_payloads(self) -> int:
        """Payloads that are not a positive multiple of 160 bytes: each is an audible gap on the real platform."""
        return self.faults.get(Fault.MISALIGNED_PAYLOAD, 0) + self.faults.get(Fault.EMPTY_PAYLOAD, 0)
