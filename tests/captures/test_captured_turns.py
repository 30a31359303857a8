"""What captures hold of turns: the end's ledger has them, and a fold gives them again, muted or not."""

import pytest

from captures.support import QUIET, VOICE, Captured, media_message
from smartflo_bridge.captures.fold import fold
from smartflo_bridge.core.commands import MuteRecording, Play


def a_call(muted_from: int = 99, muted_to: int = 99) -> Captured:
    """Return a call in which the caller speaks for a second, and is answered 0.7 s later. Muted in tenths of a second."""
    call = Captured()
    call.start()
    for number in range(40):
        if number in (muted_from, muted_to):
            call.give(MuteRecording(is_muted=number == muted_from))
        if number == 27:
            call.give(Play(VOICE * 5, 0))
        call.run(0.1)
        call.say(media_message(VOICE if 10 <= number < 20 else QUIET))
    call.end()
    return call


def test_the_last_line_has_the_turns() -> None:
    """Their times are the session's, in seconds."""
    ledger = a_call().records[-1].ledger
    assert ledger is not None
    assert ledger["turn_count"] == 1
    (turn,) = ledger["turns"]
    assert abs(turn["fell_silent_at"] - 2.0) < 0.01
    assert abs(turn["answered_at"] - 2.7) < 0.01


@pytest.mark.parametrize(("muted", "count"), [((99, 99), 1), ((3, 8), 1), ((15, 35), 0), ((25, 35), 0), ((5, 25), 0)])
def test_a_fold_gives_the_same_turns(muted: tuple[int, int], count: int) -> None:
    """To the last digit; a turn that was muted at either end is not measured, then as now."""
    call = a_call(*muted)
    result = fold(call.header, call.records)
    assert result.difference is None
    ledger = call.records[-1].ledger
    assert ledger is not None
    assert ledger["turn_count"] == count
