"""The page and the still picture of a call: what they hold, what they must not hold, and how large they are."""

import base64
import hashlib
import json
import re
import stat
import sys
import zlib
from array import array
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from made_captures import SID, MadeCall, conversation, loud
from smartflo_bridge.captures import stage, svg
from smartflo_bridge.captures.happenings import Kind, happenings
from smartflo_bridge.captures.lead import lead_columns
from smartflo_bridge.captures.masking import masked
from smartflo_bridge.captures.packing import BLOCK_SECONDS, packed_audio, packed_columns
from smartflo_bridge.captures.peaks import peaks_of
from smartflo_bridge.captures.raster import png_of
from smartflo_bridge.captures.report import page_of
from smartflo_bridge.captures.still import still_picture
from smartflo_bridge.captures.story import Story, tell_story
from smartflo_bridge.captures.summary import figures
from smartflo_bridge.captures.words import clock, length, printable, quantile
from smartflo_bridge.cli.main import main

CALLER = "+919812345678"
CALLED = "918045671234"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"


def story_of(call: MadeCall) -> Story:
    return tell_story(call.header(), call.records)


def page(story: Story, *, with_audio: bool = True) -> str:
    return "".join(page_of(story, with_audio=with_audio))


def small_call() -> MadeCall:
    """Make a call with one of everything: a turn, a barge-in, a key, marks, a clear."""
    call = MadeCall().start(**{"from": CALLER, "to": CALLED, "customParameters": {"tier": "gold"}})
    call.says(loud(1.0))
    call.until(1.7)
    call.plays(loud(2.0))
    call.marks("u1")
    call.until(2.5)
    call.says(loud(0.5))
    call.until(2.8)
    call.interrupts()
    call.until(4.0)
    call.presses("5")
    call.plays(loud(0.3))
    call.marks("u2")
    call.until(6.0)
    call.stop()
    return call


def answered_after(text: str) -> int:
    """Return the first latency in a text, in ms: small_call's is 700, give or take what a detector rounds."""
    found = re.search(r"(\d+) ms", text)
    assert found is not None, text
    return int(found[1])


