"""The words of a scenario's steps: makes a step of a line of text. Pure, but for the voices, which are fetched for it.

A form is written as its author reads it: capitals stand for what varies, brackets for what may be left out. The same text
is what a mistake is answered with.
"""

import re
from collections.abc import Callable

from smartflo_bridge.core.audio import FRAME_BYTES, SAMPLE_RATE_HZ, whole_frames
from smartflo_bridge.core.errors import ConfigError
from smartflo_bridge.simulator import steps
from smartflo_bridge.simulator.plan import Ending
from smartflo_bridge.simulator.steps import PATIENCE_SECONDS, Since, Step

BUILT_IN_VOICE = "the built-in voice"
"""What to write in the place of a FILE."""

Voice = Callable[[str], bytes]
Found = dict[str, str | None]

_DURATION = r"(\d+(?:\.\d+)?) ?(ms|s)"
_VARYING = {
    "DURATION": r"\d+(?:\.\d+)? ?(?:ms|s)",
    "FILE": r".+?",
    "TEXT": r".+",
    "NAME": r"(?!within\b)\S+",
    "KEYS": r"[0-9*#A-D]+",
    "CODE": r"\d{4}",
    "RATE": r"\d+",
    "SINCE": "|".join(Since),
}


_LEGEND = {
    "DURATION": "800 ms, 1.5 s",
    "FILE": f"a WAV file beside the scenario, or {BUILT_IN_VOICE}",
    "KEYS": "0-9 * # A-D",
    "SINCE": ", ".join(Since),
}


class WordingError(ConfigError):
    """A step that cannot be understood. The text says what is allowed."""


def seconds_of(text: str) -> float:
    """Read a duration: `800 ms`, `1.5 s`.

    Raises:
        WordingError: it is none.
    """
    match = re.fullmatch(_DURATION, text.strip())
    if not match:
        raise WordingError(f'takes a duration such as "800 ms" or "1.5 s", not {text!r}')
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def parse_step(text: str, voice: Voice) -> Step:
    """Make a step of its text. `voice` returns the mu-law of a FILE.

    Raises:
        WordingError: there is no such step.
        ConfigError: from `voice`.
    """
    for form, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(" ".join(text.split()) if form[:4] != "send" else text.strip()):
            return _FORMS[form](text, match.groupdict(), voice)
    raise WordingError(f"no such step; {_allowed(text)}")


def forms() -> list[str]:
    """Return all forms, in the order in which they are documented."""
    return list(_FORMS)


def _allowed(text: str) -> str:
    """Name the forms that begin alike, or all first words."""
    words = text.lower().split()
    for count in (2, 1):
        begin = words[:count]
        alike = [form for form in _FORMS if form.split()[:count] == begin]
        if len(words) >= count and alike:
            legend = "".join(
                f"; {name}: {text}" for name, text in _LEGEND.items() if any(name in form for form in alike)
            )
            return f"allowed is: {' | '.join(alike)}{legend}"
    firsts = dict.fromkeys(form.split()[0] for form in _FORMS)
    return f"a step begins with {', '.join(firsts)}"


def _pattern(form: str) -> re.Pattern[str]:
    """Make a pattern of a form; what varies is named after the word before it."""
    source, word = "", "what"
    for part in re.findall(r"[\[\]]|[^\s\[\]]+", form):
        if part == "[":
            source += "(?:"
        elif part == "]":
            source += ")?"
        else:
            varying = _VARYING.get(part)
            source += " " if source else ""
            source += f"(?P<{word}>{varying})" if varying else f"(?i:{re.escape(part)})"
            word = part
    return re.compile(source.replace("(?: ", "(?: ").replace(" (?:", "(?:"))


def _within(found: Found) -> float:
    text = found.get("within")
    return seconds_of(text) if text else PATIENCE_SECONDS


def _since(found: Found) -> Since | None:
    text = found.get("of")
    return Since(text) if text else None


