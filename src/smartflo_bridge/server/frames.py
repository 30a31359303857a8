"""The fast path in: takes what a client sends apart into frames, and unmasks its whole text messages itself.

Nearly all that comes on a call is one short, whole, masked text frame; the library's parser, a generator that reads two
bytes, then two, then four, costs more than all else that happens to it. So `FrameSplitter` finds the frames, and hands
over the text of those; everything else goes to the library, whole frames only, so that its parser rests between two of
them: fragments, binary messages, pings, closes, and whatever is not allowed. What it finds broken it passes on as it
comes, and then all that follows: the library answers and closes. RFC 6455, 5.2.

`server.connection` feeds it. It knows no connection; only the masking is the library's, in C.
"""

from collections.abc import Callable

from websockets.frames import apply_mask  # type: ignore[attr-defined] # its C where that is built, else its Python

_WHOLE_TEXT = 0x81  # FIN, and the opcode of text

_WHOLE_MASKED_TEXT = b"\x81\xfe"  # the same, with a mask and a length of 16 bits
_WHOLE_HEADER_BYTES = 8

_FIRST_BYTES = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A})
"""FIN and opcode of all frames that are allowed where no extension has been agreed on."""

_OPENS_MESSAGE = (0x01, 0x02)
_CLOSES_MESSAGE = 0x80
_CONTROL = 0x08
_MASKED = 0x80
_MASK_BYTES = 4
_MAX_SHORT = 125
_WIDE = {126: 2, 127: 8}  # how many bytes the length takes, when it is not in the second one


class FrameSplitter:
    """The frames of one connection, from the first byte behind the request.

    Args:
        max_bytes: of a message. The library answers a longer one, as soon as its header is here.
        take: is given the text of a whole message; returns False if it wants no more for now.
        pass_on: is given frames for the library; returns False if it has closed, or begun to.
        is_off: leave everything to the library from the first.
    """

    def __init__(
        self, max_bytes: int, take: Callable[[bytes], bool], pass_on: Callable[[bytes], bool], *, is_off: bool = False
    ) -> None:
        self._max_bytes = max_bytes
        self._take = take
        self._pass_on = pass_on
        self._held = bytearray()
        self._needed = 0  # so many bytes must be held before there is anything new to see
        self._is_in_message = False  # a fragmented one is open: all is the library's until it ends
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
        if (  # nearly always it is one whole text of 126 bytes or more
            _WHOLE_HEADER_BYTES < len(data) <= self._max_bytes
            and data.startswith(_WHOLE_MASKED_TEXT)
            and len(data) == (data[2] << 8 | data[3]) + _WHOLE_HEADER_BYTES
            and not (self._held or self._is_in_message or self._is_off)
        ):
            self._take(apply_mask(data[_WHOLE_HEADER_BYTES:], data[4:_WHOLE_HEADER_BYTES]))
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

    def _split(self, data: bytes) -> None:
        at, end = 0, len(data)
        wants_more = True
        self._needed = 2
        while wants_more and end - at >= 2:
            first, second = data[at], data[at + 1]
            if not _is_allowed(first, second):
                self._leave_with(data[at:])
                return
            size = second & 0x7F
            body = at + 2 + _MASK_BYTES
            if size > _MAX_SHORT:
                width = _WIDE[size]
                if end - at < 2 + width:
                    self._needed = 2 + width
                    break
                size = int.from_bytes(data[at + 2 : at + 2 + width])
                body += width
            stop = body + size
            if size > self._max_bytes:
                self._leave_with(data[at:])
                return
            if stop > end:
                self._needed = stop - at
                break
            if first == _WHOLE_TEXT and not self._is_in_message:
                wants_more = self._take(apply_mask(data[body:stop], data[body - _MASK_BYTES : body]))
                at = stop
                continue
            if not self._pass(data[at:stop], first):
                self._leave_with(data[stop:])
                return
            at = stop
        if at < end:
            self._held += data[at:] if at else data

    def _pass(self, frame: bytes, first: int) -> bool:
        """Give the library a frame; keep account of whether a message is open."""
        if first in _OPENS_MESSAGE:
            self._is_in_message = True
        elif first == _CLOSES_MESSAGE:
            self._is_in_message = False
        return self._pass_on(frame)

    def _leave_with(self, rest: bytes) -> None:
        """Let the library have all that comes from here on."""
        self._is_off = True
        if rest:
            self._pass_on(rest)


def _is_allowed(first: int, second: int) -> bool:
    """Return False for a frame that ends the connection whatever follows its first two bytes."""
    if first not in _FIRST_BYTES or not second & _MASKED:
        return False
    return not (first & _CONTROL and second & 0x7F > _MAX_SHORT)


def text_frame(text: bytes) -> bytes:
    """Return a server's frame with a whole text message."""
    size = len(text)
    if size <= _MAX_SHORT:
        return bytes((_WHOLE_TEXT, size)) + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + text
    return b"\x81\x7f" + size.to_bytes(8) + text
