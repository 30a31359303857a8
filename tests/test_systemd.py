"""The units under `systemd/`: systemd accepts them, they stay hardened, and they agree with the configuration."""

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = "/opt/smartflo-bridge/bin/smartflo-bridge"
CLOSING_SECONDS = 15
"""Around the drain: the health port's grace (5 s), closing handshakes (2 s), aborts (5 s), and some to spare."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: systemd)"
)


SINGLE = {"smartflo-bridge.service": "smartflo-bridge.service", "smartflo-bridge.socket": "smartflo-bridge.socket"}
INSTANCES = {
    "smartflo-bridge@.service": "smartflo-bridge.service",
    "smartflo-bridge@.service.d/instances.conf": "instances/service.conf",
    "smartflo-bridge.socket": "smartflo-bridge.socket",
    "smartflo-bridge.socket.d/instances.conf": "instances/socket.conf",
}
"""The two ways to install: what is put where."""

WAYS = {
    "single": (SINGLE, ["smartflo-bridge.service", "smartflo-bridge.socket"]),
    "instances": (INSTANCES, ["smartflo-bridge@1.service", "smartflo-bridge@2.service", "smartflo-bridge.socket"]),
}


@pytest.fixture(params=WAYS)
def units(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Install the units in a directory, with a program that exists on this machine in place of the daemon; name them."""
    stub = tmp_path / "smartflo-bridge"
    stub.touch(mode=0o755)
    files, names = WAYS[request.param]
    for installed, shipped in files.items():
        (tmp_path / installed).parent.mkdir(exist_ok=True)
        (tmp_path / installed).write_text((ROOT / "systemd" / shipped).read_text().replace(PROGRAM, str(stub)))
    return [tmp_path / name for name in names]


def systemd_analyze(*arguments: str | Path) -> str:
    """Run systemd-analyze, and return all that it said; it must succeed."""
    run = subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def unit(name: str) -> configparser.ConfigParser:
    """Read a unit file; of a key that stands twice, the last one is kept."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units are case-sensitive
    parser.read(ROOT / "systemd" / name)
    return parser


def values(key: str, table: dict[str, Any]) -> list[Any]:
    """Find every value of `key`, at whatever depth."""
    below = [value for inner in table.values() if isinstance(inner, dict) for value in values(key, inner)]
    return [table[key], *below] if key in table else below


@needs_systemd
def test_systemd_accepts_the_units(units: list[Path]) -> None:
    """Nothing is misspelt, unknown or in the wrong section, and the socket finds its service."""
    assert systemd_analyze("verify", *units) == ""


@needs_systemd
def test_the_service_is_confined(units: list[Path]) -> None:
    """The exposure is at most 1.5 of 10; what is left is the network itself."""
    services = [path for path in units if path.suffix == ".service"]
    systemd_analyze("security", "--offline=true", "--threshold=15", "--no-pager", *services)


def test_systemd_waits_for_the_drain() -> None:
    """TimeoutStopSec is above the drain, or systemd kills calls that were promised their end."""
    (drain_seconds,) = values("drain-seconds", tomllib.loads((ROOT / "smartflo.toml").read_text()))
    assert int(unit("smartflo-bridge.service")["Service"]["TimeoutStopSec"]) >= drain_seconds + CLOSING_SECONDS


def test_the_socket_is_the_one_the_daemon_knows() -> None:
    """The daemon takes the inherited socket by its name."""
    assert unit("smartflo-bridge.socket")["Socket"]["FileDescriptorName"] == "calls"


def test_used_tokens_outlive_a_restart() -> None:
    """The directory is in memory, ours alone, and kept when the service stops: or a token could be used once more."""
    service = unit("smartflo-bridge.service")["Service"]
    assert service["RuntimeDirectory"] == "smartflo-bridge"
    assert (service["RuntimeDirectoryMode"], service["RuntimeDirectoryPreserve"]) == ("0700", "yes")


def test_instances_are_installed_as_their_files_say() -> None:
    """The commands in the first lines put each file where the test above has it, and start what the socket starts."""
    said = (ROOT / "systemd/instances/service.conf").read_text()
    put = re.findall(r"^#   install (?:-D )?-m 644 systemd/(\S+) /etc/systemd/system/(\S*)$", said, re.MULTILINE)
    assert {place or shipped: shipped for shipped, place in put} == INSTANCES
    assert unit("instances/socket.conf")["Socket"]["Service"].removesuffix(".service") in said.split()
    assert unit("instances/service.conf")["Service"]["Sockets"] == "smartflo-bridge.socket"


def test_instances_are_one_user() -> None:
    """Or the kernel would not let them share the health port, nor they their files; a dynamic user has the unit's name."""
    assert unit("instances/service.conf")["Service"]["User"] == "smartflo-bridge"
    assert unit("smartflo-bridge.service")["Service"]["DynamicUser"] == "yes"
