"""The fast path: takes what comes apart into frames, hands over whole messages itself, and makes those that go.

Nearly all that comes on a call or a leg is one short, whole frame; the library's parser, a generator that reads two bytes,
then two, then four, costs more than all else that happens to it. So `FrameSplitter` finds the frames, and hands over the
messages that are one of them; everything else goes to the library, whole frames only, so that its parser rests between two
of them: fragments, pings, closes, and whatever is not allowed. What it finds broken it passes on as it comes, and then all
that follows: the library answers and closes. RFC 6455, 5.2.

Clients mask what they send, servers do not (5.1): a splitter is told which of the two it listens to. `wire.connection` feeds
it. It knows no connection; only the masking is the library's, in C.
"""

import secrets
from collections.abc import Callable

from websockets.frames import apply_mask  # type: ignore[attr-defined] # its C where that is built, else its Python

WHOLE_TEXT, WHOLE_BINARY = _WHOLE_MESSAGE = 0x81, 0x82  # FIN, and the opcode

_WHOLE_MASKED = (b"\x81\xfe", b"\x82\xfe")  # the same, with a mask and a length of 16 bits
_WHOLE_PLAIN = (b"\x81\x7e", b"\x82\x7e")
_LONG_HEADER_BYTES = 4

_FIRST_BYTES = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A})
"""FIN and opcode of all frames that are allowed where no extension has been agreed on."""

_OPENS_MESSAGE = (0x01, 0x02)
_CLOSES_MESSAGE = 0x80
_CONTROL = 0x08
_MASKED = 0x80
_MASK_BYTES = 4
_MAX_SHORT = 125
_WIDE = {126: 2, 127: 8}  # how many bytes the length takes, when it is not in the second one


def _refuse(_: bytes) -> bool:
    """In the place of a connection that is gone."""
    return False


