"""Bots as they are written in an afternoon, with `websockets`, `json` and `base64` alone: each makes one mistake.

`MISTAKES` names them. The bot without any is `faultless`: what the others differ from. `test_referee.py` serves them.
"""

import asyncio
import audioop
import base64
import contextlib
import io
import json
import wave
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection

FRAME = 160
STEP = 800


class Bot:
    """One call as such a bot sees it, and what it can say; a mistake overrides one of these."""

    def __init__(self, connection: ServerConnection, voice: bytes) -> None:
        self.connection = connection
        self.voice = voice
        self.sid = ""
        self.call_sid = ""
        self.chunk = 0

    async def next(self) -> dict[str, Any]:
        """Return the platform's next message."""
        return json.loads(await self.connection.recv())

    async def until(self, event: str) -> dict[str, Any]:
        """Read up to a message."""
        while (message := await self.next())["event"] != event:
            pass
        return message

    async def answer(self) -> None:
        """Take the call."""
        start = (await self.until("start"))["start"]
        self.sid, self.call_sid = start["streamSid"], start["callSid"]

    async def say(self, event: str, **members: object) -> None:
        """Send an event."""
        await self.connection.send(json.dumps({"event": event, "streamSid": self.sid, **members}))

    async def media(self, payload: str, **members: object) -> None:
        """Send a payload."""
        self.chunk += 1
        await self.say("media", media={"payload": payload, "chunk": self.chunk, **members})

    async def play(self, audio: bytes, step: int = STEP, pause_seconds: float = 0.0) -> None:
        """Send audio in steps, at once or with a pause between them."""
        for at in range(0, len(audio), step):
            await self.media(base64.b64encode(audio[at : at + step]).decode())
            if pause_seconds:
                await asyncio.sleep(pause_seconds)

    async def wait_for_stop(self) -> None:
        """Listen until the caller has gone."""
        await self.until("stop")


Mistake = Callable[[Bot], Awaitable[None]]


async def faultless(bot: Bot) -> None:
    """Speaks for a second, marks it, and closes after stop."""
    await bot.answer()
    await bot.play(bot.voice[: FRAME * 50])
    await bot.say("mark", mark={"name": "u1"})
    await bot.wait_for_stop()


async def sends_all_at_once(bot: Bot) -> None:
    """Has three seconds of speech, and sends them."""
    await bot.answer()
    await bot.play(bot.voice[: 3 * 8000])
    await bot.wait_for_stop()


async def cuts_anywhere(bot: Bot) -> None:
    """Sends what the voice service hands it, 1000 bytes at a time."""
    await bot.answer()
    await bot.play(bot.voice[:8000], step=1000)
    await bot.wait_for_stop()


