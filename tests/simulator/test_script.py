"""A scenario being played, by numbers for time: what the caller does, and what becomes of each step."""

from collections.abc import Sequence

import pytest

from simulator.support import SILENT, noise
from smartflo_bridge.simulator import plan, steps
from smartflo_bridge.simulator.observed import Closed
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.progress import Cleared, FirstAudio, LineProgress, MarkEchoed
from smartflo_bridge.simulator.script import Script
from smartflo_bridge.simulator.steps import StepOutcome
from smartflo_bridge.simulator.wording import parse_step

TICK = 0.02
VOICE = b"\x10" * 4000


class Play:
    """A script, and a far end that speaks when it is told to; both are asked every frame."""

    def __init__(self, *texts: str) -> None:
        self.script = Script(tuple(parse_step(text, lambda _: VOICE) for text in texts))
        self.now = 0.0
        self.actions: list[plan.Action] = []

    def run(self, seconds: float, *progress: LineProgress, speaks: bool = False) -> "Play":
        """Let time pass; what is told is told at the beginning."""
        self.script.observed.watch(progress)
        for _ in range(round(seconds / TICK)):
            self.script.observed.listen(noise(1) if speaks else SILENT * 160)
            self.now += TICK
            self.actions += self.script.advance(self.now)
        return self

    def end(self, code: int | None = 1000, *, is_closed: bool = True) -> Sequence[StepOutcome]:
        """Let the call be over, and return what became of the steps."""
        self.script.end(self.now, Closed(self.now, code, "") if is_closed else None)
        return self.script.outcomes

    @property
    def verdicts(self) -> list[bool]:
        """Whether each step that is over has passed."""
        return [outcome.has_passed for outcome in self.script.outcomes]


def test_a_caller_says_presses_and_hangs_up() -> None:
    """Each step begins when the one before is over; keys follow each other; speech is waited for."""
    play = Play("say a.wav", "press 12", "wait 100 ms", "hang up").run(2.0)
    kinds = [type(action) for action in play.actions]
    assert kinds == [plan.Speak, plan.Press, plan.Press, plan.HangUp]
    times = [action.at_seconds for action in play.actions]
    assert times == pytest.approx([0.02, 0.52, 0.77, 0.88], abs=0.03)
    assert play.verdicts == [True] * 4


def test_without_a_hang_up_the_caller_goes_after_the_last_step() -> None:
    """By `stop`, as most do."""
    play = Play("wait 100 ms").run(0.2)
    assert play.actions == [plan.HangUp(pytest.approx(0.1, abs=0.03), Ending.STOP)]


def test_what_the_platform_can_do() -> None:
    """Each is handed on at once."""
    play = Play("mute", "unmute", "read nothing", "read 4000 bytes/s", "read everything", "go half-open", "send x").run(
        0.1
    )
    assert [type(action) for action in play.actions[:-1]] == [
        *(plan.Mute, plan.Mute, plan.StopReading, plan.ReadAt, plan.ReadAt, plan.FallSilent, plan.SendRaw)
    ]


def test_talking_over_begins_so_long_after_the_speech() -> None:
    """The bridge speaks from 0.5 s on; the caller begins 800 ms later, and does not wait for the end of it."""
    play = Play("talk over after 800 ms with a.wav", "wait 100 ms").run(0.5).run(1.0, speaks=True)
    assert play.actions[0].at_seconds == pytest.approx(1.3, abs=0.05)
    assert isinstance(play.actions[1], plan.HangUp)


@pytest.mark.parametrize(("silent_after", "has_passed"), [(0.1, True), (0.5, False)])
def test_silence_is_measured_from_talking_over(silent_after: float, has_passed: bool) -> None:
    """In hindsight, but exactly; a failure says how late it was."""
    play = Play("talk over after 200 ms with a.wav", "expect silence within 250 ms of talking over")
    play.run(0.2 + silent_after + 0.06, speaks=True).run(3.0)
    outcome = play.script.outcomes[1]
    assert outcome.has_passed is has_passed
    assert f"silence after {round(silent_after * 1000) // 100}" in outcome.detail


def test_a_bridge_that_talks_on_is_not_waited_for_for_ever() -> None:
    """Two seconds more than allowed, then it has failed, and the call goes on."""
    play = Play("talk over after 200 ms with a.wav", "expect silence within 250 ms of talking over").run(
        5.0, speaks=True
    )
    assert play.script.outcomes[1].detail == "no silence, not even within 2.25 s"
    assert isinstance(play.actions[-1], plan.HangUp)


