"""`pipecat`: its FastAPI transport with the Twilio serializer to the caller, its WebSocket client to the agent.

`python pipecat_bridge.py PORT URL HZ`. At 8000 Hz the agent is given mu-law by the Twilio serializer, otherwise PCM16 at
that rate, for which pipecat has no plain serializer: the one here adds nothing to the audio.
"""

import json
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import (
    AudioRawFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    OutputTransportReadyFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.client import WebsocketClientParams, WebsocketClientTransport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

PORT, AGENT, RATE_HZ = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
CHUNK_10_MS = 2
"""20 ms a message, as everybody here."""

logger.remove()  # a line a call would be measured as well
app = FastAPI()


class Turn(FrameProcessor):
    """Makes what one side has sent what the other is to hear; what was played already ends here."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Turn audio that came in into audio that goes out."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(OutputAudioRawFrame(audio=frame.audio, sample_rate=frame.sample_rate, num_channels=1))
        elif not isinstance(frame, OutputAudioRawFrame | OutputTransportReadyFrame):
            await self.push_frame(frame, direction)


class PcmSerializer(FrameSerializer):
    """Binary messages of PCM16."""

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return the audio of a frame."""
        return frame.audio if isinstance(frame, AudioRawFrame) else None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return audio as a frame."""
        if isinstance(data, str):
            return None
        return InputAudioRawFrame(audio=data, sample_rate=RATE_HZ, num_channels=1)


def twilio(stream_sid: str, call_sid: str) -> TwilioFrameSerializer:
    """Return the serializer of one stream."""
    quiet = TwilioFrameSerializer.InputParams(auto_hang_up=False)
    return TwilioFrameSerializer(stream_sid=stream_sid, call_sid=call_sid, params=quiet)


@app.websocket("/vendor-stream")
async def answer(websocket: WebSocket) -> None:
    """Serve one call."""
    await websocket.accept()
    messages = websocket.iter_text()
    await anext(messages)
    start = json.loads(await anext(messages))["start"]
    audio = {"audio_in_enabled": True, "audio_out_enabled": True, "audio_in_passthrough": True}
    ids = start["streamSid"], start["callSid"]
    caller = FastAPIWebsocketTransport(
        websocket, FastAPIWebsocketParams(**audio, audio_out_10ms_chunks=CHUNK_10_MS, serializer=twilio(*ids))
    )
    serializer = twilio(*ids) if RATE_HZ == 8000 else PcmSerializer()
    agent = WebsocketClientTransport(
        AGENT,
        WebsocketClientParams(**audio, audio_out_10ms_chunks=CHUNK_10_MS, add_wav_header=False, serializer=serializer),
    )
    stages = [caller.input(), Turn(), agent.output(), agent.input(), Turn(), caller.output()]
    params = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
    task = PipelineTask(Pipeline(stages), params=params)

    @caller.event_handler("on_client_disconnected")
    async def leave(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", log_level="warning", ws_per_message_deflate=False)
