"""The other documents: their links lead somewhere, what they name exists, and their examples are true."""

import ast
import json
import re
import time
from pathlib import Path

import msgspec
import pytest

from docs.support import DOCUMENTS, NOT_RUN, ROOT, Topic, blocks_of, call, daemon, headings_of, slug, without_blocks
from smartflo_bridge import Call, Termination, UnknownEvent, parse_incoming_event
from smartflo_bridge.agents.kinds import KINDS
from smartflo_bridge.captures.format import read_capture
from smartflo_bridge.cli.main import COMMANDS, main
from smartflo_bridge.config import Config
from smartflo_bridge.core.outgoing import OutgoingEvent
from smartflo_bridge.simulator.plan import Press, Variant
from smartflo_bridge.simulator.scenario import KEYS as KEYS_OF_SCENARIOS
from smartflo_bridge.simulator.scenario import shipped_scenarios
from smartflo_bridge.version import __version__

SOURCE = ROOT / "src" / "smartflo_bridge"
TREES = [ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")]
KEYS = {name.replace("_", "-") for name in Config.__struct_fields__} | {"kind"}
KEYS |= {name.replace("_", "-") for kind in KINDS.values() for name in kind.settings.__struct_fields__}
OPTIONS = {
    option
    for name in COMMANDS
    for parameter in main.get_command(None, name).params  # type: ignore[arg-type,union-attr]  # looks nothing up in it
    for option in parameter.opts
}
RTVI = {"client-ready", "client-message", "user-started-speaking"}
HYPHENATED = {"smartflo-bridge", *RTVI, *KEYS_OF_SCENARIOS, *Variant, *shipped_scenarios()}
"""What has a hyphen and is no key: pipecat's messages, for instance."""

_FOREIGN = """
smartflo toml mine polite py conftest stream token wav wave ulaw json README CHANGELOG LICENSE docs tests
callId fromNumber toNumber call_id customer_number api_key caller_id customer_ring_timeout wss_url customParameters
accountSid callSid streamSid sequenceNumber mediaFormat sampleRate bitRate bitDepth
customParameters TwilioFrameSerializer Authorization Bearer the key X Twilio Signature parrot heard_ms dtmf
turnComplete UserStartedSpeaking playback_clear_buffer from to hangUp target_language_code
ProtobufFrameSerializer PipelineParams InputDTMFFrame add_wav_header
SingleClientWebsocketServerTransport FastAPIWebsocketTransport audio_in_sample_rate audio_out_sample_rate
SO_REUSEPORT LoadCredential worker_shutdown_timeout terminationGracePeriodSeconds conf
Ctrl Upgrade Connection Origin WEBSOCKETS_MAX_LINE_LENGTH asyncio to_thread time sleep TimeoutStopSec
"""
FOREIGN = set(_FOREIGN.split())
"""Names in code font that are not the source's: of files, of the platform's messages and interfaces, of other people."""


def names_in(tree: ast.AST) -> set[str]:
    """Return the names that a piece of the source uses or defines, and the texts in it that are one word."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.Name(id=name)
                | ast.Attribute(attr=name)
                | ast.arg(arg=name)
                | ast.keyword(arg=str(name))
                | ast.alias(name=name)
            ):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Constant(value=str(text)) if text.isidentifier():
                found.add(text)
            case _:
                pass
    return found


NAMES = set().union(*map(names_in, TREES)) | {path.stem for path in SOURCE.rglob("*.py")}
CLASSES = {node.name: names_in(node) for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def codes(document: str) -> set[str]:
    """Return what a document's prose has in code font."""
    return set(re.findall(r"`([^`\n]+)`", without_blocks(document)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """A link inside the project names a file that is there, and a heading that is in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert file.is_relative_to(ROOT), target
        assert file.is_file(), target
        if anchor:
            assert anchor in {slug(heading) for heading in headings_of(str(file.relative_to(ROOT)))}, target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_keys_that_are_named_exist(document: str) -> None:
    """A word with a hyphen in code font is a key of the configuration or a command; so is what stands before `= value`."""
    for code in codes(document):
        key, equals, _ = code.partition(" = ")
        if equals or re.fullmatch(r"[a-z]+(-[a-z]+)+", key):
            assert key in KEYS | set(COMMANDS) | HYPHENATED, code


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_that_are_named_exist(document: str) -> None:
    """So do their options, the scripts, and the files of the checkout."""
    text = (ROOT / document).read_text()
    commands = re.findall(r"smartflo-bridge ([a-z]+(?:-[a-z]+)*)\b(?! =)", "\n".join(codes(document)))
    for block in blocks_of(document):
        lines = [line for line in block.text.splitlines() if block.language == "sh" or line.startswith("$ ")]
        used = [re.search(r"smartflo-bridge\"? ([a-z-]+)(.*)", line) for line in lines]
        for command, rest in [match.groups() for match in used if match]:
            commands.append(command)
            assert set(re.findall(r" (--[a-z-]+)", rest)) <= OPTIONS, rest
    assert set(commands) <= set(COMMANDS) | {"--version"}
    for name in re.findall(r"(?<![/\w])(?:scripts|systemd|tests)/[\w./-]*\w", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_of_the_source_exist(document: str) -> None:
    """A file of the package is there, and a name in code font is one of the source's."""
    for code in codes(document):
        if re.fullmatch(r"(agents|calls|core|server|handlers|captures|simulator|cli)/(\w+\.py)?", code):
            assert (SOURCE / code).exists(), code
        elif re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(.*\))?", code) and re.search(r"[A-Z_.(]", code):
            names = re.findall(r"[A-Za-z_]\w*", code.partition("(")[0])
            assert all(name in NAMES | FOREIGN or name.startswith("_") for name in names), code
            if len(names) == 2 and names[0] in CLASSES:
                assert names[1] in CLASSES[names[0]], code


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_call_is_said_to_have_it_has(document: str) -> None:
    """Each `call.name` is an attribute or a method of `Call`."""
    has = set(dir(Call)) | set(re.findall(r"self\.([a-z]\w*)", (SOURCE / "calls" / "call.py").read_text()))
    assert (
        set(re.findall(r"\bcall\.([a-z]\w+)\b(?!\.py)", (ROOT / document).read_text()))
        - {"wav", "capture", "py", "html", "svg", "png"}
        <= has
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_block_is_run_by_somebody(document: str) -> None:
    """Blocks outside of README, quick reference, security and the guide to testing are drawings, or have tests of their own."""
    if document in ("README.md", "docs/quick-reference.md", "docs/security.md", "docs/testing-a-bot.md"):
        return
    tested = {
        "docs/agents.md": {"toml", "python"},
        "docs/captures.md": {"sh", "toml", "json"},
        "docs/deployment.md": {"text", "toml"},
        "docs/protocol.md": {"json"},
        "docs/raw-leg.md": {"json", "python"},
        "docs/agents/sarvam.md": {"toml", "python"},
    }
    kinds = {block.language for block in blocks_of(document)}
    assert kinds <= tested.get(document, {"toml"} if document.startswith("docs/agents/") else {"text"})


def test_nothing_tells_where_it_was_written() -> None:
    """No path of a machine is in a document."""
    for document in DOCUMENTS:
        assert not re.search(r"/(work|home|root|tmp|Users)/", (ROOT / document).read_text()), document


def test_the_reference_names_every_termination() -> None:
    """Quick reference and glossary list what a call can end as, and nothing else that looks like it."""
    for document in ("docs/quick-reference.md", "docs/glossary.md"):
        row = next(
            line for line in (ROOT / document).read_text().splitlines() if re.match(r"\| `?termination`? \|", line)
        )
        assert {str(one) for one in Termination} <= set(re.findall(r"\w+", row)), document


def test_every_reason_of_a_drop_is_in_the_reference() -> None:
    """What the end line can give as a reason is explained."""
    source = "\n".join(path.read_text() for folder in ("core", "calls") for path in (SOURCE / folder).glob("*.py"))
    found = set(
        re.findall(
            r"""inbound_drops\["(\w+)"\]|Undelivered\(.+, "(\w+)"(?: if .+ else "(\w+)")?\)|reason = "(\w+)" if .* else "(\w+)"$""",
            source,
            re.MULTILINE,
        )
    )
    reasons = {reason for groups in found for reason in groups if reason}
    assert {"slow_handler", "hanging_up", "unread", "before_start"} <= reasons
    assert reasons <= codes("docs/quick-reference.md")


def test_the_examples_of_the_protocol_are_true() -> None:
    """Messages from the platform parse as events, those to it are what we write, and the table of lengths adds up."""
    incoming, outgoing = (
        [line.encode() for line in block.text.splitlines()] for block in blocks_of("docs/protocol.md")
    )
    assert not any(isinstance(parse_incoming_event(message), UnknownEvent) for message in incoming)
    assert [msgspec.json.encode(msgspec.json.decode(message, type=OutgoingEvent)) for message in outgoing] == outgoing
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    assert len(rows) == 5
    for size, ms, characters in (map(int, row) for row in rows):
        assert (ms, characters) == (size // 8, -(-size // 3) * 4)


def test_captures_are_as_described(tmp_path: Path) -> None:
    """The example is read; and of the capture of a real call, each command says something true, and the replay runs."""
    topic = Topic(blocks_of("docs/captures.md"), tmp_path)
    topic.needs("jq")
    example = topic.take("json")
    (tmp_path / "example.jsonl").write_text(example.text)
    header, records = read_capture(tmp_path / "example.jsonl")
    assert header.software == __version__
    assert len(list(records)) == example.text.count("\n") - 1
    with daemon(tmp_path, **{name.replace("-", "_"): value for name, value in topic.config().items()}) as served:
        report = call(served, Press(0.5, "9"), linger_seconds=1.5)
        (file,) = (tmp_path / "captures").iterdir()
        assert re.fullmatch(r"\d{8}T\d{6}-MZ\w+-[0-9a-f]{4}\.capture\.jsonl", file.name)
        await_end(file)
        kinds = {line_kind(line) for line in file.read_text().splitlines()}
        assert {"capture", "in", "out", "do", "end"} == kinds
        assert topic.run_shell() == ""  # a week has not gone by
        (tmp_path / "call.capture.jsonl").write_bytes(file.read_bytes())
        assert " in dtmf\n" in topic.run_shell()
        assert " out clear\n" in topic.run_shell()
        assert json.loads(topic.run_shell())["gaps"] is not None
        assert 0 < float(topic.run_shell()) < 1
        assert topic.run_shell() == ""
        topic.run_shell()
        assert (tmp_path / "caller.ulaw").read_bytes()[:8000] == report.spoken[:8000]
        assert "identical: " in topic.run_shell()
        assert "captured" in topic.run_shell(served)
        assert "wrote ticket.capture.jsonl" in topic.run_shell()
    assert not topic.left


def await_end(file: Path, seconds: float = 5.0) -> None:
    """Wait for a capture's last line: the caller may have heard of the end before it is written."""
    deadline = time.monotonic() + seconds
    while '"dir":"end"' not in file.read_text():
        assert time.monotonic() < deadline, "the capture has no end"
        time.sleep(0.02)


def line_kind(line: str) -> str:
    """Return a line's `dir`, or what the header is known by."""
    members = json.loads(line)
    return str(members.get("dir") or next(iter(members)))


def test_the_changelog_tells_of_this_version() -> None:
    """Its newest entry is the version of the package, and dated or unreleased."""
    newest = next(heading for heading in headings_of("CHANGELOG.md") if heading.startswith("["))
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - (Unreleased|\d{{4}}-\d\d-\d\d)", newest)


def test_the_short_way_into_systemd_is_the_unit_s_own() -> None:
    """What the README says in short, and no test can run, stands in the unit's first lines."""
    (place,) = (place for place in NOT_RUN if place[1] == "Under systemd")
    (block,) = (block for block in blocks_of(place[0]) if block.heading == place[1])
    unit = (ROOT / "systemd/smartflo-bridge.service").read_text()
    commands = {line.strip("# ").partition("  #")[0].strip() for line in unit.splitlines()}
    assert set(block.text.splitlines()) <= commands
