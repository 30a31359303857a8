"""Anonymised captures: the same call, of nobody. Numbers, ids, keys and words are replaced, audio too if it is wanted.

What is not known to be harmless is replaced: of the platform's messages, only what the protocol gives a closed meaning
stays. Times stay, so the capture still folds: an input is still that input, and what the session said is still what it
says. Where it was not, the difference stays as well. Nothing here opens a file; the command does.
"""

import binascii
from collections.abc import Iterable, Iterator

import msgspec

from smartflo_bridge.captures.fold import Replay, difference_at_end, input_in
from smartflo_bridge.captures.format import CaptureError, Header, Record, end_record, given_record, message_record
from smartflo_bridge.captures.json_text import Path, rewrite
from smartflo_bridge.captures.noise import noise_like
from smartflo_bridge.captures.pseudonyms import Pseudonyms
from smartflo_bridge.core.audio import ulaw_from_base64
from smartflo_bridge.core.commands import Command, PlaceMark, Play
from smartflo_bridge.core.errors import ProtocolError
from smartflo_bridge.core.incoming import DTMFEvent
from smartflo_bridge.core.muting import MUTED_DIGIT
from smartflo_bridge.core.parameters import pair_in
from smartflo_bridge.core.signals import Malformed, PeerLost, Signal

ENTRY_SECONDS = 4.0
"""Keys pressed so close together are one entry, of a card's or an account's number. IVRs commonly wait 3 to 5 s a key."""

LONGEST_NUMBER = len(str(2**53))
"""Digits; see `core.incoming.Number`."""

_IDS = {("streamSid",), ("start", "streamSid"), ("start", "callSid"), ("start", "accountSid"), ("stop", "callSid")}
_IDS |= {("stop", "accountSid"), ("call_sid",)}

_COUNTERS = {("sequenceNumber",), ("media", "chunk"), ("media", "timestamp")}
_COUNTERS |= {("start", "mediaFormat", name) for name in ("sampleRate", "bitRate", "bitDepth", "channels")}

_PLAIN = {("event",), ("protocol",), ("version",), ("start", "direction"), ("start", "tracks"), ("media", "track")}
_PLAIN |= {("dtmf", "track"), ("start", "mediaFormat", "encoding"), ("stop", "reason")}
"""What protocol.md, or Twilio's document behind it, gives a meaning that is nobody's. Numbers in it are replaced."""

_STAND_IN = b"?"
"""No JSON: what stands, in its length, for a malformed message that could only be kept malformed by keeping it."""


