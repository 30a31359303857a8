"""The documents on voice agents are true: their tables are configurations that work, their keys are whole, their agent runs."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from docs.support import ROOT, Block, blocks_of, without_blocks
from secret_files import write_secret
from smartflo_bridge.agents.dialect import CallFacts, Opening
from smartflo_bridge.agents.events import Ignored
from smartflo_bridge.agents.kinds import KINDS
from smartflo_bridge.agents.lookup import Agent
from smartflo_bridge.agents.raw import RawDialect, RawSettings
from smartflo_bridge.config import load_config

PAGES = {path.stem: f"docs/agents/{path.name}" for path in (ROOT / "docs" / "agents").glob("*.md")}
"""Kinds with a page of their own."""

BLOCKS = [block for document in ("docs/agents.md", *PAGES.values()) for block in blocks_of(document)]
TABLES = [block for block in BLOCKS if block.language == "toml"]
CODE = next(block for block in BLOCKS if block.language == "python")
FLORA = next(block for block in blocks_of("docs/agents/sarvam.md") if block.language == "python")


@pytest.mark.parametrize("block", TABLES, ids=str)
def test_each_table_is_a_configuration_that_works(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the files that it names."""
    (tmp_path / "orders.py").write_text(CODE.text)
    (tmp_path / "flora.py").write_text(FLORA.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in re.findall(r'(?:key|token)-file = "(.+?)"', block.text):
        write_secret(tmp_path / name, "a-key-of-the-test\n")
    (tmp_path / "smartflo.toml").write_text(block.text)
    config = load_config(tmp_path / "smartflo.toml")
    assert config.agent is not None
    Agent(config.agent, tmp_path)


def defaults_of(kind: str) -> dict[str, Any]:
    """Return the keys of a kind that have a default, with it."""
    fields = msgspec.structs.fields(KINDS[kind].settings)
    return {field.name.replace("_", "-"): field.default for field in fields if field.default is not msgspec.NODEFAULT}


def test_every_key_of_every_kind_is_shown() -> None:
    """In a table of its kind, or among those that all share; those that are said to be defaults are."""
    shown: dict[str, set[str]] = {}
    for block in TABLES:
        table = tomllib.loads(block.text)["agent"]
        shown.setdefault(table["kind"], set()).update(table)
        defaults = defaults_of(table["kind"])
        if "url" in table and "url" in defaults:
            for key in table.keys() & defaults.keys() - {"key-file"}:
                assert table[key] == defaults[key], key
        if "smartflo-url" in table:
            assert table["smartflo-url"] == defaults["smartflo-url"]
    transfer = {
        key for key in shown["openai"] if key.startswith(("transfer-", "smartflo-"))
    }  # once, for all with tools
    shared = shown["raw"] | {"fallback-agent"} | transfer
    for name, kind in KINDS.items():
        keys = {field.replace("_", "-") for field in kind.settings.__struct_fields__}
        assert keys <= shown[name] | shared, name
        page, heading = (PAGES[name], f"# {name}\n") if name in PAGES else ("docs/agents.md", f"\n## {name}\n")
        assert heading in without_blocks(page), name


def test_the_tools_are_tools() -> None:
    """The example is one that an agent can be given."""
    show = "print([Function(name, function).tool for name, function in tools.items()])"
    program = f"{CODE.text}\nfrom smartflo_bridge.agents.tools import Function\n{show}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert "the order's number" in done.stdout


def test_the_function_that_answers_answers() -> None:
    """The example is one that Sarvam's agent can be given; it repeats, and hangs up."""
    program = f"""{FLORA.text}
import asyncio
from smartflo_bridge.agents.answering import checked_answer
async def ask(said):
    return [text async for text in checked_answer(answer)(said, CallFacts("MZ1"), [])]
print(asyncio.run(ask("Roses")), asyncio.run(ask("Bye!"))[-1] == HANG_UP)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "['You said: ', 'Roses'] True\n"


def test_the_messages_of_the_raw_leg_are_those_of_the_code() -> None:
    """What the bridge says in the example it says, and what the agent says is understood."""
    ours, theirs = ([json.loads(line) for line in b.text.splitlines()] for b in blocks_of("docs/raw-leg.md")[:2])
    facts = CallFacts("MZ0a1", "1758000000.4242", direction="inbound")
    dialect = RawDialect(RawSettings(url="ws://localhost/"), Opening(facts))
    said = [
        *dialect.opening(),
        *dialect.notice_speech(is_speech=True),
        *dialect.tell_cleared(1260),
        *dialect.notice_speech(is_speech=False),
        *dialect.press("9"),
        *dialect.reach("goodbye", was_played=True),
        *dialect.end(),
    ]
    assert [json.loads(message) for message in said] == ours
    for message in theirs:
        assert not any(isinstance(event, Ignored) for event in dialect.receive(json.dumps(message)))


def test_the_parrot_is_the_one_in_the_document() -> None:
    """And has not grown."""
    (block,) = (block for block in blocks_of("docs/raw-leg.md") if block.language == "python")
    assert block.text == (ROOT / "docs" / "parrot.py").read_text()
    code = [
        line
        for line in block.text.splitlines()
        if line.strip() and not line.strip().startswith(('"""', "import", "from"))
    ]
    assert len(code) <= 32
