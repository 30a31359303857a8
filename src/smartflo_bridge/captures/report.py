"""The page of a call: one file that holds its picture, its words, and its audio, and asks the network for nothing.

The template, the style and the scripts are files beside this module, in `page`; here they are filled. All that came with
the call is data: escaped where it is text, JSON without markup where the scripts read it. And the page's policy lets only
our own script run, known by its hash, and nothing be fetched, so that a mistake here is no way in.
"""

import functools
import hashlib
import string
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

import msgspec

from smartflo_bridge.captures.happenings import Happening, happenings
from smartflo_bridge.captures.packing import packed, packed_audio, packed_columns
from smartflo_bridge.captures.peaks import peaks_of
from smartflo_bridge.captures.still import still_picture
from smartflo_bridge.captures.story import Story, Voice
from smartflo_bridge.captures.summary import Figure, figures, rule_counts, title
from smartflo_bridge.captures.tracks import NS_PER_SAMPLE, Span
from smartflo_bridge.captures.transcript import Said
from smartflo_bridge.captures.words import clock, length, printable
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.version import __version__

SCRIPTS = (
    "data.js",
    "view.js",
    "paint.js",
    "lanes.js",
    "happenings.js",
    "lead.js",
    "overview.js",
    "sound.js",
    "pointing.js",
    "controls.js",
    "main.js",
)

MAX_ROWS = 5000
"""Of the table. A browser lays out more with a delay that is felt; the picture has them all."""

_US_PER_SAMPLE = NS_PER_SAMPLE // 1000


def page_of(story: Story, *, with_audio: bool = True) -> Iterator[str]:
    """Yield the page of a story, piece by piece: most of a long call's page is its audio. Mask it before: see `masking`.

    The audio stands behind the script, so that a browser shows the picture while it still reads.
    """
    script = f"{{\n{''.join(map(_part, SCRIPTS))}}}\n"
    style = _part("page.css")
    everything = happenings(story)
    head = figures(story)
    yield string.Template(_part("page.html")).substitute(
        software=escape(__version__),
        policy=escape(_policy(script, style)),
        style=style,
        script=script,
        title=escape(title(story)),
        heading=escape(title(story)),
        facts=" &middot; ".join(escape(printable(fact, 200)) for fact in _facts(story)),
        figures="\n".join(map(_figure, head)),
        rules=_rules(story),
        described=escape(". ".join(f"{figure.name}: {figure.value}, {figure.detail}" for figure in head)),
        length=escape(clock(story.seconds)),
        no_audio="" if with_audio else " disabled",
        still=still_picture(story),
        rows="\n".join(_row(index, one, story.said) for index, one in enumerate(everything[:MAX_ROWS])),
        accounts=_accounts(story),
        footer=escape(_footer(story, len(everything))),
        story=_json(_scene(story, everything, with_audio=with_audio)),
        caller_peaks=_packed_peaks(story.caller),
        us_peaks=_packed_peaks(story.us),
        arrivals=_packed_arrivals(story),
        sendings=_packed_sendings(story),
    )
    if with_audio:
        for index, block in enumerate(packed_audio(story.caller.track.ulaw, story.us.track.ulaw)):
            yield f'<script type="text/plain" id="audio-{index}">{block}</script>\n'
    yield "</body>\n</html>\n"


