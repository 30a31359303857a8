"""`FastAPI`: FastAPI, Pydantic and the standard library's json on uvicorn, as most bridges of this kind are written."""

import audioop
import base64
import json
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

app = FastAPI()


class Media(BaseModel):
    """The inner object of a media event."""

    chunk: str | int
    timestamp: str | int | None = None
    payload: str


class MediaEvent(BaseModel):
    """A media event."""

    event: str
    streamSid: str  # noqa: N815 - the wire's
    media: Media


@app.websocket("/vendor-stream")
async def echo(websocket: WebSocket) -> None:
    """Answer each media event with one."""
    await websocket.accept()
    chunk = 0
    try:
        while True:
            message = json.loads(await websocket.receive_text())
            if message["event"] != "media":
                continue
            event = MediaEvent.model_validate(message)
            pcm = audioop.ulaw2lin(base64.b64decode(event.media.payload), 2)
            payload = base64.b64encode(audioop.lin2ulaw(pcm, 2)).decode()
            chunk += 1
            reply = MediaEvent(event="media", streamSid=event.streamSid, media=Media(chunk=chunk, payload=payload))
            await websocket.send_text(json.dumps(reply.model_dump(exclude_none=True)))
    except WebSocketDisconnect:
        return


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning", ws_per_message_deflate=False
)
