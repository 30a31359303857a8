"""The quick reference does what it says: one test for each section that has blocks, and it runs all of them.

Handlers are served by the real daemon to simulated calls. A section without a test, or a block that its test leaves,
fails here.
"""

import asyncio
import audioop
import wave

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from docs.support import NOT_RUN, Topic, blocks_of, call, daemon, running, sections_without_test
from smartflo_bridge import UnknownEvent, parse_incoming_event, ulaw_to_pcm
from smartflo_bridge.config import config_from
from smartflo_bridge.core.outgoing import OutgoingEvent
from smartflo_bridge.handlers.ivr import prompt
from smartflo_bridge.simulator.loudness import speech_seconds
from smartflo_bridge.simulator.mix import built_in_voice
from smartflo_bridge.simulator.plan import Press, Speak
from smartflo_bridge.simulator.progress import EndedBy
from smartflo_bridge.simulator.report import CallReport

DOCUMENT = "docs/quick-reference.md"
BLOCKS = blocks_of(DOCUMENT)


def test_every_section_with_blocks_has_a_test() -> None:
    """None can be added without one, and none of them is on the list of those that do not run."""
    assert sections_without_test(BLOCKS, globals()) == set()
    assert not any(document == DOCUMENT for document, _, _ in NOT_RUN)


def test_start_the_server(topic: Topic) -> None:
    """The command serves, a call to it goes as shown, the configuration is accepted, and check-config prints it."""
    (topic.folder / "smartflo.toml").write_text("port = 0\nhealth-port = 0\n")
    with running(topic.take("sh").text, topic.folder) as served:
        topic.in_log(served)
        topic.run_console(served)
    with wave.open(str(topic.folder / "call.wav")) as heard:
        assert heard.getnchannels() == 2
    keys = topic.config()
    assert config_from(keys).handler == "echo"
    assert 'handler = "ivr"' in topic.run_shell()


def test_events_in_and_out(topic: Topic) -> None:
    """Each example is an event that the parser knows, or one that we can send, and there is one of each kind."""
    incoming = [parse_incoming_event(text) for text in topic.messages()]
    assert not any(isinstance(event, UnknownEvent) for event in incoming)
    assert len({type(event) for event in incoming}) == len(incoming) == 6
    written = topic.messages()
    outgoing = [msgspec.json.decode(text, type=OutgoingEvent) for text in written]
    assert [msgspec.json.encode(event) for event in outgoing] == written
    assert len({type(event) for event in outgoing}) == 5
    assert len(outgoing[0].media.payload) == 160


def test_parse_an_incoming_event(topic: Topic) -> None:
    """It prints what it says."""
    topic.run_python()


def test_build_an_outgoing_event(topic: Topic) -> None:
    """It prints what it says."""
    topic.run_python()


def test_the_codec(topic: Topic) -> None:
    """It prints what it says."""
    topic.run_python()


def test_a_handler_of_your_own(topic: Topic) -> None:
    """It greets until a key comes, says that back, listens, and hangs up after its goodbye."""
    with topic.handler() as served:
        report = call(served, Press(0.3, "7"), Press(1.9, "9"), linger_seconds=15.0)
    assert report.ended_by is EndedBy.BRIDGE
    assert heard(report, prompt("playback") + prompt("number-7"))
    assert heard(report, prompt("goodbye"))
    assert config_from(topic.config()).handler == "answer:answer"


def test_sessions_the_live_calls(topic: Topic) -> None:
    """The handler finds its call, its buffer of recent audio and its counters; a connection gone silent is cleaned up."""
    with topic.handler() as served:
        report = call(served, Press(1.15, "5"), linger_seconds=5.0)
    assert report.ended_by is EndedBy.BRIDGE
    keys = topic.config()
    assert config_from(keys).idle_seconds == 60.0
    with daemon(topic.folder, handler="silence", start_deadline_seconds=0.3, idle_seconds=0.3) as served:
        assert asyncio.run(close_of_a_silent_connection(served.url, starts=False)) == 1008
        assert asyncio.run(close_of_a_silent_connection(served.url, starts=True)) == 1001


def test_send_media_mark_clear(topic: Topic) -> None:
    """A key clears the menu and discards its mark; the goodbye is heard before the call is hung up."""
    with topic.handler() as served:
        report = call(served, Press(1.0, "1"), linger_seconds=15.0)
    assert (report.counts.clears, report.counts.dropped_bytes > 0) == (1, True)
    assert report.ended_by is EndedBy.BRIDGE
    assert heard(report, prompt("goodbye"))


def test_custom_audio_processing(topic: Topic) -> None:
    """After a second of the caller's voice the answer of the second hook is heard: two whistles."""
    with topic.handler() as served:
        report = call(served, Speak(0.0, built_in_voice()[:9600]), linger_seconds=0.7)
    assert [pitch_hz(report, at) for at in (0.10, 0.35)] == [pytest.approx(440, abs=15), pytest.approx(660, abs=15)]


