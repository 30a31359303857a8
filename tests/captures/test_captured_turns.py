"""What captures hold of turns and of muting: the end's ledger has them, and a fold gives them again."""

from captures.support import QUIET, VOICE, Captured, media_message
from smartflo_bridge.captures.fold import fold
from smartflo_bridge.core.commands import MuteRecording, Play


def a_call() -> Captured:
    """Return a call in which the caller speaks for a second, and is answered 0.7 s later, muted."""
    call = Captured()
    call.start()
    for number in range(40):
        if number == 27:
            call.give(MuteRecording(is_muted=True))
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


def test_a_fold_gives_the_same_turns() -> None:
    """To the last digit; and a muting is an input like any other."""
    call = a_call()
    result = fold(call.header, call.records)
    assert result.difference is None
    assert sum(isinstance(record.command, MuteRecording) for record in call.records) == 1
