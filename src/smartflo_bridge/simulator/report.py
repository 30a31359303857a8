"""What happened in a simulated call, from the platform's side. Values only."""

from collections.abc import Collection, Sequence

import msgspec

from smartflo_bridge.core.audio import SILENCE
from smartflo_bridge.simulator.checks.closing import GOOD_CODES, Closing
from smartflo_bridge.simulator.checks.gaps import GapTally
from smartflo_bridge.simulator.earpiece import Gap
from smartflo_bridge.simulator.judged_line import JudgedLine
from smartflo_bridge.simulator.line import LineCounts
from smartflo_bridge.simulator.messages import CallIds
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import EndedBy, Progress
from smartflo_bridge.simulator.rules import Fault, Rule, Violation
from smartflo_bridge.simulator.steps import StepOutcome


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

    violations: tuple[Violation, ...] = ()
    """The rules that were broken: of each the first few, in the order in which they were found."""
    broken: dict[Rule, int] = {}
    """How often each rule was broken."""
    gap_tallies: tuple[GapTally, ...] = ()
    """What was heard inside utterances at each of the referee's jitter buffers."""
    lateness_ms: dict[int, int] = {}
    """How far messages came behind the steadiest pace of their utterance, in whole ms: how many."""
    watermarks_seen: int = 0
    """Frames with a watermark; none unless the referee is strict."""
    steps: tuple[StepOutcome, ...] = ()
    """What became of each step of a scenario."""

    send_lateness_seconds: float
    """The simulator's own worst: a server is not to blame for what is below it."""
    send_blocked_seconds: float
    """The longest that a send waited for the bridge to read."""

    @property
    def ended_well(self) -> bool:
        """True if the bridge closed, or answered the close, as one does; or could not, because the platform was gone."""
        return self.close_code in GOOD_CODES or self.ending is Ending.DROP

    @property
    def misaligned_payloads(self) -> int:
        """Payloads that are not a positive multiple of 160 bytes: each is an audible gap on the real platform."""
        return self.faults.get(Fault.MISALIGNED_PAYLOAD, 0) + self.faults.get(Fault.EMPTY_PAYLOAD, 0)

    def passes(self, allowed: Collection[Rule] = ()) -> bool:
        """Return True if no rule was broken but those allowed, and every step of a scenario has passed."""
        return not set(self.broken) - set(allowed) and not self.failed_steps

    @property
    def failed_steps(self) -> tuple[StepOutcome, ...]:
        """The steps of a scenario that were not met, or not come to."""
        return tuple(step for step in self.steps if not step.has_passed)


def make_report(
    ids: CallIds,
    closing: Closing,
    judged: JudgedLine,
    *,
    spoken: bytes | None,
    history: Sequence[Progress],
    send_lateness_seconds: float,
    send_blocked_seconds: float,
) -> CallReport:
    """Put together what the parts of a call know when it is over. `spoken` None: no audio was kept."""
    line, referee, script = judged.line, judged.referee, judged.script
    heard = line.heard(0.0, closing.at_seconds) if spoken is not None else b""
    return CallReport(
        ids=ids,
        duration_seconds=closing.at_seconds,
        ended_by=closing.ended_by,
        ending=closing.ending,
        close_code=closing.code,
        close_reason=closing.reason,
        closed_after_seconds=closing.closed_after_seconds,
        heard=heard,
        spoken=(spoken or b"")[: len(heard)].ljust(len(heard), SILENCE),
        first_audio_seconds=line.first_audio_seconds,
        gaps=tuple(line.gaps),
        pauses=tuple(line.pauses),
        counts=line.counts,
        faults=dict(line.faults),
        pending_marks=tuple(line.pending_marks),
        history=tuple(history),
        violations=tuple(referee.violations),
        broken=dict(referee.broken),
        gap_tallies=referee.gap_tallies,
        lateness_ms=referee.lateness_ms,
        watermarks_seen=referee.watermarks_seen,
        steps=tuple(script.outcomes) if script else (),
        send_lateness_seconds=send_lateness_seconds,
        send_blocked_seconds=send_blocked_seconds,
    )