def test_an_ivr_menu_with_a_router(topic: Topic) -> None:
    """A wrong key, a choice whose mark is played, and the way out, each heard; on_stop runs at the end."""
    with topic.handler() as served:
        report = call(served, Press(0.3, "#"), Press(0.5, "1"), Press(2.2, "9"), linger_seconds=0.6)
    assert report.counts.clears == 3
    assert heard(report, prompt("playback") + prompt("number-1"))
    assert heard(report, prompt("goodbye")[:2400])


def test_an_ivr_menu_in_sequence(topic: Topic) -> None:
    """Two keys and the terminator stop the speech, and are said back before the goodbye."""
    with topic.handler() as served:
        report = call(served, Press(0.5, "4"), Press(0.7, "2"), Press(0.9, "#"), linger_seconds=1.7)
    assert report.counts.clears == 1
    assert heard(report, prompt("number-4") + prompt("number-2") + prompt("goodbye")[:1600])


def test_an_audio_response_play_a_wav_file(topic: Topic) -> None:
    """What is in the two files is what the caller hears, sample by sample."""
    voice, other = built_in_voice()[8000:14400], built_in_voice()[16000:20000]
    with wave.open(str(topic.folder / "answer.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(ulaw_to_pcm(voice))
    (topic.folder / "answer.ulaw").write_bytes(other)
    with topic.handler() as served:
        report = call(served, linger_seconds=15.0)
    assert heard(report, voice + other)


def test_a_mark_after_playback(topic: Topic) -> None:
    """The mark is played when the caller has heard the whole prompt."""
    with topic.handler() as served:
        report = call(served, linger_seconds=15.0)
    assert report.counts.marks_echoed == 1
    assert heard(report, prompt("still-there"))


def test_other_sample_rates(topic: Topic) -> None:
    """A second of 24 kHz is a second of the same pitch for the caller."""
    with topic.handler() as served:
        report = call(served, linger_seconds=15.0)
    assert pitch_hz(report, 0.5) == pytest.approx(440, abs=5)


def test_middleware(topic: Topic) -> None:
    """A call without an order is turned away, one with an order is greeted, and both are measured."""
    with topic.handler(calls=2) as served:
        welcome = call(served, custom_parameters={"order": "4711"}, linger_seconds=0.5)
        refused = call(served, linger_seconds=15.0)
    assert welcome.ended_by is EndedBy.CALLER
    assert heard(welcome, prompt("greeting")[:2400])
    assert refused.ended_by is EndedBy.BRIDGE
    assert heard(refused, prompt("invalid"))


def test_token_authentication(topic: Topic) -> None:
    """The token that the command makes opens the stream by path and by query; without it the call is refused."""
    topic.run_shell()
    assert (topic.folder / "stream.token").stat().st_mode & 0o077 == 0
    keys = {name.replace("-", "_"): value for name, value in topic.config().items()}
    with daemon(topic.folder, **keys) as served:
        topic.run_console(served)
        assert (topic.folder / "stream.token").read_text().strip() not in served.said()


def test_monitoring(topic: Topic) -> None:
    """The probe and the health request find a daemon that takes calls, and a call ends with the line shown."""
    topic.needs("curl")
    with daemon(topic.folder) as served:
        report = call(served, Press(1.0, "9"), linger_seconds=15.0)
        assert report.ended_by is EndedBy.BRIDGE
        topic.run_shell(served)
        topic.run_console(served)
        topic.in_log(served)


def test_captures_and_replay(topic: Topic) -> None:
    """A call is captured, its events are counted by jq, and the replay is answered as the call was."""
    topic.needs("jq")
    with daemon(topic.folder, **{name.replace("-", "_"): value for name, value in topic.config().items()}) as served:
        said = topic.run_shell(served)
        assert " 1 start\n" in said
        assert "captured" in said
    with daemon(topic.folder, **{name.replace("-", "_"): value for name, value in topic.config().items()}) as served:
        call(served, linger_seconds=0.5)
    assert [file.suffix for file in (topic.folder / "recordings").iterdir()] == [".wav"]


# --- What was heard


def heard(report: CallReport, ulaw: bytes) -> bool:
    """True if the caller heard this audio, whole and in order, whatever pauses a busy machine made."""
    return without_silence(ulaw) in without_silence(report.heard)


def without_silence(ulaw: bytes) -> bytes:
    """Return the audio without its perfectly silent samples."""
    return ulaw.replace(b"\xff", b"")


def pitch_hz(report: CallReport, after_seconds: float) -> float:
    """Return the pitch of a tone in the 100 ms that begin so long after the first sound, by its crossings of zero."""
    began = next(at for at in range(0, len(report.heard), 160) if speech_seconds(report.heard[at : at + 160]))
    at = began + round(after_seconds * 8000)
    return audioop.cross(ulaw_to_pcm(report.heard[at : at + 800]), 2) / 2 / 0.1


async def close_of_a_silent_connection(url: str, *, starts: bool) -> int | None:
    """Connect, say `start` or nothing at all, and return the close code that follows."""
    start = '{"event":"start","streamSid":"MZ0a1","start":{"callSid":"1758000000.4242"}}'
    async with connect(url) as connection:
        if starts:
            await connection.send(start)
        try:
            async with asyncio.timeout(10):
                while True:
                    await connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
