"""The soak's table: each figure of an outcome has its row, and the document takes it between its marks."""

from pathlib import Path

import pytest
from soaking import table
from soaking.judging import Heard
from soaking.mix import HOUR, STEADY, Kind
from soaking.run import Outcome
from soaking.samples import Sample
from soaking.timing import Latency
from soaking.trends import Stall, Trend

STATE = {"connections": 0.0, "tasks": 2.0, "threads": 3.0, "files": 15.0, "objects": 900.0}


def outcome() -> Outcome:
    """Return that of an hour with two calls, one of which was met by a stall."""
    made = Outcome(HOUR, seconds=3600.0)
    made.calls.update({Kind.STOP: 2})
    made.slowest = {Kind.STOP: 0.25}
    made.discarded = [(Heard(stream_sid="MZ1", daemon="echo", kind="STOP"), ["its end took 9 s"])]
    made.stalls = [Stall(10.0, 1.5)]
    made.starved = [Stall(20.0, 5.0)]
    made.start, made.end = {"echo": STATE}, {"echo": STATE | {"tasks": 4.0}}
    made.samples = [
        Sample(
            daemon="echo",
            seconds=seconds,
            private_kib=kib,
            files=15,
            threads=3,
            cpu_seconds=seconds / 4,
            generator_cpu_seconds=seconds / 2,
            tcp_drops=round(seconds),
            vitals={"lag_p50_ms": 1.0, "lag_p99_ms": seconds / 100, "lag_max_ms": 30.0},
        )
        for seconds, kib in ((5.0, 20 * 1024), (3600.0, 21 * 1024))
    ]
    made.trends = [Trend("echo", kib_per_hour=100.0, files_per_hour=0.0, calls=1000, seconds=3600.0)]
    made.echoes["echo"] = Latency()
    for ms in (1, 2, 300):
        made.echoes["echo"].note(ms / 1000)
    made.pulse.note(0.001)
    made.pulse.note(0.5)
    return made


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("command", "`scripts/soak`"),
        ("commit", "abc123"),
        ("load", "210 calls at any time for 60.0 min, 5 to 300 s long"),
        ("calls", "2: 2 a clean stop"),
        ("failed", "0"),
        ("discarded", "1 that were not as they must be"),
        ("slowest end", "a clean stop 0.25 s"),
        ("echo: start, end", "tasks 2 and 4"),
        ("echo: processor", "25% of a core"),
        ("echo: echo, ms", "p50 2, p99 300, p99.9 300, of 3 chunks"),
        ("echo: lag, ms", "p50 1.0, p99 36.0, max 30.0"),
        ("echo: memory", "first 20.0, in the middle 21.0, last 21.0, most 21.0"),
        (
            "echo: slopes",
            "+100 KiB an hour and +0.00 files an hour in the longest undisturbed time, of 60 min; +100.0 KiB for 1,000 calls",
        ),
        ("generator", "50% of its core; 50.00% of 2 chunks left more than 20 ms late, the latest 500 ms"),
        ("kernel", "3595 TCP drops"),
        ("others had a core", "1 times between two samples"),
        ("stalls", "1 of more than 0.1 s, the longest 1.50 s"),
    ],
)
def test_each_figure_has_its_row(name: str, part: str) -> None:
    """By its name, with the figure in it."""
    rows = dict(table.lines(outcome(), "scripts/soak", "abc123"))
    assert part in rows[name]


def test_a_steady_load_is_told_as_what_it_is() -> None:
    """Its calls do not come and go."""
    made = outcome()
    made.load = STEADY[1]
    assert dict(table.lines(made, "", ""))["load"] == "100 bridged calls for 60.0 min, 20 ms of speech at a time"


def test_a_soak_that_never_began_has_its_rows_too() -> None:
    """Or nobody would be told why."""
    assert dict(table.lines(Outcome(HOUR), "scripts/soak", "abc123"))["failed"] == "0"


def test_the_document_has_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people wrote around the table stays, and the table of before goes."""
    document = tmp_path / "reliability.md"
    written_by_people = table.DOCUMENT.read_text().partition(table.BEGIN)[0]
    document.write_text(table.DOCUMENT.read_text())
    monkeypatch.setattr(table, "DOCUMENT", document)
    table.write([("first", "1")])
    before = document.read_text().partition(table.BEGIN)
    table.write([("second", "2")])
    after = document.read_text().partition(table.BEGIN)
    assert before[0] == after[0] == written_by_people
    assert "| first | 1 |" in before[2]
    assert "| first | 1 |" not in after[2]
    assert "| second | 2 |" in after[2]
    assert "## How to run it" in after[2]
