"""The benchmarks' table: verdicts, ratios, the search for a capacity, and the document it is written into."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from speed.capacity import DISTURBED, LEAST_CALLS, MOST_CALLS, Try, most_calls
from speed.comparing import ratio_outcome
from speed.document import BEGIN, DOCUMENT, END, quality, server_table, verdict_table, write
from speed.load import Load, Seen
from speed.plan import best_ratios
from speed.rounds import Journal, Rounds
from speed.verdicts import FIGURES, NUMBERS, Outcome, Verdict, rows

LOAD = Load(200, seconds=4.0)
SENT = 200 * 200
"""Frames that 200 calls send in 4 s."""


def seen(us: float, frames: int = SENT, **changes: Any) -> Seen:
    """Make the report of a run in which a frame took so many microseconds."""
    server = {"cpu_seconds": us * frames / 1e6, "rss_kib": 1000}
    own = {"cpu": 0.4, "blocked": 0, "late_us": {"p50": 10, "p99": 90, "max": 300}}
    report: dict[str, Any] = dict.fromkeys(
        ("failed", "gone_early", "lost", "duplicated", "disordered", "corrupt", "unexpected"), 0
    )
    report |= {"measured_bytes_back": 160 * frames, "seconds": 4.0, "servers": [server], "generator": own}
    report["latency_us"] = {"p50": 100, "p99": 900, "max": 2000}
    report["core"] = {"busy_seconds": server["cpu_seconds"], "stolen_seconds": 0.0}
    return Seen(LOAD, report | changes)


@pytest.mark.parametrize(
    ("number", "values", "verdict"),
    [
        ("P1", (0.65,), Verdict.AIM),
        ("P1", (0.66,), Verdict.MUST),
        ("P1", (1.01,), Verdict.MISSED),
        ("P1", (float("nan"),), Verdict.MISSED),
        ("P4", (2.7,), Verdict.AIM),
        ("P4", (1.7,), Verdict.MUST),
        ("P4", (1.69,), Verdict.MISSED),
        ("P8", (0.1, 2.6), Verdict.MUST),  # the worse of the two counts
        ("P8", (0.31, 1.0), Verdict.MISSED),
        ("P9", (1.0, 0.0, 1.2), Verdict.MUST),  # one packet more than 1 ms late costs the aim, and no more
        ("P9", (1.0, 1.0, 0.5), Verdict.MISSED),  # a drift of a frame costs everything
        ("P7", (2.1, 700), Verdict.MUST),
        ("P14", (9.0, -88.0, 3.0), Verdict.AIM),
        ("P17", (1,), Verdict.MISSED),
        ("P5", (), Verdict.OPEN),
    ],
)
def test_a_verdict_is_that_of_the_worst_value(number: str, values: tuple[float, ...], verdict: Verdict) -> None:
    """Each value is held to its own limits, up or down."""
    figure = next(figure for figure in FIGURES if figure.number == number)
    assert Outcome("as measured", values).verdict(figure) == verdict


def test_the_table_has_all_twenty_figures() -> None:
    """In their order, whatever was measured."""
    assert [f"P{n}" for n in range(1, 21)] == NUMBERS
    table = rows({"P2": Outcome("1.20", (1.2,))})
    assert [row[0] for row in table] == NUMBERS
    assert table[1][4:] == ("1.20", Verdict.AIM)
    assert table[0][4:] == ("", Verdict.OPEN)


def test_time_is_counted_for_what_came_back() -> None:
    """By bytes, not messages; and what others took of the core is what was busy and not the server's."""
    run = seen(40.0, core={"busy_seconds": 2.0, "stolen_seconds": 0.2})
    assert run.us_per_frame == pytest.approx(40.0)
    assert run.foreign_share == pytest.approx((2.0 - 1.6 + 0.2) / 4)
    assert run.is_disturbed
    assert not seen(40.0).is_disturbed
    assert seen(40.0, lost=3, gone_early=1).troubles == ["1 gone early", "3 lost"]
    late = {"cpu": 0.95, "blocked": 0, "late_us": {"p50": 10, "p99": 1500, "max": 3000}}
    assert len(seen(40.0, generator=late).generator_troubles) == 2


def test_a_saturated_server_is_one_whose_core_is_busy() -> None:
    """However late the generator is then: frames that are due wait. What others took of the core was not idle."""
    late = {"cpu": 0.95, "blocked": 0, "late_us": {"p50": 10, "p99": 1500, "max": 3000}}
    saturated = replace(LOAD, most_under_way=4)
    busy, idle = seen(99.0, generator=late), seen(96.0, generator=late)
    assert busy.busy_share == pytest.approx(0.99)
    assert replace(busy, load=saturated).generator_troubles == []
    assert len(replace(idle, load=saturated).generator_troubles) == 1
    shared = seen(80.0, core={"busy_seconds": 3.9, "stolen_seconds": 0.0})
    assert replace(shared, load=saturated).generator_troubles == []


