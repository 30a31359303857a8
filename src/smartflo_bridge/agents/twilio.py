"""Twilio's Media Streams, with us in Twilio's place: a bot that was written for them runs unchanged.

We connect as Twilio does, say `connected` and `start`, and send the caller's audio in messages of one frame. The bot's
`media` may have any length: the session cuts it, paces it and counts it, so that Smartflo's rules are met in between. A
mark is returned when the caller has heard what was sent before it; a `clear` returns all of them at once.

Source: twilio.com/docs/voice/media-streams/websocket-messages, and for the signature twilio.com/docs/usage/security.
"""

import base64
import hashlib
import hmac
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from smartflo_bridge.agents.dialect import Dialect, Endpoint, Opening
from smartflo_bridge.agents.events import MALFORMED, BargeIn, Ignored, LegEvent, MarkAsked, Speech
from smartflo_bridge.agents.message import DECODE_ERRORS, Message, names_another, to_text
from smartflo_bridge.agents.settings import KeySettings, WebSocketUrl
from smartflo_bridge.core.audio import BYTES_PER_MS, FRAME_BYTES

_SID = re.compile(r"(AC|CA|MZ)[0-9a-f]{32}")


class TwilioSettings(KeySettings, frozen=True, kw_only=True):
    """The keys of `kind = "twilio"`.

    Attributes:
        url: of the bot, as it would stand in TwiML's `<Stream url="...">`.
        key_file: Twilio's auth token, for a bot that checks `X-Twilio-Signature`; empty sends none.
    """

    url: WebSocketUrl


class _Media(msgspec.Struct, frozen=True):
    payload: bytes


class _MediaMessage(msgspec.Struct, frozen=True, tag_field="event", tag="media"):
    media: _Media


class _Mark(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(max_length=1024)]


class _MarkMessage(msgspec.Struct, frozen=True, tag_field="event", tag="mark"):
    mark: _Mark


class _ClearMessage(msgspec.Struct, frozen=True, tag_field="event", tag="clear"):
    pass


_decoder: msgspec.json.Decoder[_MediaMessage | _MarkMessage | _ClearMessage] = msgspec.json.Decoder(
    _MediaMessage | _MarkMessage | _ClearMessage
)


class TwilioDialect(Dialect):
    """One stream, as Twilio would send it."""

    awaits_ready = False

    def __init__(self, settings: TwilioSettings, opening: Opening) -> None:
        facts = opening.facts
        self._url = settings.url
        self._token = opening.key
        self._stream_sid = sid("MZ", facts.stream_sid)
        self._call_sid = sid("CA", facts.call_sid or facts.stream_sid)
        self._account_sid = sid("AC", facts.account_sid or "smartflo")
        numbers = {"from": facts.from_number, "to": facts.to_number}
        self._parameters = {name: value for name, value in numbers.items() if value} | facts.custom_parameters
        self._sequence = 0
        self._sent_bytes = 0
        self._rest = b""

    def endpoint(self, answer: bytes | None) -> Endpoint:
        """Return the bot's address, with Twilio's signature where there is a token."""
        assert answer is None
        headers = {"X-Twilio-Signature": signature(self._token, self._url)} if self._token else {}
        return Endpoint(self._url, headers)

    def opening(self) -> list[Message]:
        """Say `connected` and `start`."""
        start = {
            "accountSid": self._account_sid,
            "streamSid": self._stream_sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": self._parameters,
        }
        return [to_text({"event": "connected", "protocol": "Call", "version": "1.0.0"}), self._event("start", start)]

    def receive(self, message: Message) -> list[LegEvent]:
        """Take `media`, `mark` and `clear`; Twilio knows nothing else."""
        try:
            event = _decoder.decode(message)
        except DECODE_ERRORS:
            return [Ignored("unknown" if names_another(message, "event", "media", "mark", "clear") else MALFORMED)]
        match event:
            case _MediaMessage(media=media):
                return [Speech(media.payload)]
            case _MarkMessage(mark=mark):
                return [MarkAsked(mark.name)]
            case _ClearMessage():
                return [BargeIn()]

    def hear(self, audio: bytes) -> list[Message]:
        """Send the caller's audio by frames, as Twilio does, whatever the length that the platform sends."""
        self._rest += audio
        whole = len(self._rest) // FRAME_BYTES * FRAME_BYTES
        frames, self._rest = self._rest[:whole], self._rest[whole:]
        return [self._media(frames[at : at + FRAME_BYTES]) for at in range(0, whole, FRAME_BYTES)]

    def press(self, digit: str) -> list[Message]:
        """Send a key."""
        return [self._event("dtmf", {"track": "inbound_track", "digit": digit})]

    def reach(self, name: str, *, was_played: bool) -> list[Message]:
        """Return a mark: Twilio does so both when it was played and when it was cleared, without a difference."""
        del was_played
        return [self._event("mark", {"name": name})]

    def end(self) -> list[Message]:
        """Say `stop`."""
        return [self._event("stop", {"accountSid": self._account_sid, "callSid": self._call_sid})]

    def _media(self, frame: bytes) -> Message:
        chunk = self._sent_bytes // FRAME_BYTES + 1
        timestamp = self._sent_bytes // BYTES_PER_MS
        self._sent_bytes += FRAME_BYTES
        return self._event(
            "media", {"track": "inbound", "chunk": str(chunk), "timestamp": str(timestamp), "payload": frame}
        )

    def _event(self, name: str, members: dict[str, Any]) -> Message:
        self._sequence += 1
        return to_text(
            {"event": name, "sequenceNumber": str(self._sequence), name: members, "streamSid": self._stream_sid}
        )


def sid(prefix: str, name: str) -> str:
    """Return an id as Twilio's are, of two letters and 32 hexadecimal digits: the platform's own, or one made of it."""
    if name.startswith(prefix) and _SID.fullmatch(name):
        return name
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:32]


def signature(token: str, url: str) -> str:
    """Return what Twilio sends as `X-Twilio-Signature` when it opens a WebSocket: HMAC-SHA1 of the URL."""
    return base64.b64encode(hmac.new(token.encode(), url.encode(), hashlib.sha1).digest()).decode()
