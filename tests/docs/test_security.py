"""The page about security does what it says: its commands are run, and its recipes are checked by what they are for."""

import asyncio
import json
import shutil
import subprocess
from typing import Any

import pytest

from docs.support import Topic, blocks_of, call, daemon, sections_without_test
from smartflo_bridge.config import Config
from smartflo_bridge.simulator.caller import place_call
from smartflo_bridge.simulator.plan import CallPlan

DOCUMENT = "docs/security.md"
BLOCKS = blocks_of(DOCUMENT)


def test_every_section_with_blocks_has_a_test() -> None:
    """None can be added without one."""
    assert sections_without_test(BLOCKS, globals()) == set()


def settings(topic: Topic) -> dict[str, Any]:
    """Return the keys of the next block, as `daemon` takes them."""
    return {name.replace("-", "_"): value for name, value in topic.config().items()}


def made(topic: Topic, *names: str) -> None:
    """Make the files that an earlier section makes."""
    for name in names:
        (topic.folder / name).touch(mode=0o600)
        (topic.folder / name).write_text(f"{name}-that-is-long-enough-to-be-one")


def test_static_tokens(topic: Topic) -> None:
    """The command makes a token that nobody else can read, and the daemon takes it."""
    topic.run_shell()
    assert (topic.folder / "stream.token").stat().st_mode & 0o077 == 0
    with daemon(topic.folder, **settings(topic)):
        pass


def test_tokens_for_one_call(topic: Topic) -> None:
    """It is valid, opens a stream, and then is not valid and opens none; the log has nothing of it."""
    made(topic, "stream.token")
    topic.run_shell()
    with daemon(topic.folder, **settings(topic)) as served:
        topic.run_console(served)
        assert (topic.folder / "signed").read_text().strip().rpartition("/")[2] not in served.said()


def test_the_dynamic_endpoint(topic: Topic) -> None:
    """Curl gets a URL with a token that opens a stream here."""
    topic.needs("curl")
    made(topic, "token.secret")
    topic.run_shell()
    with daemon(topic.folder, **settings(topic)) as served:
        block = topic.take("console")
        command, promised = block.text.removeprefix("$ ").splitlines()
        said = subprocess.run(
            ["bash", "-euc", command.replace("8000", str(served.port), 1)],
            cwd=topic.folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        answer, shown = json.loads(said), json.loads(promised)
        assert list(answer) == list(shown)
        assert len(answer["wss_url"]) == len(shown["wss_url"])
        stem, _, token = answer["wss_url"].rpartition("/")
        assert stem == shown["wss_url"].rpartition("/")[0]
        report = asyncio.run(place_call(f"{served.url}/{token}", CallPlan(linger_seconds=0.5)))
        assert report.close_code == 1000


def test_tls(topic: Topic) -> None:
    """The keys exist; `test_tls` of the integration tests serves with them."""
    names = [line.partition(" = ")[0] for line in topic.take("text").text.splitlines()]
    assert {name.replace("-", "_") for name in names} <= set(Config.__struct_fields__)


def test_behind_a_proxy(topic: Topic) -> None:
    """HAProxy accepts its recipe without a warning."""
    recipe, nginx = topic.take("text"), topic.take("text")
    assert nginx.text.startswith("log_format no_url ")
    if shutil.which("haproxy") is None:
        pytest.skip("not installed: haproxy")
    (topic.folder / "haproxy.cfg").write_text(recipe.text)
    done = subprocess.run(
        ["haproxy", "-c", "-f", "haproxy.cfg"],
        cwd=topic.folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said, said


def test_what_is_kept_of_a_caller(topic: Topic) -> None:
    """The dry run finds what the other deletes."""
    with daemon(topic.folder, record_dir="recordings", capture_dir="captures") as served:
        call(served, from_number="919800000001", linger_seconds=1.0)
    said = topic.run_shell()
    assert "\n2 files found\n" in said
    assert said.endswith("\n2 files deleted\n")
    assert not [*(topic.folder / "recordings").iterdir(), *(topic.folder / "captures").iterdir()]
