// Which part of the call is shown: a window on the time axis, in seconds, and its width in pixels.

const SHORTEST_SECONDS = 0.02;

class View {
  constructor(seconds, onChange) {
    this.seconds = Math.max(seconds, 0.1);
    this.from = 0;
    this.to = this.seconds;
    this.left = 0;
    this.width = 1;
    this.onChange = onChange;
  }

  get span() {
    return this.to - this.from;
  }

  get perPixel() {
    return this.span / this.width;
  }

  get isWhole() {
    return this.span >= this.seconds - 1e-9;
  }

  x(seconds) {
    return this.left + (seconds - this.from) / this.perPixel;
  }

  time(x) {
    return this.from + (x - this.left) * this.perPixel;
  }

  show(from, to) {
    const span = Math.min(Math.max(to - from, SHORTEST_SECONDS), this.seconds);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, 0), this.seconds - span);
    this.to = this.from + span;
    this.onChange();
  }

  showAll() {
    this.show(0, this.seconds);
  }

  // Keep `at` where it is on the screen.
  zoom(factor, at = (this.from + this.to) / 2) {
    const span = Math.min(Math.max(this.span / factor, SHORTEST_SECONDS), this.seconds);
    const from = at - ((at - this.from) / this.span) * span;
    this.show(from, from + span);
  }

  pan(seconds) {
    this.show(this.from + seconds, this.to + seconds);
  }

  // Make sure that a moment is seen, with something around it.
  reveal(at) {
    if (at < this.from || at > this.to) this.pan(at - (this.from + this.to) / 2);
  }
}

const GRID_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

function gridStep(view, pixels) {
  return GRID_STEPS.find((step) => step / view.perPixel >= pixels) || 7200;
}

function clock(seconds, decimals = 1) {
  const factor = 10 ** decimals;
  const units = Math.round(seconds * factor);
  const whole = Math.floor(units / factor);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const head = hours ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  const tail = decimals ? `.${String(units % factor).padStart(decimals, "0")}` : "";
  return `${head}:${String(whole % 60).padStart(2, "0")}${tail}`;
}

function milliseconds(seconds) {
  return `${(seconds * 1000).toFixed(seconds < 0.01 && seconds > 0 ? 1 : 0)} ms`;
}
