"""The page about reliability: each fault has its row, each row its test, and each number of cases is counted."""

import re

from docs.support import ROOT

TEXT = (ROOT / "docs/reliability.md").read_text()
FAULTS = 42
GOALS = 20


def test_every_test_that_is_named_exists() -> None:
    """A row that names no test, or one that is gone, promises nothing."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 30
    for file, name in named:
        path = ROOT / (file if file.startswith("tests/") else f"tests/faults/{file}")
        assert re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE), f"{file}::{name}"


def test_every_goal_has_a_row() -> None:
    """One to twenty: what was promised, how it is tested, and what was seen, be it that it was not reached."""
    table = TEXT.partition("## Goals")[2].partition("## ")[0]
    rows = re.findall(r"^\| G(\d+): ([^|]+)\|([^|]+)\|([^|]*)\|([^|]+)\|$", table, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, GOALS + 1))
    for number, _, _, tested, seen in rows:
        assert tested.strip() or seen.strip().startswith("not "), f"G{number} is not tested and seems to be reached"


def test_every_fault_has_a_row() -> None:
    """One to forty-two."""
    rows = re.findall(r"^\| ([\d, to]+) \|", TEXT, re.MULTILINE)
    numbers = set()
    for row in rows:
        for part in row.split(","):
            first, _, last = part.partition(" to ")
            numbers |= set(range(int(first), int(last or first) + 1))
    assert numbers == set(range(1, FAULTS + 1))


def test_the_number_of_cases_is_right() -> None:
    """It is the number of lines."""
    lines = sum(len(file.read_text().splitlines()) for file in (ROOT / "tests/corpus").glob("*.jsonl"))
    assert f"| {lines} cases" in TEXT


def test_every_category_has_its_number_of_cases() -> None:
    """Each file its row, each row its file, and the number of lines."""
    table = TEXT.partition("## Bad input")[2].partition("## ")[0]
    rows = dict(re.findall(r"^\| ([A-Z]) \| (\d+) \|", table, re.MULTILINE))
    files = {file.name[0]: file for file in (ROOT / "tests/corpus").glob("*.jsonl")}
    assert rows == {name: str(len(file.read_text().splitlines())) for name, file in files.items()}
    agents = len(files["I"].read_text().splitlines())
    assert f"{sum(map(int, rows.values())) - agents} of a caller or an operator, {agents} of an agent" in TEXT


def test_every_attack_has_its_row() -> None:
    """As many rows as there are attacks in the table of the tests."""
    attacks = (ROOT / "tests/faults/test_attacks.py").read_text().partition("ATTACKS: ")[2].partition("}\n")[0]
    table = TEXT.partition("## Attacks")[2].partition("## ")[0]
    assert len(re.findall(r'^    "', attacks, re.MULTILINE)) == len(re.findall(r"^\| [^|]+ \| \d", table, re.MULTILINE))
