"""The fixture `place_call`: plays a scenario to a voice bot from pytest, and fails the test with what went wrong.

pytest loads this module wherever the package is installed, so it imports nothing of the simulator before a call is placed.
`docs/testing-a-bot.md` shows how it is used.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PlaceCall = Callable[..., Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where calls go, unless the fixture `smartflo_url` says it."""
    help_text = "where the fixture place_call places its calls: ws://host:port/path"
    parser.getgroup("smartflo-bridge").addoption("--smartflo-url", metavar="URL", help=help_text)
    parser.addini("smartflo_url", help_text)


@pytest.fixture(scope="session")
def smartflo_url(pytestconfig: pytest.Config) -> str:
    """Return where calls go. Override it to start your bot, and yield its URL."""
    url = pytestconfig.getoption("--smartflo-url") or pytestconfig.getini("smartflo_url")
    if not url:
        pytest.fail("where is the bot? Give --smartflo-url, set smartflo_url in pytest's ini, or override the fixture")
    return str(url)


@pytest.fixture
def place_call(request: pytest.FixtureRequest) -> PlaceCall:
    """Return what places a call: `place_call(scenario, url=None, allow=())`.

    `scenario` is a TOML file beside the test, or the name of one that comes with the package. The call is placed in real
    time, from a thread of its own. It returns the report, or for a scenario of several calls a list of them; it fails the
    test if a step has not passed or a rule was broken that neither the scenario nor `allow` allows.
    """

    def place(scenario: str | Path, url: str | None = None, allow: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - lazy
        __tracebackhide__ = True
        trials = importlib.import_module("smartflo_bridge.simulator.trials")
        beside = request.path.parent / scenario
        placed = url or request.getfixturevalue("smartflo_url")
        return trials.play(beside if beside.exists() else scenario, placed, allow)

    return place
