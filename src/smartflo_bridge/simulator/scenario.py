"""Scenarios: a call as a regression test, read from a TOML file. Some come with the package, in `scenarios/`.

A file says what the caller and the platform do and what is expected of the far end, one step a line, and above the steps
how the platform behaves. A mistake is one sentence that names the file, the step or key, and what is allowed.
"""

import difflib
import tomllib
from collections.abc import Callable
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from smartflo_bridge.core.errors import ConfigError, shown_key
from smartflo_bridge.simulator import steps
from smartflo_bridge.simulator.mix import built_in_voice, read_wav
from smartflo_bridge.simulator.plan import CallPlan, Variant
from smartflo_bridge.simulator.referee import RefereeSettings
from smartflo_bridge.simulator.rules import Rule
from smartflo_bridge.simulator.steps import Step
from smartflo_bridge.simulator.wording import BUILT_IN_VOICE, parse_step, seconds_of

EACH_VARIANT = "each"
"""In the place of a list of variants: one call for each of them."""

START_AFTER_SECONDS = 0.05
"""Between `connected` and `start`: on the wire they are never closer, and what is said too early shows."""

BEYOND_SECONDS = 1.0
"""So much longer than it may take the platform waits for a close, before it closes itself."""

MAX_FILE_BYTES = 1 << 20
"""A scenario has some 500 bytes; what is a thousand times longer is another file."""

SHIPPED = "scenarios"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One call to be placed, and what is expected of it.

    Attributes:
        name: the file's, without its suffix; with the variant, where there is one call for each.
        about: what it is for, in a sentence.
        plan: the platform's manners.
        wanted: the steps.
        judging: what the referee goes by.
        allowed: rules that may be broken.
    """

    name: str
    about: str
    plan: CallPlan
    wanted: tuple[Step, ...]
    judging: RefereeSettings = RefereeSettings()
    allowed: frozenset[Rule] = frozenset()


def shipped_scenarios() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml"))


def load_scenarios(file: Path | str) -> list[Scenario]:
    """Read a scenario from its file, or a shipped one by its name: one call, or one for each variant.

    Raises:
        ConfigError: there is none, or there is a mistake in it.
    """
    path = Path(file)
    if path.suffix != ".toml" and not path.exists():
        if str(file) not in shipped_scenarios():
            raise ConfigError(
                f"there is no scenario {str(file)!r}: name a TOML file, or {', '.join(shipped_scenarios())}"
            )
        return parse_scenarios(str(file), _shipped().joinpath(f"{file}.toml").read_text(), _voices_beside(None))
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES)
        return parse_scenarios(path.stem, raw.decode(), _voices_beside(path.parent))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not TOML: it is no text") from None


def parse_scenarios(name: str, text: str, voice: Callable[[str], bytes]) -> list[Scenario]:
    """Make scenarios of a TOML text. `voice` returns the mu-law of what a step names.

    Raises:
        ConfigError: there is a mistake in it.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    try:
        keys = _keys(table)
        wanted = _steps(keys.steps, voice)
        judging = _judging(keys)
        allowed = frozenset(Rule(one) for one in _named("allow", keys.allow, Rule))
        return [
            Scenario(
                name=f"{name}[{variants[0]}]" if keys.variants == EACH_VARIANT else name,
                about=keys.about,
                plan=_plan(keys, wanted, frozenset(variants), judging),
                wanted=wanted,
                judging=judging,
                allowed=allowed,
            )
            for variants in _variants(keys)
        ]
    except ConfigError as mistake:
        raise ConfigError(f"{name}: {mistake}") from None


class _Keys(msgspec.Struct, rename="kebab", kw_only=True):
    """The keys of a file. Durations are text with their unit."""

    about: str = ""
    cadence: str = ""
    jitter: str = ""
    seed: int = 1
    from_number: str = msgspec.field(default="", name="from")
    to_number: str = msgspec.field(default="", name="to")
    direction: str = "inbound"
    parameters: dict[str, str] = {}
    variants: list[str] | str = []
    wait_for_connected: bool = False
    start_after: str = ""
    strict: bool = False
    buffer: str = ""
    answer_within: str = ""
    close_within: str = ""
    allow: list[str] = []
    steps: list[str] = []


_TYPE_OF = {field.encode_name: field.type for field in msgspec.structs.fields(_Keys)}
KEYS = list(_TYPE_OF)
"""All keys of a file."""

_TYPES = {str: "text", int: "a whole number", bool: "true or false", dict[str, str]: "a table of texts"}


