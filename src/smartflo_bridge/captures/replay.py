"""Playing a capture's inbound side to a live server: the caller of a recorded call calls again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from smartflo_bridge.captures.format import CaptureError, Record

CLOSE_WAIT_SECONDS = 5.0
"""How long the server may take to end the call after the capture's last message."""


class ReplayReport(msgspec.Struct):
    """What came of a replay. Counts are of messages, by event.

    Attributes:
        recorded: what the bridge answered when the capture was made.
        answered: what the server answers now.
        audio_bytes: mu-law received.
        first_audio_seconds: from the start of the replay to the first media event; None if none came.
        worst_lateness_seconds: how late this program itself sent a message; it is not the server's fault.
    """

    sent: Counter[str]
    recorded: Counter[str]
    answered: Counter[str]
    audio_bytes: int = 0
    first_audio_seconds: float | None = None
    close_code: int | None = None
    seconds: float = 0.0
    worst_lateness_seconds: float = 0.0


async def replay_to(
    url: str, records: list[Record], speed: float | None, on_progress: Callable[[float], None] | None = None
) -> ReplayReport:
    """Send the messages that the platform sent, at their times, and count what comes back.

    Args:
        url: of the server's stream, `ws://` or `wss://`, with its token if it wants one.
        records: of the capture.
        speed: 1 is real time, 2 twice as fast; None sends without waiting.
        on_progress: told the position in the call, in seconds, with each message sent.

    Raises:
        CaptureError: the capture holds no message of the platform, or the server cannot be reached.
    """
    inbound = _wire_messages(records, "in")
    if not inbound:
        msg = "the capture holds no message of the platform"
        raise CaptureError(msg)
    recorded = Counter(event_name(text) for _, text in _wire_messages(records, "out"))
    report = ReplayReport(Counter(), recorded, Counter())
    try:
        async with connect(url, compression=None, proxy=None, close_timeout=2) as connection:
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(_listen(connection, report, began))
                await _speak(connection, inbound, speed, report, on_progress)
                await asyncio.wait([listening], timeout=CLOSE_WAIT_SECONDS)
                listening.cancel()
            report.seconds = time.monotonic() - began
            await connection.close()
            report.close_code = connection.close_code
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        msg = f"{url.partition('?')[0]}: {error}"
        raise CaptureError(msg) from None
    return report


def _wire_messages(records: list[Record], direction: str) -> list[tuple[int, bytes]]:
    return [(record.t, record.wire) for record in records if record.dir == direction and record.wire is not None]


async def _speak(
    connection: ClientConnection,
    inbound: list[tuple[int, bytes]],
    speed: float | None,
    report: ReplayReport,
    on_progress: Callable[[float], None] | None,
) -> None:
    began, first_ns = time.monotonic(), inbound[0][0]
    for at_ns, text in inbound:
        if speed is not None:
            due = began + (at_ns - first_ns) / 1e9 / speed
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            else:
                report.worst_lateness_seconds = max(report.worst_lateness_seconds, -wait)
        try:
            await connection.send(text, text=True)
        except ConnectionClosed:
            return
        report.sent[event_name(text)] += 1
        if on_progress is not None:
            on_progress((at_ns - first_ns) / 1e9)


async def _listen(connection: ClientConnection, report: ReplayReport, began: float) -> None:
    try:
        while True:
            text = await connection.recv(decode=False)
            name = event_name(text)
            report.answered[name] += 1
            if name == "media":
                report.audio_bytes += len(_media.decode(text).media.payload)
                if report.first_audio_seconds is None:
                    report.first_audio_seconds = time.monotonic() - began
    except ConnectionClosed:
        return


class _Named(msgspec.Struct):
    event: str


class _Payload(msgspec.Struct):
    payload: bytes


class _Media(msgspec.Struct):
    media: _Payload


_media = msgspec.json.Decoder(_Media)


def event_name(text: bytes) -> str:
    """Return what a message calls itself; `?` for one that is no event."""
    try:
        return msgspec.json.decode(text, type=_Named).event
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "?"
