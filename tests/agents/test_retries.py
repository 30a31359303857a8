"""When a lost service is tried again: numbers for time."""

import pytest

from smartflo_bridge.agents.far_end import DialError
from smartflo_bridge.agents.retries import STEADY_SECONDS, Retries

AWAY = DialError("away", may_retry=True)


def pauses(retries: Retries, failure: DialError = AWAY, chance: float = 0.5, at: float = 100.0) -> list[float | None]:
    """Return the pauses of five failures in a row."""
    return [retries.pause_seconds(failure, at, chance) for _ in range(5)]


def test_three_more_tries_with_growing_pauses():
    """And a quarter more or less, by chance."""
    retries = Retries(5.0)
    retries.begin(100.0)
    assert pauses(retries) == [0.2, 0.5, 1.0, None, None]
    for chance, factor in ((0.0, 0.75), (1.0, 1.25)):
        retries = Retries(5.0)
        retries.begin(100.0)
        assert pauses(retries, chance=chance)[:3] == [pytest.approx(pause * factor) for pause in (0.2, 0.5, 1.0)]


def test_what_will_not_change_is_not_tried_again():
    """Not even once."""
    retries = Retries(5.0)
    retries.begin(100.0)
    assert pauses(retries, DialError("no"))[0] is None


def test_a_service_may_ask_for_time_up_to_two_seconds():
    """But not for less than we would give it."""
    for asked, pause in ((0.1, 0.2), (1.5, 1.5), (30.0, 2.0)):
        retries = Retries(5.0)
        retries.begin(100.0)
        assert retries.pause_seconds(DialError("", may_retry=True, retry_after_seconds=asked), 100.0, 0.5) == pause


def test_no_pause_beyond_the_budget():
    """It would be waited for in vain."""
    retries = Retries(5.0)
    retries.begin(100.0)
    assert retries.left_seconds(104.9) == pytest.approx(0.1)
    assert retries.pause_seconds(AWAY, 104.9, 0.5) is None
    assert retries.left_seconds(106) == 0


def test_losses_are_forgotten_when_it_was_steady():
    """Four within half a minute each are too many; any number with more between them is not."""
    retries = Retries(5.0)
    for _ in range(3):
        retries.lose(1.0)
        assert not retries.are_over
    retries.lose(1.0)
    assert retries.are_over
    for _ in range(9):
        retries.lose(STEADY_SECONDS)
        assert not retries.are_over