@functools.cache
def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    sources = {"script-src": _hash(script), "style-src": _hash(style), "img-src": "data:"}
    rest = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return "; ".join([rest, *(f"{name} {source}" for name, source in sources.items())])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: object) -> str:
    """Return JSON in which nothing can end the element that it stands in."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# --- The head


def _facts(story: Story) -> list[str]:
    parties = story.parties
    facts = [f"began {story.began}"]
    facts += [
        f"{name} {value}" for name, value in (("stream", parties.stream_sid), ("call", parties.call_sid)) if value
    ]
    facts += [parties.direction] if parties.direction else []
    return facts + [f"{name} = {value}" for name, value in parties.parameters.items()]


def _figure(figure: Figure) -> str:
    kind = ' class="bad"' if figure.is_bad else ""
    return (
        f"<div{kind}><dt>{escape(figure.name)}</dt>"
        f'<dd class="value">{escape(figure.value)}</dd><dd class="detail">{escape(figure.detail)}</dd></div>'
    )


def _rules(story: Story) -> str:
    items = [
        f"<li>{_at(at)} {escape(text)}{f' &mdash; {number} times' if number > 1 else ''}</li>"
        for text, number, at in rule_counts(story)
    ]
    return f'<ul class="rules" aria-label="Rules broken">{"".join(items)}</ul>' if items else ""


def _at(seconds: float, index: int | None = None) -> str:
    """Return a moment that can be gone to."""
    happening = "" if index is None else f' data-happening="{index}"'
    return f'<button type="button" class="at" data-at="{seconds:.6f}"{happening}>{clock(seconds, 3)}</button>'


# --- The tables


def _row(index: int, one: Happening, said: Sequence[Said]) -> str:
    messages = "<br>".join(f"<code>{escape(printable(said[at].text, 300))}</code>" for at in one.messages)
    return f"<tr><td>{_at(one.start, index)}</td><td>{escape(one.who)}</td><td>{escape(one.text)}</td><td>{messages}</td></tr>"


def _accounts(story: Story) -> str:
    ledger = story.ending.ledger
    rows = [("Numbers missing in the platform's sequence", str(story.sequence_gaps))]
    for name, value in ledger.items():
        members = value.items() if isinstance(value, dict) else [("", value)]
        for member, number in members:
            rows.append((f"{name} {member}".strip().replace("_", " "), _amount(name, number)))
    cells = (
        f'<tr><th scope="row">{escape(printable(name))}</th><td>{escape(printable(value))}</td></tr>'
        for name, value in rows
    )
    return "\n".join(cells)


def _amount(name: str, value: object) -> str:
    if isinstance(value, int) and (name.endswith(("_bytes", "_drops"))):
        return f"{value} bytes ({length(value / SAMPLE_RATE_HZ)})"
    if isinstance(value, float):
        return length(value)
    return str(value)


def _footer(story: Story, number: int) -> str:
    cut = f" The table has the first {MAX_ROWS} of {number} happenings." if number > MAX_ROWS else ""
    return f"Captured by smartflo-bridge {printable(story.software)}, drawn by {__version__}.{cut}"


# --- What the scripts read


def _scene(story: Story, everything: list[Happening], *, with_audio: bool) -> dict[str, object]:
    return {
        "seconds": story.seconds,
        "lead": story.lead_seconds,
        "streamSid": printable(story.parties.stream_sid or ""),
        "hasAudio": with_audio,
        "caller": _sides(story.caller),
        "us": _sides(story.us),
        "unheard": [(piece.at / SAMPLE_RATE_HZ, piece.end / SAMPLE_RATE_HZ) for piece in story.unheard],
        "cuts": [clear.at_ns / 1e9 for clear in story.clears],
        "happenings": everything,
        "said": [{"at": said.at_ns / 1e9, "who": said.speaker, "text": said.text} for said in story.said],
    }


def _sides(voice: Voice) -> dict[str, object]:
    return {"speech": _pairs(voice.speech), "present": _pairs(voice.track.present)}


def _pairs(spans: Sequence[Span]) -> list[tuple[float, float]]:
    return [(round(span.start, 6), round(span.end, 6)) for span in spans]


def _packed_peaks(voice: Voice) -> str:
    peaks = peaks_of(voice.track.ulaw)
    return packed(peaks.peak + peaks.rms)


def _packed_arrivals(story: Story) -> str:
    rows = [(one.at_ns // 1000, len(one.ulaw), one.sequence, one.chunk, one.timestamp) for one in story.arrivals]
    return packed_columns(rows, 5)


def _packed_sendings(story: Story) -> str:
    rows = [
        (
            one.at_ns // 1000,
            one.size,
            one.chunk,
            one.heard_at * _US_PER_SAMPLE,
            one.lead_before * _US_PER_SAMPLE,
            one.late_ns // 1000,
        )
        for one in story.sendings
    ]
    return packed_columns(rows, 6)
