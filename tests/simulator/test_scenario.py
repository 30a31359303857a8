"""Scenarios as files: what they say, and that a mistake is one line which names the place and what is allowed."""

import re
from pathlib import Path

import pytest

from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator import steps
from smartflo_bridge.simulator.mix import built_in_voice, write_wav
from smartflo_bridge.simulator.plan import Variant
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.scenario import load_scenarios, parse_scenarios, shipped_scenarios
from smartflo_bridge.simulator.wording import forms, parse_step


def silence(_: str) -> bytes:
    return b"\xff" * 8000


EXAMPLES = {
    "DURATION": "800 ms",
    "FILE": "a b.wav",
    "TEXT": '{"event":"x"}',
    "NAME": "u1",
    "KEYS": "12*#D",
    "CODE": "1000",
    "RATE": "4000",
}


@pytest.mark.parametrize("form", forms())
def test_every_form_is_understood_with_and_without_its_options(form: str) -> None:
    """As it is documented, in any case and with any blanks."""
    for text in {form.replace("[", "").replace("]", ""), re.sub(r" \[.*?\]", "", form)}:
        for name, example in (EXAMPLES | {"SINCE": "talking over"}).items():
            text = text.replace(name, example)  # noqa: PLW2901 - filled in step by step
        step = parse_step(text, silence)
        assert step.text == text
        assert isinstance(step, steps.Step)
        if "{" not in text:
            assert type(parse_step(text.replace(" ", "  "), silence)) is type(step)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("wait for speach", "allowed is: wait for speech [within DURATION] | wait for silence"),
        ("press 12x", "allowed is: press KEYS; KEYS: 0-9 * # A-D"),
        ("expect silence", "expect silence for DURATION"),
        ("say", "FILE: a WAV file beside the scenario, or the built-in voice"),
        ("expect clear within 1 s of shouting", "SINCE: talking over, pressing, hanging up"),
        ("dance", "a step begins with say, talk, press,"),
        ("", "a step begins with"),
    ],
)
def test_a_step_that_is_not_understood_names_what_is_allowed(text: str, allowed: str) -> None:
    """In one line, with the step's number and its text."""
    with pytest.raises(ConfigError) as caught:
        parse_scenarios("mine", f"steps = ['hang up', {text!r}]", silence)
    assert str(caught.value).startswith(f"mine: step 2 {text!r}: no such step; ")
    assert allowed in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        ("steps = [", "not TOML"),
        ("", "steps: at least one is wanted"),
        ("steps = 'hang up'", "steps: takes a list of texts, not 'hang up'"),
        ("steps = [1]", "steps: takes a list of texts, not [1]"),
        ("step = ['hang up']", "step: no such key; did you mean steps?"),
        ("\"a\\nb\" = 'red'\nsteps = ['hang up']", "'a\\nb': no such key; the keys are about, cadence"),
        ("colour = 'red'\nsteps = ['hang up']", "colour: no such key; the keys are about, cadence"),
        ("cadence = 20\nsteps = ['hang up']", "cadence: takes text, not 20"),
        (
            "cadence = 'fast'\nsteps = ['hang up']",
            'cadence: takes a duration such as "800 ms" or "1.5 s", not \'fast\'',
        ),
        ("cadence = '5 ms'\nsteps = ['hang up']", "cadence: takes 10 ms to 1 s, not '5 ms'"),
        ("seed = 'x'\nsteps = ['hang up']", "seed: takes a whole number, not 'x'"),
        ("strict = 1\nsteps = ['hang up']", "strict: takes true or false, not 1"),
        ("parameters = { a = 1 }\nsteps = ['hang up']", "parameters: takes a table of texts"),
        ("allow = ['gap-0-ms']\nsteps = ['hang up']", "allow: there is no 'gap-0-ms'; did you mean gap_0_ms?"),
        ("variants = ['x']\nsteps = ['hang up']", "variants: there is no 'x'; allowed are counters-as-numbers,"),
        ("variants = 'all'\nsteps = ['hang up']", "variants: takes a list of names, or \"each\", not 'all'"),
        ("steps = ['hang up', 'press 1']", "step 2 'press 1': after 'hang up' only expect close is allowed"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(toml: str, mistake: str) -> None:
    """It names the file, the place, and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        parse_scenarios("mine", toml, silence)
    assert str(caught.value).startswith("mine: ")
    assert mistake in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_says_how_the_platform_behaves(tmp_path: Path) -> None:
    """Every key, once; WAV files are beside the file."""
    write_wav(tmp_path / "question.wav", caller=built_in_voice()[:8000], bridge=b"")
    (tmp_path / "mine.toml").write_text(
        """
        about = "Everything at once."
        cadence = "20 ms"
        jitter = "60 ms"
        seed = 3
        from = "911111111111"
        to = "922222222222"
        direction = "outbound"
        parameters = { queue = "sales" }
        variants = ["no-direction", "bare-stop"]
        wait-for-connected = true
        start-after = "200 ms"
        strict = true
        buffer = "3 s"
        answer-within = "4 s"
        close-within = "500 ms"
        allow = ["gap_0_ms"]
        steps = ["say question.wav", "say the built-in voice for 100 ms", "hang up", "expect close 1000 within 30 s"]
        """
    )
    (scenario,) = load_scenarios(tmp_path / "mine.toml")
    plan, judging = scenario.plan, scenario.judging
    assert (scenario.name, scenario.about, scenario.allowed) == ("mine", "Everything at once.", {Rule.GAP_0_MS})
    assert (plan.cadence_ms, plan.jitter_seconds, plan.seed, plan.direction) == (20, 0.06, 3, "outbound")
    assert (plan.from_number, plan.to_number, plan.custom_parameters) == (
        "911111111111",
        "922222222222",
        {"queue": "sales"},
    )
    assert plan.variants == {Variant.NO_DIRECTION, Variant.BARE_STOP}
    assert (plan.wait_for_connected, plan.start_after_seconds, plan.wait_seconds) == (True, 0.2, 30.0)
    assert (judging.is_strict, judging.buffer_seconds, judging.answer_seconds, judging.close_seconds) == (
        True,
        3.0,
        4.0,
        0.5,
    )
    assert [len(step.ulaw) for step in scenario.wanted if isinstance(step, steps.Say)] == [8000, 800]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.toml", "No such file"),
        ("greetings", "there is no scenario .*: name a TOML file, or .*greeting"),
        ("folder.toml", "Is a directory"),
        ("binary.toml", "it is no text"),
        ("voiceless.toml", r"step 1 'say nobody\.wav': .*nobody\.wav: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(name: str, sentence: str, tmp_path: Path) -> None:
    """Its own, or one that a step names."""
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "voiceless.toml").write_text("steps = ['say nobody.wav']")
    with pytest.raises(ConfigError, match=sentence):
        load_scenarios(tmp_path / name if name.endswith(".toml") else name)


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_is_right(name: str) -> None:
    """It loads by its name, and says what it is for."""
    for scenario in load_scenarios(name):
        assert scenario.about.endswith(".")
        assert scenario.wanted


def test_each_variant_is_a_call_of_its_own() -> None:
    """Named after it."""
    scenarios = load_scenarios("every-variant")
    assert [scenario.plan.variants for scenario in scenarios] == [{variant} for variant in Variant]
    assert scenarios[0].name == "every-variant[counters-as-numbers]"
