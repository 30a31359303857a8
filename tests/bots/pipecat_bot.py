"""A bot as pipecat's own examples build it: the Twilio serializer over FastAPI, with a voice of 24 kHz.

Run by `test_referee.py` in an environment of its own: `python pipecat_bot.py PORT VOICE.wav`. It greets when the stream
begins, and stops speaking when a key is pressed. Nothing in it knows of Smartflo, or of us.
"""

import json
import sys
import wave

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import Frame, InputDTMFFrame, InterruptionFrame, TTSAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

VOICE_HZ = 24000

app = FastAPI()


class Speaker(FrameProcessor):
    """Stands where a text-to-speech service would; a key interrupts it."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass on what comes, and interrupt at a key."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputDTMFFrame):
            await self.push_frame(InterruptionFrame())
        await self.push_frame(frame, direction)


@app.websocket("/vendor-stream")
async def answer(websocket: WebSocket) -> None:
    """Serve one call."""
    await websocket.accept()
    messages = websocket.iter_text()
    await anext(messages)
    start = json.loads(await anext(messages))["start"]
    serializer = TwilioFrameSerializer(
        stream_sid=start["streamSid"],
        call_sid=start["callSid"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)
    pipeline = Pipeline([transport.input(), Speaker(), transport.output()])
    task = PipelineTask(pipeline, params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=VOICE_HZ))

    @transport.event_handler("on_client_connected")
    async def greet(*_: object) -> None:
        with wave.open(sys.argv[2]) as voice:
            pcm = voice.readframes(voice.getnframes())
        await task.queue_frames([TTSAudioRawFrame(audio=pcm, sample_rate=VOICE_HZ, num_channels=1)])

    @transport.event_handler("on_client_disconnected")
    async def leave(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
