"""The guide to testing a bot does what it says: its blocks are run, and its tables are whole."""

import re

import pytest

from docs.support import ROOT, Topic, blocks_of, daemon, sections_without_test
from smartflo_bridge.simulator.plan import Variant
from smartflo_bridge.simulator.rules import Rule, place
from smartflo_bridge.simulator.scenario import KEYS, shipped_scenarios
from smartflo_bridge.simulator.wording import forms

DOCUMENT = "docs/testing-a-bot.md"
TEXT = (ROOT / DOCUMENT).read_text()
BLOCKS = blocks_of(DOCUMENT)


def test_every_section_with_blocks_has_a_test() -> None:
    """None can be added without one."""
    assert sections_without_test(BLOCKS, globals()) == set()


def test_five_minutes(topic: Topic) -> None:
    """The menu is talked over and fails; the handler of the guide passes."""
    with daemon(topic.folder, handler="ivr") as running:
        topic.run_console(running)
    with topic.handler(calls=0) as running:
        topic.run_console(running)


def mine(topic: Topic, text: str) -> None:
    """Save the guide's scenario."""
    (topic.folder / "mine.toml").write_text(text)


def test_a_scenario_of_your_own(topic: Topic) -> None:
    """It passes; with a mistake in it, the mistake is told."""
    mine(topic, topic.take("toml").text)
    with daemon(topic.folder, handler="ivr") as running:
        topic.run_console(running)
        topic.run_console(running)


def test_watermarks(topic: Topic) -> None:
    """It prints what it says."""
    topic.run_python()


def test_from_pytest(topic: Topic) -> None:
    """Both tests pass against the menu."""
    (topic.folder / "test_bot.py").write_text(topic.take("python").text)
    mine(topic, next(block.text for block in BLOCKS if block.language == "toml"))
    with daemon(topic.folder, handler="ivr") as running:
        topic.run_console(running)


def test_for_machines(topic: Topic) -> None:
    """The report is as it says."""
    topic.needs("jq")
    with daemon(topic.folder, handler="ivr") as running:
        topic.run_shell(running)


def test_load(topic: Topic) -> None:
    """The rows are those that it shows."""
    with daemon(topic.folder, handler="echo") as running:
        topic.run_console(running)


@pytest.mark.parametrize(
    "names", [list(Rule), list(Variant), shipped_scenarios(), KEYS], ids=["rules", "variants", "scenarios", "keys"]
)
def test_tables_are_whole(names: list[str]) -> None:
    """Every rule, variant, scenario and key is named."""
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_every_form_of_a_step_is_in_the_table() -> None:
    """And nothing else is."""
    table = TEXT.partition("| step | what happens |")[2].partition("\n\n")[0]
    firsts = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(.*?)`", ", ".join(firsts))) == sorted(forms())


def test_every_rule_has_its_place_in_the_protocol() -> None:
    """A heading of the page, which the links of the referee's output lead to."""
    for rule in Rule:
        path, _, anchor = place(rule).partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, rule
