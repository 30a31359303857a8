"""What a soak is made of: the shares of its design, lengths that keep its number of calls, and the same for the same seed."""

from collections import Counter
from itertools import islice

import pytest
from soaking.mix import AGENT_KINDS, CI, HOUR, STEADY, Kind, plans, steady_plans


def test_the_shares():
    """70 % stop, 10 % FIN, 10 % RST, 5 % lose their agent, 3 % bad input, 1 % each stop reading and vanish: in each 200 calls."""
    kinds = Counter(plan.kind for plan in islice(plans(300.0, 1), 200))
    agents = kinds[Kind.AGENT_BACK], kinds[Kind.AGENT_GONE]
    assert [kinds[kind] / 2 for kind in (Kind.STOP, Kind.FIN, Kind.RST, Kind.BAD_INPUT)] == [70, 10, 10, 3]
    assert (agents, kinds[Kind.STOPPED_READER], kinds[Kind.BLACK_HOLE]) == ((5, 5), 2, 2)
    assert kinds.total() == 200


def test_only_bridged_calls_lose_an_agent():
    """The others have none; of all, four in five are bridged, and one in five speaks every 20 ms."""
    found = list(islice(plans(300.0, 1), 4000))
    assert all(plan.is_bridged for plan in found if plan.kind in AGENT_KINDS)
    assert sum(plan.is_bridged for plan in found) / 4000 == pytest.approx(0.8, abs=0.03)
    assert sum(plan.chunk_frames == 1 for plan in found) / 4000 == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("load", [CI, HOUR])
def test_the_lengths(load):
    """From 5 s to the longest, and on average as long as so many calls at so many a second last."""
    seconds = [plan.seconds for plan in islice(plans(load.longest_seconds, 1), 20_000)]
    assert min(seconds) == pytest.approx(5, abs=0.1)
    assert max(seconds) == pytest.approx(load.longest_seconds, rel=0.01)
    assert sum(seconds) / 20_000 == pytest.approx(load.calls / load.per_second, rel=0.03)


def test_the_hour_is_that_of_the_design():
    """Calls of 5 to 300 s, 70 % of the 300 that one core is to hold."""
    assert HOUR.calls == 210
    assert HOUR.longest_seconds == pytest.approx(300, abs=1)


@pytest.mark.parametrize(("frames", "calls"), [(5, 300), (1, 100)])
def test_a_steady_load_is_that_of_the_goals(frames, calls):
    """G1 and G2: so many bridged calls that stay, each with a number of its own, at the cadence of 100 and of 20 ms."""
    found = list(islice(steady_plans(frames), calls))
    assert STEADY[frames].calls == calls
    assert {(plan.kind, plan.is_bridged, plan.chunk_frames) for plan in found} == {(Kind.STOP, True, frames)}
    assert len({plan.number for plan in found}) == calls
    assert min(plan.seconds for plan in found) > 3600


def test_the_same_seed_is_the_same_soak():
    """And another is another."""
    assert list(islice(plans(50.0, 3), 500)) == list(islice(plans(50.0, 3), 500))
    assert list(islice(plans(50.0, 3), 500)) != list(islice(plans(50.0, 4), 500))
