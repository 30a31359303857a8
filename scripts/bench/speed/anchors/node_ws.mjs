// `Node ws`: the usual WebSocket server of Node, the same work. Run with the folder of `ws` and a port.
import { createRequire } from "node:module";

const [folder, port] = process.argv.slice(2);
const { WebSocketServer } = createRequire(`${folder}/`)("ws");

// G.711 mu-law to PCM16, and back by a table of all samples.
const toPcm = new Int16Array(256);
for (let code = 0; code < 256; code++) {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
  toPcm[code] = bits & 0x80 ? -magnitude : magnitude;
}
const toUlaw = new Uint8Array(65536);
for (let sample = -32768; sample < 32768; sample++) {
  const magnitude = Math.min(Math.abs(sample), 32635) + 0x84;
  const segment = 24 - Math.clz32(magnitude);
  const code = (sample < 0 ? 0x80 : 0) | (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f);
  toUlaw[sample & 0xffff] = ~code & 0xff;
}

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false });
server.on("connection", (socket) => {
  let chunk = 0;
  socket.on("message", (message) => {
    const event = JSON.parse(message);
    if (event.event !== "media") return;
    const ulaw = Buffer.from(event.media.payload, "base64");
    const pcm = new Int16Array(ulaw.length);
    for (let i = 0; i < ulaw.length; i++) pcm[i] = toPcm[ulaw[i]];
    const reply = Buffer.allocUnsafe(pcm.length);
    for (let i = 0; i < pcm.length; i++) reply[i] = toUlaw[pcm[i] & 0xffff];
    chunk += 1;
    const media = { payload: reply.toString("base64"), chunk };
    socket.send(JSON.stringify({ event: "media", streamSid: event.streamSid, media }));
  });
  socket.on("error", () => {});
});