class Anonymiser:
    """Anonymises one capture.

    Args:
        header: the capture's.
        key: of the pseudonyms: 16 bytes or more, to be forgotten afterwards.
        replaces_audio: with noise of the same envelope. If not, the voices stay, and what they say.
    """

    def __init__(self, header: Header, key: bytes, *, replaces_audio: bool) -> None:
        self._pseudonyms = Pseudonyms(key)
        self._shadow = _Shadow(header) if replaces_audio else None
        self._keys: Iterator[str] = iter(())
        self._key = ""
        self.header = msgspec.structs.replace(header, began=f"{header.began[:10]}T00:00:00Z", anonymised=True)

    def note_keys(self, records: Iterable[Record]) -> None:
        """Take note of all the keys that were pressed: an entry is replaced as a whole, so its end must be known."""
        entries: list[list[str]] = []
        last_ns = None
        for record in records:
            event = input_in(record) if record.dir == "in" else None
            if not isinstance(event, DTMFEvent):
                continue
            if last_ns is None or record.t - last_ns > ENTRY_SECONDS * 1e9:
                entries.append([])
            entries[-1].append(event.digit)
            last_ns = record.t
        self._keys = iter([key for entry in entries for key in self._entered(entry)])

    def records(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records, anonymised; `note_keys` comes first.

        Raises:
            CaptureError: a message would mean something else to the session.
        """
        for record in records:
            new = self._anonymised(record)
            yield new if self._shadow is None else self._shadow.follow(record, new)

    def _entered(self, entry: list[str]) -> Iterator[str]:
        new = self._pseudonyms.number("".join(entry))
        for key in entry:
            yield new[: len(key)]
            new = new[len(key) :]

    def _anonymised(self, record: Record) -> Record:
        match record.dir:
            case "in":
                return self._inbound(record)
            case "out" if (text := record.wire) is not None:
                return message_record(record.t, "out", self._message(text))
            case "do" if (given := record.command or record.signal) is not None:
                return given_record(record.t, self._given(given))
            case "end" if record.reason:
                return msgspec.structs.replace(record, reason=self._pseudonyms.scrubbed(record.reason))
            case _:
                return record

    def _inbound(self, record: Record) -> Record:
        old = input_in(record)
        if isinstance(old, DTMFEvent):
            self._key = next(self._keys)
        text = record.wire or b""
        new = message_record(record.t, "in", self._message(text))
        if type(input_in(new)) is type(old):
            return new
        if isinstance(old, Malformed):
            return message_record(record.t, "in", _STAND_IN * len(text))
        msg = f"the message at {record.t / 1e9:.3f} s cannot be anonymised: it would mean something else"
        raise CaptureError(msg)

    def _given(self, given: Command | Signal) -> Command | Signal:
        match given:
            case Play(ulaw=ulaw, epoch=epoch) if self._shadow is not None:
                return Play(noise_like(ulaw), epoch)
            case PlaceMark(ticket=ticket, name=str() as name):
                return PlaceMark(ticket, self._pseudonyms.name(name))
            case PeerLost(code=code, reason=reason):
                return PeerLost(code, self._pseudonyms.scrubbed(reason))
            case _:
                return given

    # --- Messages

    def _message(self, text: bytes) -> bytes:
        whole = text.decode(errors="surrogateescape")
        new = rewrite(whole, value=self._value, bare=self._bare, name=self._name)
        return new.encode(errors="surrogateescape")

    def _value(self, path: Path, text: str) -> str:
        match path:
            case ("media", "payload"):
                return self._payload(text)
            case ("mark", "name"):
                return self._pseudonyms.name(text)
            case ("dtmf", "digit") if text == MUTED_DIGIT:
                return text
            case ("dtmf", "digit"):
                return self._key if len(text) == len(self._key) else self._pseudonyms.text(text)
            case _ if path in _IDS:
                return self._pseudonyms.id(text)
            case _ if path in _PLAIN:
                return self._pseudonyms.scrubbed(text)
            case _ if path in _COUNTERS and text.isdecimal():
                return text
            case _:
                return self._unknown(text)

    def _unknown(self, text: str) -> str:
        """Replace a custom parameter, or whatever it is: the names in the forms that hold some stay."""
        if text.lstrip().startswith("{"):
            return rewrite(
                text,
                value=lambda _, inner: self._unknown(inner),
                bare=lambda _, inner: self._number_or_words(inner),
                name=self._name,
            )
        for value in pair_in(text).values():
            return self._pseudonyms.scrubbed(text.removesuffix(value)) + self._pseudonyms.text(value)
        return self._pseudonyms.text(text)

    def _bare(self, path: Path, text: str) -> str:
        if path == ("dtmf", "digit") and len(text) == len(self._key):
            return self._key
        return text if path in _COUNTERS and text.isdecimal() else self._number_or_words(text)

    def _number_or_words(self, text: str) -> str:
        """Replace a JSON number by another, or what is no JSON by other words."""
        mantissa, letter, exponent = text.partition("e" if "e" in text else "E")
        if not mantissa.strip("-0123456789.") and mantissa.strip("-."):
            new = self._pseudonyms.number(mantissa)
            sign = "-" * new.startswith("-")
            digits = new.removeprefix(sign)
            # JSON has no leading zeros, and a number of the platform's is at most 2**53.
            if (digits.startswith("0") and digits[1:2].isdecimal()) or len(digits) >= LONGEST_NUMBER:
                digits = f"1{digits[1:]}"
            return f"{sign}{digits}{letter}{exponent}"
        return self._pseudonyms.text(text)

    def _name(self, _: Path, text: str) -> str:
        return self._pseudonyms.scrubbed(text)

    def _payload(self, text: str) -> str:
        try:
            ulaw = ulaw_from_base64(text)
        except ProtocolError:
            return self._pseudonyms.text(text)
        return text if self._shadow is None else binascii.b2a_base64(noise_like(ulaw), newline=False).decode()


class _Shadow:
    """Two sessions, one with the old and one with the new audio: what the first was right to say, the second says now.

    Which of a handler's audio is sent, and cut into which messages, only a session knows.
    """

    def __init__(self, header: Header) -> None:
        self._old = Replay(header.settings)
        self._new = Replay(header.settings)

    def follow(self, old: Record, new: Record) -> Record:
        """Take a record, and return it as it is to be written."""
        if old.dir in ("in", "do"):
            self._old.give(old)
            self._new.give(new)
        elif old.dir == "out":
            expected, said = self._old.take(), self._new.take()
            if expected == old.wire and said is not None:
                return message_record(old.t, "out", said)
        elif old.dir == "end" and difference_at_end(old, self._old.session) == (None, None):
            return msgspec.structs.replace(new, ledger=end_record(old.t, self._new.session).ledger)
        return new
