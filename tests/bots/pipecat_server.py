"""A bot on pipecat's own WebSocket server, with its own protobuf serializer, both unmodified, and a voice of 24 kHz.

Run by `test_pipecat.py` in an environment of its own: `python pipecat_server.py PORT VOICE.wav HEARD.wav`. It greets when
an RTVI client is ready, stops speaking when a key is pressed, ends its pipeline at the key 0, and writes what it has heard.
Nothing in it knows of Smartflo, or of us.
"""

import asyncio
import sys
import wave

from pipecat.frames.frames import (
    EndWorkerFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.websocket.server import SingleClientWebsocketServerParams, SingleClientWebsocketServerTransport

PORT, VOICE, HEARD = sys.argv[1:]
INPUT_HZ, VOICE_HZ = 16000, 24000


class Speaker(FrameProcessor):
    """Stands where recognition, a model and synthesis would; a key interrupts it."""

    heard = b""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass on what comes."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                self.heard += frame.audio
            case InputDTMFFrame():
                if frame.button.value == "0":
                    await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)
                else:
                    await self.push_frame(InterruptionFrame())
        await self.push_frame(frame, direction)


async def main() -> None:
    """Serve one call."""
    params = SingleClientWebsocketServerParams(
        audio_in_enabled=True, audio_out_enabled=True, serializer=ProtobufFrameSerializer()
    )
    with wave.open(VOICE) as voice:
        greeting = TTSAudioRawFrame(voice.readframes(voice.getnframes()), VOICE_HZ, num_channels=1)
    transport = SingleClientWebsocketServerTransport(params, "127.0.0.1", int(PORT))
    speaker = Speaker()
    pipeline = Pipeline([transport.input(), speaker, transport.output()])
    task = PipelineTask(pipeline, params=PipelineParams(audio_in_sample_rate=INPUT_HZ, audio_out_sample_rate=VOICE_HZ))

    @task.rtvi.event_handler("on_client_ready")
    async def greet(*_: object) -> None:
        await task.queue_frame(greeting)

    @transport.event_handler("on_client_disconnected")
    async def leave(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)
    with wave.open(HEARD, "wb") as out:
        out.setparams((1, 2, INPUT_HZ, 0, "NONE", ""))
        out.writeframes(speaker.heard)


if __name__ == "__main__":
    asyncio.run(main())