class Elements(HTMLParser):
    """Lists a page's elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._script: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((self._script, data))
            self._script = None

    def data(self, name: str) -> str:
        """Return the text of the script with an id."""
        (text,) = (text for attributes, text in self.scripts if attributes.get("id") == name)
        return text

    def packed(self, name: str) -> bytes:
        """Return the bytes packed in the script with an id."""
        return zlib.decompress(base64.b64decode(self.data(name)), -15)


# --- The page


def test_the_page_is_one_file_that_asks_for_nothing() -> None:
    """No address but the namespace of SVG, no file, no import; and a policy that would not let it."""
    text = page(story_of(small_call()))
    elements = Elements(text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    links = [attributes for _, attributes in elements.tags if {"src", "href", "srcset", "action"} & attributes.keys()]
    assert links == [{"rel": "icon", "href": "data:,"}]
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket\(|\beval\(|innerHTML", text)
    (policy,) = (a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    (script,) = (data for attributes, data in elements.scripts if not attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_page_carries_the_call() -> None:
    """Every happening, both tracks' audio and peaks, and the numbers of each audio message."""
    story = story_of(small_call())
    elements = Elements(page(story))
    scene = json.loads(elements.data("story"))
    assert {one["kind"] for one in scene["happenings"]} == set(Kind) - {Kind.GAP, Kind.RULE}
    block = elements.packed("audio-0")
    assert block == story.caller.track.ulaw + story.us.track.ulaw
    assert len(elements.packed("us-peaks")) == 2 * -(-len(story.us.track.ulaw) // 160)
    columns = array("i", elements.packed("arrivals"))
    rows = len(story.arrivals)
    assert sum(columns[:rows]) == story.arrivals[-1].at_ns // 1000
    assert list(columns[2 * rows : 3 * rows][1:3]) == [1, 1]


def test_what_came_with_a_call_is_text_and_nothing_else() -> None:
    """Ids, numbers, parameters, mark names, digits, reasons, malformed and unknown messages: none becomes markup."""
    call = MadeCall()
    call.message({"event": EVIL})
    evil_start = {"callSid": EVIL, "from": EVIL, "to": EVIL, "direction": EVIL, "customParameters": {EVIL: EVIL}}
    call.start(**evil_start)
    call.receive(EVIL.encode())
    call.receive(b"\xff\xfe" + EVIL.encode())
    call.presses("<b>1")
    call.plays(loud(0.5))
    call.marks(EVIL)
    call.until(2.0)
    call.message({"event": "mark", "streamSid": SID, "mark": {"name": EVIL[:100]}})
    call.stop(EVIL)
    for story in (story_of(call), masked(story_of(call))):
        text = page(story)
        elements = Elements(text)
        assert text.count("</script>") == text.count("<script")
        assert sum(not attributes for attributes, _ in elements.scripts) == 1
        assert "img" not in {tag for tag, _ in elements.tags}
        assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
        scene = json.loads(elements.data("story"))
        assert any(one["label"].startswith("</script>") for one in scene["happenings"])
        picture = ET.fromstring(still_picture(story))  # well-formed, whatever the ids are
        assert not [one for one in picture.iter() if one.tag.endswith(("script", "img"))]


def test_a_hostile_call_makes_no_endless_page() -> None:
    """Marks and messages by the thousand, nesting without end, numbers without sense."""
    call = MadeCall().start()
    for number in range(7000):
        call.message({"event": "mark", "streamSid": SID, "mark": {"name": f"m{number}"}})
    call.receive(b'{"event":"surprise","x":' + b"[" * 1900 + b"]" * 1900 + b"}")
    call.receive(
        b'{"event":"media","streamSid":"MZ0a1","media":{"payload":"/////w==","chunk":9007199254740992,"timestamp":"x"}}'
    )
    call.message({"event": "unknown", "x": "y" * 100_000})
    call.stop()
    story = story_of(call)
    text = page(masked(story))
    assert story.broken["platform", "unknown_mark"] == 7000
    assert len(story.findings) == 22, "of each rule the first twenty are kept"
    assert text.count("<tr>") < 5100
    assert len(text) < 3_000_000


def test_the_page_of_a_call_without_audio_or_end_is_a_page() -> None:
    """Nothing but a connection; and a capture cut in the middle."""
    for call in (MadeCall(), MadeCall().start()):
        text = page(story_of(call))
        assert text.endswith("</html>\n")
        assert "the capture stops before the end" in text


def palettes() -> list[dict[str, str]]:
    """Return the style's colours by name: light, and dark."""
    style = resources.files("smartflo_bridge.captures").joinpath("page", "page.css").read_text(encoding="utf-8")
    return [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours: WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", palettes(), ids=["light", "dark"])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    """Every colour that text has stands out from everything that text stands on."""
    for name in ("ink", "muted", "caller", "us", "turn", "barge-in", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for ground in ("page", "shade"):
        assert contrast(colours["muted"], colours[ground]) >= 4.5, ground
    assert contrast(colours["paper"], colours["caller"]) >= 4.5


def test_the_still_picture_has_the_pages_light_colours() -> None:
    """One palette, written down twice because one of the two is Python."""
    light, _ = palettes()
    for name in ("paper", "ink", "muted", "line", "shade", "caller", "us", "turn", "barge-in", "bad"):
        assert getattr(svg, name.upper().replace("-", "_")) == light[name], name
    for name in ("caller-soft", "us-soft", "turn-soft", "barge-in-soft"):
        assert getattr(svg, name.upper().replace("-", "_")) == light[name], name


# --- What is masked


def test_numbers_are_masked_unless_asked_for() -> None:
    """Nowhere in the page is a number of the call, in any form; an option shows them."""
    call = small_call()
    story = story_of(call)
    hidden = page(masked(story), with_audio=False) + still_picture(masked(story))
    for number in (CALLER, CALLER[1:], CALLER[3:], CALLED, CALLED[2:]):
        assert number not in hidden
    assert "Call from \u2022\u2022\u2022\u202278 to \u2022\u2022\u2022\u202234" in hidden
    assert CALLER in page(story, with_audio=False)


def test_a_number_is_masked_wherever_it_stands() -> None:
    """In parameters, reasons, mark names and messages of no known kind; ids and counters stay what they are."""
    call = MadeCall().start(**{"from": CALLER, "customParameters": {"callback": "(022) 4567-8901", "tier": "gold"}})
    call.marks("to 9812345678")
    call.message(
        {"event": "surprise", "streamSid": SID, "who": {"number": 2245678901, "list": ["tel:+91 98123 45678"]}}
    )
    call.receive(b"tel 2245678901 {")
    call.until(0.5)
    call.stop("transferred to 9812345678")
    story = masked(story_of(call))
    text = page(story, with_audio=False)
    for number in ("9812345678", "2245678901", "4567-8901", "98123 45678"):
        assert number not in text
    assert story.parties.parameters["tier"] == "gold"
    assert story.parties.call_sid == "1.2"
    assert '"sequenceNumber":"1"' in story.said[1].text


def test_keys_in_a_row_are_an_entry_and_masked() -> None:
    """Four digits of a PIN are not shown; the one digit of a menu is."""
    call = MadeCall().start()
    call.presses("1")
    for digit in "4711":
        call.until(call.now + 5 if digit == "4" else call.now + 0.4)
        call.presses(digit)
    call.until(20)
    call.presses("#")
    call.stop()
    story = masked(story_of(call))
    assert [key.digit for key in story.keys] == ["1", "\u2022", "\u2022", "\u2022", "\u2022", "#"]
    assert not [said for said in story.said if '"digit":"7"' in said.text]


# --- Figures and words


def test_the_figures_say_how_the_call_went() -> None:
    """Duration, ending, turns, barge-ins, sending, rules: one line each, and what went wrong is marked as bad."""
    told = {figure.name: figure for figure in figures(story_of(small_call()))}
    assert told["Duration"].value == "6.00 s"
    assert (told["Ended"].value, told["Ended"].is_bad) == ("completed", False)
    assert answered_after(told["Answer after"].value) == pytest.approx(700, abs=20)
    assert told["Barge-ins"].value == "1"
    assert told["Rules broken"].value == "none"
    faulty = small_call()
    for text in (b"?", b"?", b'{"event":"surprise"}'):
        faulty.receive(text)
    faulty.send(b"{}")
    rules = next(figure for figure in figures(story_of(faulty)) if figure.name == "Rules broken")
    detail = "by us: malformed message; by the platform: malformed (2 times), unknown event"
    assert (rules.value, rules.detail, rules.is_bad) == ("3", detail, True)
    late = MadeCall().start()
    late.plays(loud(2.0))
    late.until(0.5)
    late.now = 1.5
    late.receive(b"?")
    late.until(2.0)
    bad = [figure.name for figure in figures(story_of(late)) if figure.is_bad]
    assert bad == ["Ended", "Our audio", "Rules broken"]


def test_a_quantile_is_a_value_that_was() -> None:
    """The median of an even number is the lower one; the 95th of twenty the nineteenth."""
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile([float(one) for one in range(1, 21)], 0.95) == 19.0
    assert quantile([7.0], 0.95) == 7.0


def test_times_and_lengths_in_words() -> None:
    """Rounded, and never rounded up into another unit's place."""
    assert [clock(one) for one in (0, 59.96, 61.25, 3661)] == ["0:00.0", "1:00.0", "1:01.2", "1:01:01.0"]
    assert clock(7.3456, 3) == "0:07.346"
    assert [length(one) for one in (0.0004, 0.045, 0.9996, 9.99, 65, 3600)] == [
        "0.4 ms",
        "45 ms",
        "1.00 s",
        "9.99 s",
        "1 min 5 s",
        "1 h 0 min",
    ]


def test_text_that_hides_or_turns_shows_its_codes() -> None:
    """A right-to-left override, a line break and a zero byte are no way to make a name look like another."""
    assert printable("a\u202eb\n\0c") == "a\\u{202e}b\\u{a}\\u{0}c"
    assert printable("x" * 100, 10) == "x" * 9 + "\u2026"


def test_happenings_stand_in_their_order() -> None:
    """By time, each with a sentence."""
    everything = happenings(story_of(small_call()))
    assert [one.start for one in everything] == sorted(one.start for one in everything)
    (turn,) = (one.text for one in everything if one.kind is Kind.TURN)
    assert re.fullmatch(r"We answered \d+ ms after the caller fell silent", turn)
    assert answered_after(turn) == pytest.approx(700, abs=20)


# --- The waveform, the lead, the packing


def test_peaks_are_one_byte_a_frame() -> None:
    """Silence is 0, full scale 255; a column of many frames has the highest peak and the mean RMS."""
    peaks = peaks_of(b"\xff" * 160 + b"\x00" * 160 + b"\xff" * 10)
    assert list(peaks.peak) == [0, 252, 0]
    reduced = peaks.reduced(1)
    assert (reduced.peak[0], reduced.rms[0]) == (252, 252 // 3)


def test_the_lead_falls_with_time_and_jumps_with_each_message() -> None:
    """At 200 ms of lead and 100 ms a message it stays between the two."""
    call = MadeCall().start()
    call.plays(loud(3.0))
    call.until(4.0)
    call.stop()
    columns = lead_columns(story_of(call), 400)
    steady = columns[50:250]
    assert min(one.low for one in steady) == pytest.approx(0.1, abs=0.005)
    assert max(one.high for one in steady) == pytest.approx(0.2, abs=0.005)
    assert columns[350].high == 0


def test_columns_are_differences() -> None:
    """Whole numbers come back by adding; one that is absurd changes nothing else."""
    packed = zlib.decompress(base64.b64decode(packed_columns([(5, 1), (7, 2**60), (6, 3)], 2)), -15)
    assert list(array("i", packed)) == [5, 2, -1, 1, 0, 2]


def test_audio_is_packed_in_blocks_of_both_sides() -> None:
    """Each block holds the one side, then the other; the last is as long as what is left."""
    caller, us = loud(BLOCK_SECONDS + 1), b"\xff" * (8000 * (BLOCK_SECONDS + 1))
    blocks = [zlib.decompress(base64.b64decode(block), -15) for block in packed_audio(caller, us)]
    assert [len(block) for block in blocks] == [160_000, 16_000]
    assert blocks[1] == caller[80_000:] + us[80_000:]


def test_a_page_grows_with_its_audio_and_little_else() -> None:
    """A minute of conversation on a noisy line: below 0.8 MB with audio, a quarter without."""
    story = story_of(conversation(60))
    assert len(page(story)) < 800_000
    assert len(page(story, with_audio=False)) < 200_000
    assert len(still_picture(story)) < 120_000


# --- The command


def test_the_command_writes_a_png(tmp_path: Path) -> None:
    """The still picture, twice as fine as its units, with its words; only its owner may read it."""
    pytest.importorskip("resvg_py", reason="the extra smartflo-bridge[png] is not installed")
    capture, png = small_call().write(tmp_path / "call.capture.jsonl"), tmp_path / "call.png"
    result = CliRunner().invoke(main, ["report", str(capture), "--png", str(png)])
    assert result.exit_code == 0, result.output
    written = png.read_bytes()
    assert written[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(written[16:20], "big") == 2 * stage.WIDTH
    assert png.stat().st_mode & 0o077 == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["call.capture.jsonl", "call.png"]
    without_words = re.sub(r"<text.*?</text>", "", still_picture(masked(story_of(small_call()))))
    assert written != png_of(without_words)


def test_a_png_without_what_it_needs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named; and without a font a picture without words is not taken for one."""
    capture = str(small_call().write(tmp_path / "call.capture.jsonl"))
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    result = CliRunner().invoke(main, ["report", capture, "--png", str(tmp_path / "call.png")])
    assert (result.exit_code, result.output.count("smartflo-bridge[png]")) == (2, 1)
    fontless = SimpleNamespace(svg_to_bytes=lambda svg_string, **_: re.sub(r"<text.*?</text>", "", svg_string).encode())
    monkeypatch.setitem(sys.modules, "resvg_py", fontless)
    result = CliRunner().invoke(main, ["report", capture, "--png", str(tmp_path / "call.png")])
    assert result.exit_code == 2
    assert "no font" in result.output
    assert not (tmp_path / "call.png").exists()


def test_the_command_writes_a_page_and_a_picture(tmp_path: Path) -> None:
    """Both where it is told, for its owner's eyes, and the figures on the terminal."""
    capture = small_call().write(tmp_path / "a.capture.jsonl")
    out, svg = tmp_path / "call.html", tmp_path / "call.svg"
    result = CliRunner().invoke(main, ["report", str(capture), "-o", str(out), "--svg", str(svg)])
    assert result.exit_code == 0, result.output
    assert answered_after(result.output.partition("Answer after")[2]) == pytest.approx(700, abs=20)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert ET.fromstring(svg.read_text(encoding="utf-8")).tag.endswith("svg")
    assert "98123" not in out.read_text(encoding="utf-8")


def test_without_a_name_the_page_lies_beside_its_capture(tmp_path: Path) -> None:
    """And the options reach it: no audio, numbers shown."""
    capture = small_call().write(tmp_path / "a.capture.jsonl")
    result = CliRunner().invoke(main, ["report", str(capture), "--no-audio", "--show-numbers"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "audio-0" not in text
    assert CALLER in text


def test_what_cannot_be_read_or_written_is_one_sentence(tmp_path: Path) -> None:
    """No capture, and no place to write to: exit codes 1 and 2."""
    (tmp_path / "no.jsonl").write_text("nothing\n")
    result = CliRunner().invoke(main, ["report", str(tmp_path / "no.jsonl")])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    capture = small_call().write(tmp_path / "a.capture.jsonl")
    result = CliRunner().invoke(main, ["report", str(capture), "-o", str(tmp_path / "none" / "call.html")])
    assert result.exit_code == 2
    assert "No such file or directory" in result.output