def test_the_document_says_how_good_the_measurement_was() -> None:
    """Of runs in real time, whether the generator kept time; of saturated ones, whether the server was."""
    saturated = replace(LOAD, most_under_way=4)
    paced, busy, idle = seen(40.0), replace(seen(99.0), load=saturated), replace(seen(60.0), load=saturated)
    said = quality(Journal({}, runs=[paced, busy, idle]))
    assert "In the 1 in real time the generator was busy for at most 40% of its core" in said
    assert (
        "In the 2 at saturation the server's core was busy for at least 60% of the time; in 1 for less than 97%" in said
    )
    assert "real time" not in quality(Journal({}, runs=[busy]))
    assert "saturation" not in quality(Journal({}, runs=[paced]))


def test_a_ratio_is_of_neighbours_and_the_median_of_rounds() -> None:
    """A round in which the whole machine was slow counts like any other; one in which one server was, is outvoted."""
    rounds = Rounds(
        LOAD,
        {
            "ours": [seen(30), seen(60), seen(90)],
            "bare": [seen(40), seen(80), seen(40)],
            "FastAPI": [seen(90), seen(120), seen(81)],
        },
    )
    assert rounds.ratio("ours", "bare") == pytest.approx(0.75)
    assert best_ratios(rounds) == (pytest.approx(0.75), pytest.approx(3.0))
    assert rounds.ratio("ours", "picows") is None


def test_the_best_round_is_a_quiet_one() -> None:
    """Where others had a share of the core a ratio may be better than the truth: it counts only if there is no other."""
    disturbed = seen(20, core={"busy_seconds": 2.0, "stolen_seconds": 0.0})
    assert disturbed.is_disturbed
    rounds = Rounds(LOAD, {"ours": [disturbed, seen(36)], "bare": [seen(40)] * 2, "FastAPI": [seen(90)] * 2})
    assert best_ratios(rounds) == (pytest.approx(0.9), pytest.approx(2.5))
    rounds = Rounds(LOAD, {"ours": [disturbed], "bare": [seen(40)], "FastAPI": [seen(90)]})
    assert best_ratios(rounds) == (pytest.approx(0.5), pytest.approx(4.5))


def test_a_server_without_its_core_says_nothing() -> None:
    """Half of the frames for half of the core: others had it. Half of them for all of it: it was too much."""
    starved, beaten = seen(40, frames=SENT // 2), seen(200, frames=SENT // 2)
    assert (starved.has_kept_up, starved.is_starved) == (False, True)
    assert (beaten.has_kept_up, beaten.is_starved) == (False, False)
    rounds = Rounds(LOAD, {"ours": [seen(30), starved, seen(30)], "bare": [seen(40), seen(40), seen(0, frames=0)]})
    assert rounds.ratios("ours", "bare") == [pytest.approx(0.75)]
    assert ratio_outcome(rounds, "ours", "bare").values == (pytest.approx(0.75),)
    nothing = Rounds(LOAD, {"ours": [starved], "bare": [seen(40)]})
    assert ratio_outcome(nothing, "ours", "bare").note == "others had the servers' core in every round"
    assert ratio_outcome(nothing, "ours", "picows").note == "picows is not installed"


@pytest.mark.parametrize("limit", [25, 199, 300, 301, 1700, 7000])
def test_the_search_ends_near_the_limit(limit: int) -> None:
    """What is found was carried, and a twentieth more is too many."""
    tried = []

    def carries(calls: int) -> Try:
        tried.append(calls)
        return Try(is_carried=calls <= limit)

    found, note = most_calls(carries, 300)
    assert limit / 1.05 <= found <= limit
    assert note == ""
    assert len(tried) < 20


def test_the_search_knows_when_it_does_not_know() -> None:
    """Who carries nothing, or everything, ends the search; a try that was disturbed at the limit is told."""
    assert most_calls(lambda _: Try(is_carried=False), 300)[0] == 0
    found, _ = most_calls(lambda _: Try(is_carried=True), 300)
    assert MOST_CALLS / 1.5 <= found <= MOST_CALLS
    _, note = most_calls(lambda calls: Try(is_carried=calls < LEAST_CALLS * 3, is_doubtful=True), 300)
    assert note == DISTURBED


def test_the_document_keeps_what_people_wrote(tmp_path: Path) -> None:
    """Only what is between the marks is replaced, and as often as one likes."""
    document = tmp_path / "performance.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\n## After\n")
    for text in ("new", "newer"):
        write(text, document)
    assert document.read_text() == f"# Before\n\n{BEGIN}\n\nnewer\n\n{END}\n\n## After\n"
    document.write_text("no marks")
    with pytest.raises(ValueError, match="measured"):
        write("new", document)
    assert document.read_text() == "no marks"
    assert BEGIN in DOCUMENT.read_text()


def test_tables_say_what_was_measured() -> None:
    """A row for each server, the slowest first, and notes below the figures."""
    rounds = Rounds(LOAD, {"ours": [seen(30)], "bare": [seen(40)], "plain": [seen(200, frames=SENT // 2)]})
    table = server_table(rounds)
    assert [row.split(" | ")[0] for row in table[2:]] == ["| plain", "| bare", "| **ours**"]
    assert table[4] == "| **ours** | 30.0 | 0.75 | 0.15 | 10,000 | 0.10 / 0.90 |"
    saturated = Rounds(replace(LOAD, most_under_way=4), {"ours": [seen(30)]})
    assert server_table(saturated)[2] == "| **ours** | 30.0 |  |  | 10,000 |  |"
    assert "* P3: Node ws is not installed." in verdict_table({"P3": Outcome("", note="Node ws is not installed")})
