// What the page carries: the story as JSON, and packed bytes. Nothing is fetched from anywhere.

const SAMPLE_RATE = 8000;
const FRAME_SECONDS = 0.02;
const BLOCK_SECONDS = 10;

const story = JSON.parse(document.getElementById("story").textContent);

async function unpack(element) {
  const text = atob(element.textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

// A table of differences, column by column; see packing.py.
async function unpackColumns(id, names) {
  const bytes = await unpack(document.getElementById(id));
  const differences = new DataView(bytes.buffer);
  const rows = bytes.length / 4 / names.length;
  const table = { rows };
  names.forEach((name, column) => {
    const values = new Float64Array(rows);
    for (let row = 0, value = 0; row < rows; row++) {
      value += differences.getInt32(4 * (column * rows + row), true);
      values[row] = value;
    }
    table[name] = values;
  });
  return table;
}

// The peak and the RMS of each frame, and of each 8, 64 and 512 of them: a column of the picture looks at few values. Of
// several frames, the highest peak and the mean RMS: a far view shows how much was said, not that something was.
async function unpackPeaks(id) {
  const bytes = await unpack(document.getElementById(id));
  const half = bytes.length / 2;
  const levels = [{ frames: 1, peak: bytes.subarray(0, half), rms: bytes.subarray(half) }];
  while (levels.length < 4) {
    const below = levels[levels.length - 1];
    levels.push({ frames: below.frames * 8, peak: maxima(below.peak, 8), rms: means(below.rms, 8) });
  }
  return levels;
}

function maxima(values, group) {
  const result = new Uint8Array(Math.ceil(values.length / group));
  for (let i = 0; i < values.length; i++) {
    const at = Math.floor(i / group);
    if (values[i] > result[at]) result[at] = values[i];
  }
  return result;
}

function means(values, group) {
  const result = new Uint8Array(Math.ceil(values.length / group));
  for (let at = 0; at < result.length; at++) {
    const part = values.subarray(at * group, (at + 1) * group);
    result[at] = part.reduce((sum, value) => sum + value, 0) / part.length;
  }
  return result;
}

async function unpackAll() {
  const [callerPeaks, usPeaks, arrivals, sendings] = await Promise.all([
    unpackPeaks("caller-peaks"),
    unpackPeaks("us-peaks"),
    unpackColumns("arrivals", ["at", "size", "sequence", "chunk", "timestamp"]),
    unpackColumns("sendings", ["at", "size", "chunk", "heard", "lead", "late"]),
  ]);
  return { callerPeaks, usPeaks, arrivals, sendings };
}

// Mu-law to -1..1: G.711, as in the core's audio module.
const ULAW = Float32Array.from({ length: 256 }, (_, code) => {
  const inverted = ~code & 0xff;
  const magnitude = (((inverted & 0x0f) << 3) + 0x84) << ((inverted & 0x70) >> 4);
  return (inverted & 0x80 ? 0x84 - magnitude : magnitude - 0x84) / 32768;
});

// The last index whose value is not above `wanted`, or -1.
function lastAtMost(values, wanted) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
