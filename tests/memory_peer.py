"""A peer in memory, and the platform behind it: what the shell of a call talks to where there is no connection.

`MemoryPeer` is the connection: tests push messages and read what was sent. `Platform` is Smartflo at its far end: it
numbers its messages, talks at its cadence, and echoes marks on the virtual clock, as the simulator's line plays them.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from smartflo_bridge.calls.inbox import Inbox
from smartflo_bridge.core.signals import PeerLost
from smartflo_bridge.simulator.line import Line
from smartflo_bridge.simulator.progress import EndAsked, LineProgress, MarkEchoed

SID = "MZ0a1"
CALL_SID = "1758000000.4242"
CALLER, CALLED = "919800000001", "918000000099"

CADENCE_BYTES = 800
"""What the platform puts into one message: 100 ms."""


class Sent(NamedTuple):
    """A message of the bridge, and when it came, in seconds since the peer was made."""

    at_seconds: float
    text: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The message, decoded."""
        return json.loads(self.text)

    @property
    def audio(self) -> bytes:
        """The mu-law that it carries; nothing for anything but media."""
        event = self.event
        return _audio_of(event) if event["event"] == "media" else b""

    def __str__(self) -> str:
        """Say the message in a few words, for a transcript."""
        event = self.event
        match event["event"]:
            case "media":
                return f"media {event['media']['chunk']}: {len(_audio_of(event))}"
            case "mark":
                return f"mark {event['mark']['name']}"
            case name:
                return name


def _audio_of(media: dict[str, Any]) -> bytes:
    return base64.b64decode(media["media"]["payload"])


class MemoryPeer:
    """A connection in memory: see `calls.peer`.

    Unrealistic: no latency, messages arrive whole and at once, it takes whatever is sent and never cuts a bridge that
    sends too much, and the far end answers a close in exactly `close_seconds`. Stricter than the real one: a message
    after our close, a second close and a second reader are errors of the test.
    """

    def __init__(self, *, close_seconds: float = 0.0) -> None:
        self.sent: list[Sent] = []
        self.writes = 0
        self.closed: tuple[int, str] | None = None
        self.closed_at_seconds: float | None = None
        self.on_send: Callable[[bytes], None] | None = None
        self._close_seconds = close_seconds
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._incoming: deque[bytes | PeerLost] = deque()
        self._inbox: Inbox | None = None
        self._is_lost = False
        self._flush_is_coming = False

    # --- For the actor

    def listen(self, inbox: Inbox) -> None:
        """Put what was pushed, and what will be, into the inbox."""
        assert self._inbox is None, "two listen to one peer"
        self._inbox = inbox
        self._deliver()

    def send(self, *texts: bytes) -> None:
        """Keep messages of the bridge, and show them to the platform."""
        self.writes += 1
        for text in texts:
            assert self.closed is None, "sent after the close"
            self.sent.append(Sent(self.seconds, text))
            if self.on_send is not None:
                self.on_send(text)

    async def close(self, code: int, reason: str) -> None:
        """Keep the code; the far end answers in its time."""
        assert self.closed is None, "closed twice"
        self.closed, self.closed_at_seconds = (code, reason), self.seconds
        if self._close_seconds:
            await asyncio.sleep(self._close_seconds)
        self.lose(code, reason)

    # --- For the test

    @property
    def seconds(self) -> float:
        """The time since the connection was made."""
        return self._loop.time() - self._began

    @property
    def transcript(self) -> list[str]:
        """What the bridge sent, a few words each."""
        return [str(sent) for sent in self.sent]

    @property
    def audio(self) -> bytes:
        """All audio that the bridge sent, heard or cleared."""
        return b"".join(sent.audio for sent in self.sent)

    def push(self, text: bytes) -> None:
        """Let a message arrive."""
        self._arrive(text)

    def say(self, event: str, **members: object) -> None:
        """Let an event arrive."""
        self.push(json.dumps({"event": event, **members}).encode())

    def lose(self, code: int | None = None, reason: str = "") -> None:
        """Let the connection be gone: closed with a code, or just dead."""
        if not self._is_lost:
            self._is_lost = True
            self._arrive(PeerLost(code, reason))

    def _arrive(self, item: bytes | PeerLost) -> None:
        self._incoming.append(item)
        self._deliver()

    def _deliver(self) -> None:
        """Hand over what has come, until the inbox wants no more for now."""
        while self._incoming and self._inbox is not None:
            item = self._incoming.popleft()
            if isinstance(item, PeerLost):
                self._inbox.put(item)
                continue
            if not self._flush_is_coming:  # what is pushed in one turn of the loop is read at once
                self._flush_is_coming = True
                self._loop.call_soon(self._flush)
            if not self._inbox.accept(item, self._deliver):
                return

    def _flush(self) -> None:
        self._flush_is_coming = False
        if self._inbox is not None:
            self._inbox.flush()