async def sends_a_wav_file(bot: Bot) -> None:
    """Reads a file and sends it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(audioop.ulaw2lin(bot.voice[:8000], 2))
    await bot.answer()
    await bot.play(file.getvalue()[: STEP * 16])
    await bot.wait_for_stop()


async def sends_pcm(bot: Bot) -> None:
    """Has heard of mu-law, and forgot about it."""
    await bot.answer()
    await bot.play(audioop.ulaw2lin(bot.voice[4000:12000], 2))
    await bot.wait_for_stop()


async def sends_24_khz(bot: Bot) -> None:
    """Converts to mu-law what was never brought to 8 kHz."""
    pcm, _ = audioop.ratecv(audioop.ulaw2lin(bot.voice, 2), 2, 1, 8000, 24000, None)
    await bot.answer()
    await bot.play(audioop.lin2ulaw(pcm, 2)[: 12 * 8000])
    await bot.wait_for_stop()


async def pads_with_zeros(bot: Bot) -> None:
    """Fills the last frame up with what is silence elsewhere."""
    await bot.answer()
    await bot.play(b"\xff" * 700 + bytes(100))
    await bot.wait_for_stop()


async def forgets_the_chunk(bot: Bot) -> None:
    """Follows Twilio, which wants no number."""
    await bot.answer()
    await bot.say("media", media={"payload": base64.b64encode(bot.voice[:STEP]).decode()})
    await bot.wait_for_stop()


async def sends_bytes(bot: Bot) -> None:
    """Encodes its JSON, so the library makes a binary message of it."""
    await bot.answer()
    await bot.connection.send(json.dumps({"event": "clear", "streamSid": bot.sid}).encode())
    await bot.wait_for_stop()


async def breaks_lines(bot: Bot) -> None:
    """Uses the base64 of e-mails."""
    await bot.answer()
    await bot.media(base64.encodebytes(bot.voice[:STEP]).decode())
    await bot.wait_for_stop()


async def sends_nothing(bot: Bot) -> None:
    """Sends the end of the audio as an empty payload."""
    await bot.answer()
    await bot.media("")
    await bot.wait_for_stop()


async def mistakes_the_call_for_the_stream(bot: Bot) -> None:
    """Names the call where the stream is wanted."""
    await bot.answer()
    bot.sid = bot.call_sid
    await bot.play(bot.voice[:STEP])
    await bot.wait_for_stop()


async def greets_too_early(bot: Bot) -> None:
    """Speaks as soon as somebody connects."""
    await bot.play(bot.voice[:STEP])
    bot.chunk = 0
    await faultless(bot)


async def paces_by_sleeping(bot: Bot) -> None:
    """Sends 100 ms, sleeps 100 ms, and forgets what the sending takes."""
    await bot.answer()
    await bot.play(bot.voice[8000:16000], pause_seconds=0.112)
    await bot.wait_for_stop()


async def stutters(bot: Bot) -> None:
    """Waits in mid-speech for the next piece of its answer."""
    loud = bytes([0x10, 0x18, 0x90, 0x98, 0x14, 0x9C]) * 240
    await bot.answer()
    await bot.play(loud)
    await asyncio.sleep(0.75)
    await bot.play(loud)
    await bot.wait_for_stop()


async def repeats_its_mark(bot: Bot) -> None:
    """Names every utterance alike."""
    await bot.answer()
    for _ in range(2):
        await bot.play(bot.voice[: FRAME * 10])
        await bot.say("mark", mark={"name": "end"})
    await bot.wait_for_stop()


async def goes_on_after_a_clear(bot: Bot) -> None:
    """Clears, and its queue does not know."""
    await bot.answer()
    cut = _loudest(bot.voice, 8000, 24000)
    await bot.play(bot.voice[cut - 8000 : cut])
    await bot.say("clear")
    await bot.play(bot.voice[cut : cut + STEP])
    await bot.wait_for_stop()


async def talks_after_stop(bot: Bot) -> None:
    """Has not heard that the caller is gone."""
    await faultless(bot)
    for _ in range(8):
        await bot.say("clear")
        await asyncio.sleep(0.1)


async def never_closes(bot: Bot) -> None:
    """Waits for the platform to close."""
    await faultless(bot)
    await bot.connection.wait_closed()


async def closes_with_a_failure(bot: Bot) -> None:
    """Falls over."""
    await bot.answer()
    await bot.connection.close(1011, "unhandled exception")


async def dies(bot: Bot) -> None:
    """Is killed."""
    await bot.answer()
    bot.connection.transport.abort()


async def says_nothing(bot: Bot) -> None:
    """Waits for somebody else to begin."""
    await bot.answer()
    await bot.wait_for_stop()


async def sends_megabytes(bot: Bot) -> None:
    """Sends four minutes as one message."""
    await bot.answer()
    await bot.media(base64.b64encode(bytes([0x10, 0x90]) * 1_000_000).decode())
    with contextlib.suppress(Exception):
        await bot.wait_for_stop()


def _loudest(voice: bytes, start: int, end: int) -> int:
    """Return where 20 ms of a voice are loudest: in the middle of a vowel."""
    return max(
        range(start, end, FRAME), key=lambda at: audioop.rms(audioop.ulaw2lin(voice[at - FRAME : at + FRAME], 2), 2)
    )


MISTAKES: dict[str, Mistake] = {
    bot.__name__: bot
    for bot in (
        *(faultless, sends_all_at_once, cuts_anywhere, sends_a_wav_file, sends_pcm, sends_24_khz, pads_with_zeros),
        *(forgets_the_chunk, sends_bytes, breaks_lines, sends_nothing, mistakes_the_call_for_the_stream),
        *(greets_too_early, paces_by_sleeping, stutters, repeats_its_mark, goes_on_after_a_clear, talks_after_stop),
        *(never_closes, closes_with_a_failure, dies, says_nothing, sends_megabytes),
    )
}
