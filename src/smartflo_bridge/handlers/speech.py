"""For someone who only wants to fill in speech recognition and synthesis: two hooks, and the rest of a call around them.

`process_incoming_audio` is given the caller's audio as it comes, and returns what the caller said once it knows.
`generate_response_audio` is given that, and yields the answer's audio. A new thing said interrupts the answer that is
still playing, and whoever is still making it.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable

from smartflo_bridge.calls.call import Call
from smartflo_bridge.calls.home import Handler
from smartflo_bridge.calls.rates import rate_converter
from smartflo_bridge.core.audio import SAMPLE_RATE_HZ
from smartflo_bridge.core.incoming import MediaEvent

ProcessIncomingAudio = Callable[[Call, bytes], Awaitable[str | None]]
GenerateResponseAudio = Callable[[Call, str], AsyncIterable[bytes]]


def speech_handler(
    process_incoming_audio: ProcessIncomingAudio,
    generate_response_audio: GenerateResponseAudio,
    *,
    rate_hz: int = SAMPLE_RATE_HZ,
    greeting: str | None = None,
) -> Handler:
    """Return a handler made of two hooks.

    Args:
        process_incoming_audio: `async def f(call, pcm) -> str | None`. PCM16 at `rate_hz`, a piece at a time (100 ms at
            the platform's cadence). Returns a text when the caller has finished saying something, else None.
        generate_response_audio: `async def f(call, text)` that yields PCM16 at `rate_hz`.
        rate_hz: of both. Other rates than 8000 Hz need `smartflo-bridge[resample]`.
        greeting: what to answer first, as if the caller had said it; None waits for the caller.
    """

    async def serve(call: Call) -> None:
        to_recogniser = rate_converter(SAMPLE_RATE_HZ, rate_hz)
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(respond(call, greeting))
            async for event in call:
                if not isinstance(event, MediaEvent):
                    continue
                said = await process_incoming_audio(call, to_recogniser.convert(event.pcm))
                if said is not None:
                    answer.cancel()
                    call.interrupt()
                    answer = tasks.create_task(respond(call, said))
            answer.cancel()

    async def respond(call: Call, said: str | None) -> None:
        if said is None:
            return
        utterance = call.utterance(rate_hz)
        async for pcm in generate_response_audio(call, said):
            if not await utterance.play(pcm):
                return
        utterance.end()

    return serve
