// The call's audio: blocks of mu-law that are unpacked when they are wanted, and a player of them. Left the caller, right us.

const KEPT_BLOCKS = 60;
const AHEAD_SECONDS = 15;

class Tape {
  constructor(onReady) {
    this.blocks = new Map();
    this.onReady = onReady;
  }

  get isThere() {
    return story.hasAudio;
  }

  // A block of both sides; undefined while it is unpacked, null where the page has none (yet).
  peek(index) {
    if (!this.blocks.has(index)) this.load(index).then((block) => block && this.onReady());
    return this.blocks.get(index);
  }

  async load(index) {
    const known = this.blocks.get(index);
    if (known) return known;
    const element = document.getElementById(`audio-${index}`);
    if (!element) return null;
    this.blocks.set(index, undefined);
    const bytes = await unpack(element);
    const block = { caller: bytes.subarray(0, bytes.length / 2), us: bytes.subarray(bytes.length / 2) };
    this.blocks.set(index, block);
    if (this.blocks.size > KEPT_BLOCKS) this.blocks.delete(this.blocks.keys().next().value);
    return block;
  }

  // A function from a sample's number to its value, or null while something is missing.
  reader(side, from, to) {
    if (!this.isThere) return null;
    const size = BLOCK_SECONDS * SAMPLE_RATE;
    const first = Math.floor(from / BLOCK_SECONDS);
    const sides = [];
    for (let index = first; index <= Math.floor(to / BLOCK_SECONDS); index++) sides.push(this.peek(index)?.[side]);
    if (!sides[0]) return null;
    return (at) => ULAW[sides[Math.floor(at / size) - first]?.[at % size] ?? 0xff];
  }
}

class Player {
  constructor(tape, seconds, onChange) {
    this.tape = tape;
    this.seconds = seconds;
    this.onChange = onChange;
    this.at = 0;
    this.speed = 1;
    this.sources = new Set();
    this.isPlaying = false;
  }

  get position() {
    if (!this.isPlaying) return this.at;
    const passed = Math.max(this.context.currentTime - this.began, 0) * this.speed;
    return Math.min(this.at + passed, this.seconds);
  }

  async toggle() {
    if (this.isPlaying) this.stop();
    else await this.start();
  }

  async start() {
    this.context ||= new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    if (this.at >= this.seconds - 0.05) this.at = 0;
    this.isPlaying = true;
    this.began = this.context.currentTime + 0.06;
    this.scheduled = this.at;
    this.onChange();
    const run = (this.run = Symbol("run"));
    while (this.isPlaying && this.run === run) {
      await this.scheduleAhead(run);
      if (this.position >= this.seconds) this.finish();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async scheduleAhead(run) {
    while (this.scheduled < Math.min(this.position + AHEAD_SECONDS * this.speed, this.seconds)) {
      const index = Math.floor(this.scheduled / BLOCK_SECONDS + 1e-9);
      const block = await this.tape.load(index);
      if (this.run !== run || !this.isPlaying) return;
      if (!block && document.readyState !== "complete") return; // the page is still being read
      const start = index * BLOCK_SECONDS;
      if (block) this.schedule(block, this.scheduled - start, this.began + (this.scheduled - this.at) / this.speed);
      this.scheduled = start + BLOCK_SECONDS;
    }
  }

  schedule(block, offset, when) {
    const buffer = this.context.createBuffer(2, Math.max(block.caller.length, 1), SAMPLE_RATE);
    [block.caller, block.us].forEach((ulaw, channel) => {
      const samples = buffer.getChannelData(channel);
      for (let i = 0; i < ulaw.length; i++) samples[i] = ULAW[ulaw[i]];
    });
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.playbackRate.value = this.speed;
    source.connect(this.context.destination);
    const late = Math.max(this.context.currentTime - when, 0);
    source.start(when + late, offset + late * this.speed);
    this.sources.add(source);
    source.onended = () => this.sources.delete(source);
  }

  stop() {
    this.at = this.position;
    this.silence();
  }

  finish() {
    this.at = this.seconds;
    this.silence();
  }

  silence() {
    this.isPlaying = false;
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.onChange();
  }

  // Go to a moment, and go on playing there if it was playing.
  async seek(seconds) {
    const wasPlaying = this.isPlaying;
    if (wasPlaying) this.silence();
    this.at = Math.min(Math.max(seconds, 0), this.seconds);
    this.onChange();
    if (wasPlaying) await this.start();
  }

  async setSpeed(speed) {
    const at = this.position;
    const wasPlaying = this.isPlaying;
    if (wasPlaying) this.silence();
    this.at = at;
    this.speed = speed;
    if (wasPlaying) await this.start();
  }
}
