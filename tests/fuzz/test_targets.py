"""The fuzz targets themselves: their first inputs find nothing in the bridge as it is, and something in a broken one.

Here they run without the fuzzer, so on every Python; `scripts/fuzz` runs them with it.
"""

import pytest

from fuzz import run
from fuzz.targets import NAMES, find
from smartflo_bridge.core.incoming import ConnectedEvent

BREAKS = {
    "messages": ("fuzz.messages.parse_incoming_event", lambda text: ConnectedEvent()),
    "session": ("smartflo_bridge.core.session.Session.handle", lambda self, given, now: []),
    "configuration": ("smartflo_bridge.config._line_of", lambda key, where, text: ":1"),
    "frames": ("smartflo_bridge.wire.frames.FrameSplitter._pass", lambda self, frame, first: True),
    "requests": ("fuzz.requests.check_token", lambda text, secrets, now: None),
}
"""One for each target: what is put in the place of a part of its subject."""


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_find_nothing(name):
    """They come from the corpus and from tests, so the bridge does well with all of them."""
    target = find(name)
    seeds = list(target.seeds())
    assert len(seeds) > 50
    for seed in seeds:
        target.check(seed)


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_find_what_is_broken(name, monkeypatch):
    """A target whose check passes whatever its subject does looks for nothing."""
    target = find(name)
    monkeypatch.setattr(*BREAKS[name])
    assert any(_finds(target, seed) for seed in target.seeds())


def test_a_finding_is_seen_again(tmp_path, monkeypatch, capsys):
    """By its file, whose name says the target; without the fuzzer, and as long as it is not mended."""
    for name in NAMES:
        target = find(name)
        with monkeypatch.context() as patch:
            patch.setattr(*BREAKS[name])
            finding = tmp_path / f"{name}-crash-1"
            finding.write_bytes(next(seed for seed in target.seeds() if _finds(target, seed)))
            assert run.replay(finding, None) == 1
            assert "Traceback" in capsys.readouterr().err
        assert run.replay(finding, None) == 0


def test_a_file_of_no_target(tmp_path, capsys):
    """It has to be said which it is."""
    other = tmp_path / "input"
    other.write_bytes(b"")
    assert run.replay(other, None) == 2
    assert "--target" in capsys.readouterr().out
    assert run.replay(other, ["messages"]) == 0


def _finds(target, seed):
    try:
        target.check(seed)
    except Exception:  # noqa: BLE001 - whatever it is, it is what was found
        return True
    return False
