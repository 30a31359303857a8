"""What holds for every test: how hard it tries, which files come first, that CI skips nothing, and nothing private is logged."""

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from privacy import private_in

NOTHING_MAY_BE_SKIPPED = bool(os.environ.get("SMARTFLO_TEST_NO_SKIPS"))

# No deadline: with tests on both cores, an example's wall time says nothing. In CI, the same examples every time.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

TURNS = (
    # What mostly waits, in real time: for a daemon, a process, a time-out. The longest first.
    "integration/test_replay.py",
    "integration/test_restarting.py",
    "faults/test_caller.py",
    "corpus/test_corpus.py",
    "integration/test_gate.py",
    "integration/test_stopping.py",
    "integration/test_endings.py",
    "docs/test_quick_reference.py",
    "integration/test_played_services.py",
    "faults",
    "integration",
    "conformance",
    "bench/test_generator.py",
    # What computes, and takes ten seconds or more: the rest has no such files.
    "agents/test_played_services.py",
    "browser",
    "agents/test_pipecat.py",
    "bench/test_frame_cost.py",
    "test_wheel.py",
)
"""In which files, and what is left of folders, are given to the processes of pytest-xdist.

So many processes that wait leave room for each other, and are not held up by what computes; and no long file begins when
all others are done, which would keep one process busy and the other core idle.
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into their turn, and see that a quiet one is found by whoever looks for its mark in the files."""
    tests = Path(__file__).parent
    for name in TURNS:
        if not (tests / name).exists():
            raise pytest.UsageError(f"there is no {name} any more: see TURNS in tests/conftest.py")
    turns = {tests / name: turn for turn, name in enumerate(TURNS)}
    items.sort(key=lambda item: turns.get(item.path, turns.get(item.path.parent, len(TURNS))))
    for item in items:
        if item.get_closest_marker("quiet") and "mark.quiet" not in item.path.read_text():
            raise pytest.UsageError(
                f"{item.path} has quiet tests, and scripts/test does not see it: write `mark.quiet`"
            )


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")
    if NOTHING_MAY_BE_SKIPPED and report.skipped and not expected_to_fail:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} (and SMARTFLO_TEST_NO_SKIPS is set: nothing may be skipped)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where nothing may be skipped."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself while it is imported."""
    report = yield
    _fail_if_skipped(report)
    return report


class PrivacyEar(logging.Handler):
    """Keeps what is logged that never may be. Tracebacks are left out: they are of code that is not the bridge's."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Listen."""
        if private_in(record.getMessage()) is not None:
            self.heard.append(record.getMessage())


@pytest.fixture(autouse=True)
def nothing_private_is_logged() -> Iterator[None]:
    """Hear all that the bridge logs in this process, at every level, and fail the test that makes it tell too much."""
    ours, ear = logging.getLogger("smartflo_bridge"), PrivacyEar()
    level = ours.level
    ours.setLevel(logging.DEBUG)
    ours.addHandler(ear)
    yield
    ours.removeHandler(ear)
    ours.setLevel(level)
    assert not ear.heard