def _say(text: str, found: Found, voice: Voice) -> Step:
    ulaw = voice(found["say"] or "")
    if found.get("for"):
        length = max(FRAME_BYTES, whole_frames(round(seconds_of(found["for"] or "") * SAMPLE_RATE_HZ)))
        ulaw = (ulaw * (length // max(len(ulaw), 1) + 1))[:length]
    return steps.Say(text=text, ulaw=ulaw)


def _end(ending: Ending) -> Callable[[str, Found, Voice], Step]:
    return lambda text, _, __: steps.EndCall(text=text, ending=ending)


_FORMS: dict[str, Callable[[str, Found, Voice], Step]] = {
    "say FILE for DURATION": _say,
    "say FILE": _say,
    "talk over after DURATION with FILE": lambda text, found, voice: steps.TalkOver(
        text=text, after_seconds=seconds_of(found["after"] or ""), ulaw=voice(found["with"] or "")
    ),
    "press KEYS": lambda text, found, _: steps.PressKeys(text=text, digits=found["press"] or ""),
    "wait DURATION": lambda text, found, _: steps.Pause(text=text, seconds=seconds_of(found["wait"] or "")),
    "wait for speech [within DURATION]": lambda text, found, _: steps.AwaitSpeech(
        text=text, is_speech=True, within_seconds=_within(found)
    ),
    "wait for silence [within DURATION]": lambda text, found, _: steps.AwaitSpeech(
        text=text, is_speech=False, within_seconds=_within(found)
    ),
    "wait for clear [within DURATION]": lambda text, found, _: steps.AwaitClear(
        text=text, within_seconds=_within(found)
    ),
    "wait for mark [NAME] [within DURATION]": lambda text, found, _: steps.AwaitMark(
        text=text, name=found["mark"], within_seconds=_within(found)
    ),
    "mute": lambda text, _, __: steps.SetMute(text=text, is_muted=True),
    "unmute": lambda text, _, __: steps.SetMute(text=text, is_muted=False),
    "read nothing": lambda text, _, __: steps.SetReading(text=text, bytes_per_second=0),
    "read RATE bytes/s": lambda text, found, _: steps.SetReading(text=text, bytes_per_second=float(found["read"] or 0)),
    "read everything": lambda text, _, __: steps.SetReading(text=text, bytes_per_second=None),
    "go half-open": lambda text, _, __: steps.GoHalfOpen(text=text),
    "send TEXT": lambda text, found, _: steps.SendText(text=text, message=found["send"] or ""),
    "hang up": _end(Ending.STOP),
    "hang up without closing": _end(Ending.STOP_ONLY),
    "hang up by closing": _end(Ending.CLOSE),
    "drop the connection": _end(Ending.DROP),
    "expect first audio within DURATION": lambda text, found, _: steps.ExpectFirstAudio(
        text=text, within_seconds=_within(found)
    ),
    "expect speech within DURATION [of SINCE]": lambda text, found, _: steps.ExpectSpeech(
        text=text, within_seconds=_within(found), since=_since(found)
    ),
    "expect silence within DURATION [of SINCE]": lambda text, found, _: steps.ExpectSilence(
        text=text, within_seconds=_within(found), since=_since(found)
    ),
    "expect silence for DURATION": lambda text, found, _: steps.ExpectQuiet(
        text=text, seconds=seconds_of(found["for"] or "")
    ),
    "expect clear within DURATION [of SINCE]": lambda text, found, _: steps.ExpectClear(
        text=text, within_seconds=_within(found), since=_since(found)
    ),
    "expect mark [NAME] within DURATION": lambda text, found, _: steps.ExpectMark(
        text=text, name=found["mark"], within_seconds=_within(found)
    ),
    "expect close [CODE] [within DURATION]": lambda text, found, _: steps.ExpectClose(
        text=text, code=int(found["close"]) if found["close"] else None, within_seconds=_within(found)
    ),
}

_PATTERNS = {form: _pattern(form) for form in _FORMS}
