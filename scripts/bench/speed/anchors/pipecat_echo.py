"""`pipecat`: its FastAPI transport with the Twilio serializer, and a pipeline that sends the caller's audio back."""

import json
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

logger.remove()  # a line a call would be measured as well
app = FastAPI()


class Echo(FrameProcessor):
    """Stands where a recogniser, a model and a voice would."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Turn the caller's audio into ours."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            audio = OutputAudioRawFrame(audio=frame.audio, sample_rate=frame.sample_rate, num_channels=1)
            await self.push_frame(audio)
        else:
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
    params = FastAPIWebsocketParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_in_passthrough=True,
        audio_out_10ms_chunks=2,  # 20 ms a message, as everybody here
        serializer=serializer,
    )
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)
    rates = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    task = PipelineTask(Pipeline([transport.input(), Echo(), transport.output()]), params=rates)

    @transport.event_handler("on_client_disconnected")
    async def leave(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning", ws_per_message_deflate=False
)
