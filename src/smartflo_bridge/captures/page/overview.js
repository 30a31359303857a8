// The whole call in one strip: what of it the picture shows, and the way to anywhere else in it.

const EDGE_PIXELS = 8;

class Overview {
  constructor(canvas, tables, view) {
    this.paint = new Paint(canvas);
    this.canvas = canvas;
    this.tables = tables;
    this.view = view;
    this.whole = new View(view.seconds, () => {});
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => (this.drag = null));
    canvas.addEventListener("pointercancel", () => (this.drag = null));
  }

  draw(cursor) {
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    this.whole.width = width;
    this.paint.begin(width, height);
    this.drawVoice(this.tables.callerPeaks, "caller", height * 0.3, height * 0.28);
    this.drawVoice(this.tables.usPeaks, "us", height * 0.72, height * 0.26);
    const x0 = this.whole.x(this.view.from);
    const x1 = Math.max(this.whole.x(this.view.to), x0 + 3);
    this.paint.rect(0, 0, x0, height, "paper", 0.65);
    this.paint.rect(x1, 0, width - x1, height, "paper", 0.65);
    const context = this.paint.context;
    context.strokeStyle = this.paint.colours[this.view.isWhole ? "line" : "cursor"];
    context.lineWidth = 2;
    context.strokeRect(x0 + 1, 1, x1 - x0 - 2, height - 2);
    this.paint.line(this.whole.x(cursor), 0, this.whole.x(cursor), height, "cursor", 1.5);
  }

  drawVoice(peaks, colour, middle, half) {
    const height = columnHeights(peaks, "peak", this.whole);
    this.paint.wave(0, Math.ceil(this.whole.width), middle, (column) => (height(column) * half) / 255, colour, 0.8);
  }

  // At an edge of the window: move the edge. Inside: move the window. Elsewhere: bring the window there, or open one.
  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.whole.time(event.offsetX);
    const x0 = this.whole.x(this.view.from);
    const x1 = this.whole.x(this.view.to);
    if (Math.abs(event.offsetX - x0) <= EDGE_PIXELS && !this.view.isWhole) this.drag = { anchor: this.view.to };
    else if (Math.abs(event.offsetX - x1) <= EDGE_PIXELS && !this.view.isWhole) this.drag = { anchor: this.view.from };
    else if (this.view.isWhole) this.drag = { anchor: at };
    else {
      if (at < this.view.from || at > this.view.to) this.view.pan(at - (this.view.from + this.view.to) / 2);
      this.drag = { last: at };
    }
  }

  move(event) {
    if (!this.drag) return;
    const at = Math.min(Math.max(this.whole.time(event.offsetX), 0), this.view.seconds);
    if (this.drag.anchor === undefined) {
      this.view.pan(at - this.drag.last);
      this.drag.last = at;
    } else if (Math.abs(at - this.drag.anchor) > 4 * this.whole.perPixel) {
      this.view.show(Math.min(at, this.drag.anchor), Math.max(at, this.drag.anchor));
    }
  }
}
