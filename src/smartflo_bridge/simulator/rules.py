"""The rules of the wire for the far end: what each is called, what it allows, and where the protocol says so.

Values only. The line finds what is wrong with a single message (`Fault`), the referee all the rest; both become a
`Violation`. A rule's name is what `--allow` takes and what stands in the JSON, so it never changes its meaning.
"""

from enum import StrEnum

import msgspec

PROTOCOL_PAGE = "docs/protocol.md"


class Fault(StrEnum):
    """A rule that one message of the bridge broke, whatever came before and after it. Protocol, sections 1 to 4."""

    MALFORMED_MESSAGE = "malformed_message"
    BINARY_MESSAGE = "binary_message"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_STREAM_SID = "unknown_stream_sid"
    NOT_BASE64 = "not_base64"
    EMPTY_PAYLOAD = "empty_payload"
    MISALIGNED_PAYLOAD = "misaligned_payload"
    CHUNK_OUT_OF_ORDER = "chunk_out_of_order"
    SENT_BEFORE_START = "sent_before_start"
    SENT_AFTER_STOP = "sent_after_stop"
    BUFFER_OVERFLOW = "buffer_overflow"


class Rule(StrEnum):
    """Everything that the referee judges."""

    MALFORMED_MESSAGE = "malformed_message"
    BINARY_MESSAGE = "binary_message"
    OVERSIZED_MESSAGE = "oversized_message"
    BROKEN_WEBSOCKET = "broken_websocket"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_STREAM_SID = "unknown_stream_sid"
    SENT_BEFORE_START = "sent_before_start"
    SENT_AFTER_STOP = "sent_after_stop"
    NOT_BASE64 = "not_base64"
    EMPTY_PAYLOAD = "empty_payload"
    MISALIGNED_PAYLOAD = "misaligned_payload"
    CHUNK_OUT_OF_ORDER = "chunk_out_of_order"
    WAV_HEADER = "wav_header"
    PCM_AS_ULAW = "pcm_as_ulaw"
    WRONG_RATE = "wrong_rate"
    CLICK = "click"
    BUFFER_OVERFLOW = "buffer_overflow"
    BURST = "burst"
    GAP_0_MS = "gap_0_ms"
    GAP_60_MS = "gap_60_ms"
    GAP_200_MS = "gap_200_ms"
    MARK_NAME = "mark_name"
    MARK_REPEATED = "mark_repeated"
    MARK_OUT_OF_ORDER = "mark_out_of_order"
    MARK_MISSING = "mark_missing"
    STALE_AUDIO = "stale_audio"
    NO_ANSWER = "no_answer"
    NOT_CLOSED = "not_closed"
    CLOSE_CODE = "close_code"
    CONNECTION_LOST = "connection_lost"


_RULES: dict[Rule, tuple[str, str]] = {
    Rule.MALFORMED_MESSAGE: ("messages", "a message is one JSON object, with the members of its event"),
    Rule.BINARY_MESSAGE: ("messages", "messages are text: binary ones do not exist"),
    Rule.OVERSIZED_MESSAGE: ("messages", "a message has at most 1 MiB, as WebSocket libraries allow by default"),
    Rule.BROKEN_WEBSOCKET: ("messages", "the connection speaks WebSocket, RFC 6455"),
    Rule.UNKNOWN_EVENT: ("to-the-platform", "the events are media, mark and clear (and end, connected)"),
    Rule.UNKNOWN_STREAM_SID: ("to-the-platform", "each event names the stream with the streamSid of start"),
    Rule.SENT_BEFORE_START: ("the-order-of-things", "nothing but connected is said before start has come"),
    Rule.SENT_AFTER_STOP: ("the-order-of-things", "nothing is said after stop"),
    Rule.NOT_BASE64: ("to-the-platform", "a payload is strict base64: no foreign character, no line break, padded"),
    Rule.EMPTY_PAYLOAD: ("to-the-platform", "a payload is not empty"),
    Rule.MISALIGNED_PAYLOAD: ("to-the-platform", "a payload has n x 160 bytes; anything else is heard as gaps"),
    Rule.CHUNK_OUT_OF_ORDER: ("to-the-platform", "media events are numbered by chunk: 1, 2, 3"),
    Rule.WAV_HEADER: ("audio", "audio is bare mu-law: no WAV header"),
    Rule.PCM_AS_ULAW: ("audio", "audio is mu-law: 16-bit PCM is heard as noise"),
    Rule.WRONG_RATE: ("audio", "audio has 8000 samples a second; at another rate speech is too slow or too fast"),
    Rule.CLICK: ("audio", "padding is 0xFF: 0x00 and 0x80 are full scale and click"),
    Rule.BUFFER_OVERFLOW: ("audio", "what is sent ahead fits into a buffer"),
    Rule.BURST: ("audio", "audio is sent at most the platform's buffer ahead of real time"),
    Rule.GAP_0_MS: ("audio", "an utterance has no gap when it is played as it arrives"),
    Rule.GAP_60_MS: ("audio", "an utterance has no gap behind a jitter buffer of 60 ms"),
    Rule.GAP_200_MS: ("audio", "an utterance has no gap behind a jitter buffer of 200 ms"),
    Rule.MARK_NAME: ("to-the-platform", "a mark's name is short printable ASCII"),
    Rule.MARK_REPEATED: ("to-the-platform", "a mark's name is unique among those not yet echoed"),
    Rule.MARK_OUT_OF_ORDER: ("mark-and-clear", "numbered marks are placed in their order"),
    Rule.MARK_MISSING: ("mark-and-clear", "numbered marks are placed without a hole, except where a clear made one"),
    Rule.STALE_AUDIO: ("mark-and-clear", "nothing of an interrupted utterance is sent after its clear"),
    Rule.NO_ANSWER: ("the-order-of-things", "a call that is answered is spoken to"),
    Rule.NOT_CLOSED: ("the-order-of-things", "after stop the connection is closed"),
    Rule.CLOSE_CODE: ("the-order-of-things", "a call that went well is closed with 1000 (1001 when shutting down)"),
    Rule.CONNECTION_LOST: ("the-order-of-things", "a connection ends with a close frame"),
}


class Violation(msgspec.Struct, frozen=True):
    """The far end broke a rule.

    Attributes:
        at_seconds: when, on the call's axis.
        rule: which.
        detail: what exactly was wrong, in one sentence.
        message: the offending message, shortened; empty where no single one is to blame.
    """

    at_seconds: float
    rule: Rule
    detail: str
    message: str = ""

    @property
    def place(self) -> str:
        """Where the protocol page states the rule."""
        return place(self.rule)


def place(rule: Rule) -> str:
    """Return where the protocol page states a rule."""
    return f"{PROTOCOL_PAGE}#{_RULES[rule][0]}"


def wanted(rule: Rule) -> str:
    """Say what a rule allows."""
    return _RULES[rule][1]