class Platform:
    """Smartflo at the far end of a peer, with its playout clock and the caller behind it.

    Unrealistic: nothing is ever late, it does not hang up by itself, and the caller hears a sound when it arrives.
    `answers_end` lets it do what was seen of the platform: `end` is answered with a `stop`.
    """

    def __init__(
        self, peer: MemoryPeer, sid: str = SID, *, echoes_marks: bool = True, answers_end: bool = True
    ) -> None:
        self.peer = peer
        self.sid = sid
        self.line = Line(sid)
        self.echoed: list[str] = []
        self.echoes_marks = echoes_marks
        self._answers_end = answers_end
        self._sequence = 0
        self._chunk = 0
        self._started_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        peer.on_send = self._take

    @property
    def seconds(self) -> float:
        """The time since `start`."""
        return self.peer.seconds - self._started_at

    def heard(self, start_seconds: float = 0.0, end_seconds: float | None = None) -> bytes:
        """Return what the caller heard, silence where nothing was played."""
        self._told(self.line.advance(self.seconds))
        return self.line.heard(start_seconds, self.seconds if end_seconds is None else end_seconds)

    def start(self, **details: object) -> None:
        """Say `connected` and `start`, as documented."""
        self.peer.say("connected")
        self._started_at = self.peer.seconds
        known = {"accountSid": "AC77", "streamSid": self.sid, "callSid": CALL_SID, "from": CALLER, "to": CALLED}
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8}
        self._say("start", start={**known, "direction": "inbound", "mediaFormat": media_format, **details})

    def speak(self, ulaw: bytes) -> None:
        """Send one media event."""
        self._chunk += 1
        timestamp = str(round(self.seconds * 1000))
        payload = base64.b64encode(ulaw).decode()
        self._say("media", media={"chunk": str(self._chunk), "timestamp": timestamp, "payload": payload})

    async def talk(self, ulaw: bytes, cadence_bytes: int = CADENCE_BYTES) -> None:
        """Send audio at the platform's cadence: each piece when it has been spoken."""
        began = self.peer.seconds
        for at in range(0, len(ulaw), cadence_bytes):
            piece = ulaw[at : at + cadence_bytes]
            await asyncio.sleep(began + (at + len(piece)) / 8000 - self.peer.seconds)
            self.speak(piece)

    def press(self, *digits: str) -> None:
        """Press keys."""
        for digit in digits:
            self._say("dtmf", dtmf={"digit": digit})

    def echo(self, name: str) -> None:
        """Echo a mark, whether it was reached or not."""
        self.echoed.append(name)
        self._say("mark", mark={"name": name})

    def stop(self, reason: str = "caller ended the call") -> None:
        """Say `stop`, which is not followed by a close: that is ours to do."""
        self.line.stop(self.seconds)
        self._say("stop", stop={"accountSid": "AC77", "callSid": CALL_SID, "reason": reason})

    def _say(self, event: str, **members: object) -> None:
        self._sequence += 1
        self.peer.say(event, sequenceNumber=str(self._sequence), streamSid=self.sid, **members)

    def _take(self, text: bytes) -> None:
        self._told(self.line.handle(text, self.seconds))

    def _advance(self) -> None:
        self._timer = None
        self._told(self.line.advance(self.seconds))

    def _told(self, progress: list[LineProgress]) -> None:
        for item in progress:
            if isinstance(item, MarkEchoed) and self.echoes_marks:
                self.echo(item.name)
            elif isinstance(item, EndAsked) and self._answers_end:
                self.stop("call ended")
        if self._timer is not None:
            self._timer.cancel()
        due, loop = self.line.deadline, asyncio.get_running_loop()
        self._timer = None if due is None else loop.call_later(max(due - self.seconds, 0.0), self._advance)