@pytest.mark.parametrize(("at", "has_passed"), [(0.5, True), (0.81, False), (None, False)])
def test_first_audio_counts_from_the_beginning_of_the_call(at: float | None, has_passed: bool) -> None:
    """Wherever the step stands."""
    play = Play("wait 100 ms", "expect first audio within 800 ms")
    play.run(4.0, *([FirstAudio(at)] if at is not None else []))
    assert play.verdicts == [True, has_passed]


def test_an_answer_counts_from_the_end_of_what_was_said() -> None:
    """500 ms of speech from the caller, an answer 600 ms after that."""
    play = Play("say a.wav", "expect speech within 700 ms").run(1.12).run(0.5, speaks=True)
    assert play.verdicts == [True, True]
    assert play.script.outcomes[1].detail in {f"speech after {ms} ms" for ms in range(580, 621)}


def test_quiet_is_expected_for_a_time() -> None:
    """The first sound ends it."""
    assert Play("expect silence for 1 s").run(1.5).verdicts == [True]
    assert Play("expect silence for 1 s").run(0.5).run(0.5, speaks=True).verdicts == [False]


def test_marks_and_clears_are_used_up_in_order() -> None:
    """The second wait for a mark wants the second mark; a name is looked for among those to come."""
    play = Play(
        "wait for mark", "wait for mark u3", "wait for mark within 1 s", "expect clear within 200 ms of pressing"
    )
    play.run(0.1, MarkEchoed(0.0, "u1"), MarkEchoed(0.0, "u2"), MarkEchoed(0.05, "u3"))
    assert play.verdicts == [True, True]
    play.run(2.0)
    assert play.verdicts == [True, True, False, False]
    play = (
        Play("press 1", "expect clear within 200 ms of pressing")
        .run(0.1, Cleared(0.01, 0.0))
        .run(0.1, Cleared(0.12, 0.0))
    )
    assert play.script.outcomes[1].detail == "clear after 100 ms"
    play = Play("wait for clear", "expect mark u1 within 100 ms").run(0.1, Cleared(0.01, 0.0), MarkEchoed(0.05, "u1"))
    assert play.verdicts == [True, True]


def test_a_wait_in_vain_ends_the_call() -> None:
    """What follows was never come to, and says so."""
    play = Play("wait for speech within 1 s", "press 1", "expect close 1000").run(1.5)
    assert [type(action) for action in play.actions] == [plan.HangUp]
    assert [outcome.was_reached for outcome in play.script.outcomes] == [True, False, False]
    assert play.script.outcomes[0].detail == "did not speak within 1 s"


def test_waiting_for_silence_is_over_at_once_where_nobody_speaks() -> None:
    """And otherwise when the speech has ended."""
    assert Play("wait for silence").run(0.2).verdicts == [True]
    play = Play("wait for speech", "wait for silence", "wait 100 ms").run(1.0, speaks=True)
    assert play.verdicts == [True]
    assert play.run(1.0).verdicts == [True] * 3


@pytest.mark.parametrize(
    ("text", "code", "has_passed"),
    [
        ("expect close", 1000, True),
        ("expect close", None, True),
        ("expect close 1000", 1000, True),
        ("expect close 1000", 1011, False),
        ("expect close 1000", None, False),
    ],
)
def test_the_close_is_judged_when_it_has_come(text: str, code: int | None, has_passed: bool) -> None:
    """With its code, if one is named."""
    play = Play("hang up", text).run(0.1)
    assert [outcome.has_passed for outcome in play.end(code)] == [True, has_passed]


def test_a_close_that_never_comes_has_failed() -> None:
    """The platform's patience is over."""
    play = Play("hang up", "expect close 1000").run(0.1)
    assert play.end(is_closed=False)[1].detail == "still open"


def test_a_bridge_that_hangs_up_leaves_steps_unreached() -> None:
    """The first that could not be carried out says why; a close that is expected has passed."""
    play = Play("wait 1 s", "press 1", "expect close").run(0.5)
    assert [outcome.has_passed for outcome in play.end(1011)] == [False, False, False]
    assert play.script.outcomes[0].detail == "the call was over, closed with 1011"
    play = Play("expect close within 5 s").run(0.5)
    assert [outcome.has_passed for outcome in play.end(1000)] == [True]


def test_expectations_that_are_open_when_the_call_ends_have_failed() -> None:
    """There will be no more audio."""
    play = Play("expect first audio within 1 s", "expect silence for 2 s").run(0.5)
    assert [outcome.detail for outcome in play.end()] == ["no first audio before the call was over", "no speech"]


def test_a_step_that_is_not_one_of_ours_cannot_be_made() -> None:
    """The union is closed."""
    assert set(steps.Step.__args__) >= {steps.Say, steps.ExpectClose}
