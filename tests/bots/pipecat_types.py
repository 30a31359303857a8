"""Pipecat's own serializer and RTVI models, for tests that run without pipecat: a line of JSON in, a line of JSON out.

Run in the environment of `running.py`. `{"take": HEX}` answers with what a bot's transport would make of a message, and
whether its RTVI models accept it; `{"make": KIND, ...}` answers with the bytes that a bot's transport would send.
"""

import asyncio
import json
import sys
from typing import Any

from loguru import logger
from pipecat.frames import frames
from pipecat.processors.frameworks.rtvi import models
from pipecat.serializers.protobuf import ProtobufFrameSerializer

DATA = {
    "client-ready": models.ClientReadyData,
    "client-message": models.RawClientMessageData,
    "dtmf": models.DTMFInputData,
}

serializer = ProtobufFrameSerializer()
loop = asyncio.Runner()


def take(message: bytes) -> dict[str, Any]:
    """Return what a message of a client is."""
    frame = loop.run(serializer.deserialize(message))
    match frame:
        case frames.InputAudioRawFrame():
            return {
                "kind": "audio",
                "audio": frame.audio.hex(),
                "rate": frame.sample_rate,
                "channels": frame.num_channels,
            }
        case frames.InterruptionFrame():
            return {"kind": "interruption"}
        case frames.InputTransportMessageFrame():
            rtvi = models.Message.model_validate(frame.message)
            data = DATA[rtvi.type].model_validate(rtvi.data)
            unknown = set(rtvi.data or {}) - set(data.model_dump())
            return {"kind": "message", "type": rtvi.type, "data": rtvi.data, "unknown": sorted(unknown)}
        case _:
            return {"kind": repr(frame)}


def make(kind: str, order: dict[str, Any]) -> bytes:
    """Return a message of a bot."""
    match kind:
        case "audio":
            pcm = bytes.fromhex(order["audio"])
            frame = frames.OutputAudioRawFrame(audio=pcm, sample_rate=order["rate"], num_channels=order["channels"])
        case "interruption":
            frame = frames.InterruptionFrame()
        case "text":
            frame = frames.TextFrame(text=order["text"])
        case "transcription":
            frame = frames.TranscriptionFrame(text=order["text"], user_id="1", timestamp="2026-01-01T00:00:00Z")
        case model:
            rtvi = getattr(models, model)(**order["fields"])
            frame = frames.OutputTransportMessageUrgentFrame(message=rtvi.model_dump(exclude_none=True))
    made = loop.run(serializer.serialize(frame))
    assert isinstance(made, bytes)
    return made


def main() -> None:
    """Answer until the end of the input."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if "take" in order:
                answer = take(bytes.fromhex(order["take"]))
            else:
                answer = {"made": make(order.pop("make"), order).hex()}
        except Exception as error:  # noqa: BLE001 - the test shows it
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    logger.remove()
    main()