def _keys(table: dict[str, Any]) -> _Keys:
    for key in table:
        if key not in _TYPE_OF:
            close = difflib.get_close_matches(key, _TYPE_OF, 1)
            hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(_TYPE_OF)}"
            raise ConfigError(f"{shown_key(key)}: no such key; {hint}")
    try:
        return msgspec.convert(table, _Keys)
    except msgspec.ValidationError as error:
        key = str(error).partition("`$.")[2].rstrip("`").partition("[")[0].partition(".")[0]
        raise ConfigError(f"{key}: takes {_TYPES.get(_TYPE_OF[key], 'a list of texts')}, not {table[key]!r}") from None


def _steps(lines: list[str], voice: Callable[[str], bytes]) -> tuple[Step, ...]:
    if not lines:
        raise ConfigError('steps: at least one is wanted, such as steps = ["expect first audio within 800 ms"]')
    wanted: list[Step] = []
    for number, line in enumerate(lines, 1):
        try:
            wanted.append(parse_step(line, voice))
        except ConfigError as mistake:
            raise ConfigError(f"step {number} {line!r}: {mistake}") from None
        ends = [step.text for step in wanted[:-1] if isinstance(step, steps.EndCall)]
        if ends and not isinstance(wanted[-1], steps.ExpectClose):
            raise ConfigError(f"step {number} {line!r}: after {ends[0]!r} only expect close is allowed")
    return tuple(wanted)


def _seconds(key: str, text: str, default: float) -> float:
    try:
        return seconds_of(text) if text else default
    except ConfigError as mistake:
        raise ConfigError(f"{key}: {mistake}") from None


def _named(key: str, names: list[str], kind: type[StrEnum]) -> list[str]:
    for name in names:
        if name not in list(kind):
            close = difflib.get_close_matches(name, list(kind), 1)
            hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(kind)}"
            raise ConfigError(f"{key}: there is no {name!r}; {hint}")
    return names


def _variants(keys: _Keys) -> list[list[Variant]]:
    if keys.variants == EACH_VARIANT:
        return [[variant] for variant in Variant]
    if isinstance(keys.variants, str):
        raise ConfigError(f'variants: takes a list of names, or "{EACH_VARIANT}", not {keys.variants!r}')
    return [[Variant(one) for one in _named("variants", keys.variants, Variant)]]


def _judging(keys: _Keys) -> RefereeSettings:
    usual = RefereeSettings()
    return RefereeSettings(
        buffer_seconds=_seconds("buffer", keys.buffer, usual.buffer_seconds),
        answer_seconds=_seconds("answer-within", keys.answer_within, usual.answer_seconds),
        close_seconds=_seconds("close-within", keys.close_within, usual.close_seconds),
        is_strict=keys.strict,
        judges_rate=keys.variants != EACH_VARIANT,
    )


def _plan(keys: _Keys, wanted: tuple[Step, ...], variants: frozenset[Variant], judging: RefereeSettings) -> CallPlan:
    usual = CallPlan()
    cadence_ms = round(1000 * _seconds("cadence", keys.cadence, usual.cadence_ms / 1000))
    if not 10 <= cadence_ms <= 1000:
        raise ConfigError(f"cadence: takes 10 ms to 1 s, not {keys.cadence!r}")
    patience = [step.within_seconds for step in wanted if isinstance(step, steps.ExpectClose)]
    return CallPlan(
        cadence_ms=cadence_ms,
        jitter_seconds=_seconds("jitter", keys.jitter, 0.0),
        seed=keys.seed,
        from_number=keys.from_number or usual.from_number,
        to_number=keys.to_number or usual.to_number,
        direction=keys.direction,
        custom_parameters=keys.parameters,
        variants=variants,
        wait_for_connected=keys.wait_for_connected,
        wait_seconds=max([judging.close_seconds + BEYOND_SECONDS, *patience]),
        start_after_seconds=_seconds("start-after", keys.start_after, START_AFTER_SECONDS),
    )


def _shipped() -> Traversable:
    return resources.files("smartflo_bridge.simulator") / SHIPPED


def _voices_beside(folder: Path | None) -> Callable[[str], bytes]:
    """Return what finds a step's voice: the built-in one, or a WAV file beside the scenario."""

    def voice(name: str) -> bytes:
        if name.lower() == BUILT_IN_VOICE:
            return built_in_voice()
        if folder is None:
            raise ConfigError(f"a shipped scenario has no {name}")
        return read_wav(folder / name)

    return voice