class FrameSplitter:
    """The frames of one connection, from the first byte behind the handshake.

    Args:
        max_bytes: of a message. The library answers a longer one, as soon as its header is here.
        take_text: is given a whole text message; returns False if it wants no more for now.
        take_binary: the same for a binary one.
        pass_on: is given frames for the library; returns False if it has closed, or begun to.
        from_client: whose frames are masked.
        is_off: leave everything to the library from the first.
    """

    __slots__ = (
        "_body_at",
        "_held",
        "_is_in_message",
        "_is_off",
        "_long",
        "_mask_bytes",
        "_masked",
        "_max_bytes",
        "_needed",
        "_open_bytes",
        "_pass_on",
        "_take_binary",
        "_take_text",
        "_whole",
    )

    def __init__(
        self,
        max_bytes: int,
        *,
        take_text: Callable[[bytes], bool],
        take_binary: Callable[[bytes], bool],
        pass_on: Callable[[bytes], bool],
        from_client: bool,
        is_off: bool = False,
    ) -> None:
        self._max_bytes = max_bytes
        self._take_text = take_text
        self._take_binary = take_binary
        self._pass_on = pass_on
        self._masked = _MASKED if from_client else 0
        self._mask_bytes = _MASK_BYTES if from_client else 0
        self._whole = _WHOLE_MASKED if from_client else _WHOLE_PLAIN
        self._long = self._masked | 126
        self._body_at = _LONG_HEADER_BYTES + self._mask_bytes  # of a frame that begins with `_whole`
        self._held = bytearray()
        self._needed = 0  # so many bytes must be held before there is anything new to see
        self._is_in_message = False  # a fragmented one is open: all is the library's until it ends
        self._open_bytes = 0  # of that message so far: they count against the limit of what follows
        self._is_off = is_off

    @property
    def held_bytes(self) -> int:
        """What waits for the rest of its frame, or for `take` to want more: one read, and less than one message."""
        return len(self._held)

    def hold(self, data: bytes) -> None:
        """Keep bytes for later: nobody is there yet who could take them."""
        self._held += data

    def feed(self, data: bytes = b"") -> None:
        """Take bytes, cut anywhere. Without bytes: go on, because `take` wants more again."""
        if (  # nearly always it is one whole message of 126 bytes or more
            _LONG_HEADER_BYTES < len(data) <= self._max_bytes
            and data.startswith(self._whole)
            and len(data) == (data[2] << 8 | data[3]) + self._body_at
            and not (self._held or self._is_in_message or self._is_off)
        ):
            message = apply_mask(data[8:], data[4:8]) if self._masked else data[4:]
            if data[0] == WHOLE_TEXT:
                self._take_text(message)
            else:
                self._take_binary(message)
            return
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return
            data, self._held = bytes(self._held), bytearray()
        if not self._is_off:
            self._split(data)
        elif data:
            self._pass_on(data)

    def leave(self) -> None:
        """Let the library have what is here, and all that comes: nobody wants its messages."""
        self._is_off = True
        self._needed = 0
        self.feed()

    def close(self) -> None:
        """Hold on to nothing: the connection is gone, and so are we with its last reference."""
        self._is_off = True
        self._held.clear()
        self._take_text = self._take_binary = self._pass_on = _refuse

    def _split(self, data: bytes) -> None:
        """Hand over the whole messages of 126 bytes or more that come first, as `feed` does with one; then look closer."""
        at, end = 0, len(data)
        wants_more = not self._is_in_message
        while wants_more and end - at > _LONG_HEADER_BYTES and data[at] == WHOLE_TEXT and data[at + 1] == self._long:
            body = at + self._body_at
            stop = body + (data[at + 2] << 8 | data[at + 3])
            if stop > end or stop - body > self._max_bytes:
                break
            message = data[body:stop]
            wants_more = self._take_text(apply_mask(message, data[body - 4 : body]) if self._masked else message)
            at = stop
        self._split_any(data, at, wants_more=wants_more or self._is_in_message)

    def _split_any(self, data: bytes, at: int, *, wants_more: bool) -> None:
        end = len(data)
        self._needed = 2
        while wants_more and end - at >= 2:
            first, second = data[at], data[at + 1]
            if not self._is_allowed(first, second):
                self._leave_with(data[at:])
                return
            size = second & 0x7F
            body = at + 2 + self._mask_bytes
            if size > _MAX_SHORT:
                width = _WIDE[size]
                if end - at < 2 + width:
                    self._needed = 2 + width
                    break
                size = int.from_bytes(data[at + 2 : at + 2 + width])
                body += width
            stop = body + size
            if size > self._max_bytes - self._open_bytes:
                self._leave_with(data[at:])
                return
            if stop > end:
                self._needed = stop - at
                break
            if first in _WHOLE_MESSAGE and not self._is_in_message:
                wants_more = self._hand_over(first, data[body:stop], data[body - self._mask_bytes : body])
                at = stop
                continue
            if not self._pass(data[at:stop], first, size):
                self._leave_with(data[stop:])
                return
            at = stop
        if at < end:
            self._held += data[at:] if at else data

    def _hand_over(self, first: int, message: bytes, mask: bytes) -> bool:
        """Give away a whole message; return False if no more are wanted for now."""
        if mask:
            message = apply_mask(message, mask)
        return self._take_text(message) if first == WHOLE_TEXT else self._take_binary(message)

    def _pass(self, frame: bytes, first: int, size: int) -> bool:
        """Give the library a frame; keep account of whether a message is open, and how long it is."""
        if first in _OPENS_MESSAGE:
            self._is_in_message = True
        elif first == _CLOSES_MESSAGE:
            self._is_in_message = False
        if not first & _CONTROL:
            self._open_bytes = self._open_bytes + size if self._is_in_message else 0
        return self._pass_on(frame)

    def _leave_with(self, rest: bytes) -> None:
        """Let the library have all that comes from here on."""
        self._is_off = True
        if rest:
            self._pass_on(rest)

    def _is_allowed(self, first: int, second: int) -> bool:
        """Return False for a frame that ends the connection whatever follows its first two bytes."""
        if first not in _FIRST_BYTES or second & _MASKED != self._masked:
            return False
        return not (first & _CONTROL and second & 0x7F > _MAX_SHORT)


def text_frame(text: bytes) -> bytes:
    """Return a server's frame with a whole text message."""
    size = len(text)
    if _MAX_SHORT < size < 1 << 16:  # what audio has
        return b"\x81\x7e" + size.to_bytes(2) + text
    return _header(WHOLE_TEXT, size) + text


def masked_frame(first: int, data: bytes) -> bytes:
    """Return a client's frame with a whole message: masked, with a key that nobody can foresee. RFC 6455, 5.3.

    Args:
        first: `WHOLE_TEXT` or `WHOLE_BINARY`.
        data: of the message.
    """
    key = secrets.token_bytes(_MASK_BYTES)
    return b"".join((_header(first, len(data), _MASKED), key, apply_mask(data, key)))


def _header(first: int, size: int, masked: int = 0) -> bytes:
    """Return a frame's first bytes, up to its length."""
    if size <= _MAX_SHORT:
        return bytes((first, masked | size))
    if size < 1 << 16:
        return bytes((first, masked | 126)) + size.to_bytes(2)
    return bytes((first, masked | 127)) + size.to_bytes(8)
