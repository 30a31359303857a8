"""What a soak says of its times: shares of all echoes, and the goals that a steady load misses."""

import pytest
from soaking.timing import Latency, goal_faults


def latency(*groups: tuple[int, float]) -> Latency:
    """Return that of so many chunks of so many seconds each."""
    made = Latency()
    for count, seconds in groups:
        for _ in range(count):
            made.note(seconds)
    return made


def test_quantiles_are_what_that_share_took_at_most():
    """Of a thousand: the median, the 990th, the 999th; of none, nothing."""
    echo = latency((500, 0.001), (490, 0.004), (9, 0.03), (1, 2.0))
    assert [echo.quantile_ms(share) for share in (0.5, 0.99, 0.999, 1.0)] == [1, 4, 30, 2000]
    assert latency().quantile_ms(0.99) == 0


@pytest.mark.parametrize(
    ("busy", "groups", "faults"),
    [
        (0.8, [(990, 0.02), (9, 0.05), (1, 1.0)], []),
        (0.81, [(1000, 0.001)], ["it took 81% of a core, more than 80%"]),
        (0.1, [(980, 0.001), (20, 0.021)], ["99.0% of all echoes took up to 21 ms, more than 20"]),
        (0.1, [(995, 0.001), (5, 0.051)], ["99.9% of all echoes took up to 51 ms, more than 50"]),
        (0.1, [], ["no echo was heard"]),
    ],
)
def test_each_goal_that_is_missed_is_told(busy, groups, faults):
    """And none that is reached, to the last millisecond."""
    assert goal_faults(busy, latency(*groups)) == faults
