"""The limit of open files: raised as far as it goes, and spoken of where that is not enough."""

import json
import subprocess
import sys

import pytest

from smartflo_bridge.agents.raw import RawSettings
from smartflo_bridge.config import Config
from smartflo_bridge.server.files import files_needed

TRY = """
import json, logging, resource, sys
from smartflo_bridge.server.files import allow_files
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
allow_files(int(sys.argv[3]))
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


def test_a_call_needs_a_file_for_each_thing_it_has() -> None:
    """Its connection, an agent's, a capture and a recording."""
    agent = RawSettings(url="ws://127.0.0.1:1/")
    few, many = (files_needed(Config(max_calls=1 + calls)) for calls in (0, 10))
    assert many - few == 10
    for keys, count in [({"agent": agent}, 2), ({"capture_dir": "c"}, 2), ({"record_dir": "r", "agent": agent}, 3)]:
        few, many = (files_needed(Config(max_calls=1 + calls, **keys)) for calls in (0, 10))
        assert many - few == 10 * count


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "then", "is_enough"),
    [
        (100, 200, 50, 100, True),
        (100, 200, 150, 150, True),
        (100, 200, 200, 200, True),
        (100, 200, 201, 200, False),
        (200, 200, 201, 200, False),
    ],
)
def test_the_limit_is_raised_as_far_as_it_goes(soft: int, hard: int, needed: int, then: int, is_enough: bool) -> None:
    """Never lowered, never above what is needed; one warning if the hard limit is in the way, with both figures."""
    said = subprocess.run(
        [sys.executable, "-c", TRY, *map(str, (soft, hard, needed))], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == [then, hard]
    if is_enough:
        assert said.stderr == ""
    else:
        assert said.stderr.endswith(f" allowed={then} needed={needed}\n")
        assert said.stderr.count("\n") == 1
