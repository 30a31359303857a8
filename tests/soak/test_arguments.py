"""What the soak is asked for: the load that goes with it, and what does not go together."""

import sys

import pytest
from soaking.main import arguments, chosen_load
from soaking.mix import CI, HOUR, STEADY, Load


@pytest.mark.parametrize(
    ("asked", "load"),
    [
        ("", CI),
        ("--minutes 60", HOUR),
        ("--calls 210 --per-second 12 --minutes 30", Load(210, 12.0)),
        ("--minutes 10 --steady 100", STEADY[5]),
        ("--steady 20 --calls 7", Load(7, 0.0, 1)),
    ],
)
def test_the_load_is_what_was_asked_for(asked, load, monkeypatch):
    """The mix of CI or of the hour, a steady one, and more or fewer calls."""
    monkeypatch.setattr(sys, "argv", ["soak", *asked.split()])
    assert chosen_load(arguments()) == load


def test_a_steady_load_does_not_take_the_place_of_the_mix(monkeypatch, capsys):
    """In the document, which has one table."""
    monkeypatch.setattr(sys, "argv", ["soak", "--steady", "100", "--write"])
    with pytest.raises(SystemExit):
        arguments()
    assert "--write is for the mix" in capsys.readouterr().err
