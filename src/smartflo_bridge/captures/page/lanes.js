// The picture: lanes under one time axis. Each thing drawn leaves a box behind, so that the pointer finds it again.

const GUTTER = 104;
const NARROW = 640;

function laneTops(width) {
  const isNarrow = width < NARROW;
  const heights = isNarrow
    ? { axis: 20, caller: 92, talk: 46, us: 92, marks: 52, lead: 54, events: 30 }
    : { axis: 22, caller: 126, talk: 50, us: 126, marks: 44, lead: 58, events: 30 };
  const lanes = {};
  let top = 0;
  for (const [name, height] of Object.entries(heights)) {
    lanes[name] = { name, top, height, bottom: top + height, middle: top + height / 2 };
    top += height;
  }
  return { lanes, height: top, isNarrow };
}

class Picture {
  constructor(canvas, tables, view, tape) {
    this.paint = new Paint(canvas);
    this.canvas = canvas;
    this.tables = tables;
    this.view = view;
    this.tape = tape;
    this.cursor = 0;
    this.pointer = null;
    this.selected = null;
    this.hits = [];
    this.byKind = groupByKind(story.happenings);
  }

  draw() {
    const width = this.canvas.clientWidth;
    const { lanes, height, isNarrow } = laneTops(width);
    Object.assign(this, { lanes, height, isNarrow, hits: [] });
    this.view.left = isNarrow ? 0 : GUTTER;
    this.view.width = Math.max(width - this.view.left - (isNarrow ? 0 : 12), 10);
    this.isFar = this.view.perPixel > FAR;
    this.right = this.view.left + this.view.width;
    this.paint.begin(width, height);
    this.clipped(() => this.drawScene());
    this.drawNames();
    this.drawCursor();
  }

  clipped(draw) {
    const context = this.paint.context;
    context.save();
    context.beginPath();
    context.rect(this.view.left - 0.5, 0, this.view.width + 1, this.height);
    context.clip();
    draw();
    context.restore();
  }

  drawScene() {
    this.drawGrid();
    this.drawVoice(this.lanes.caller, story.caller, this.tables.callerPeaks, "caller");
    this.drawVoice(this.lanes.us, story.us, this.tables.usPeaks, "us");
    drawLead(this);
    drawTurns(this);
    drawBargeIns(this);
    drawClears(this);
    drawGaps(this);
    drawKeys(this);
    drawMarks(this);
    drawEvents(this);
    this.drawSelection();
  }

  // The happenings of a kind that are in sight.
  *seen(kind) {
    for (const one of this.byKind[kind] || []) {
      if (one.end >= this.view.from && one.start <= this.view.to) yield one;
    }
  }

  *inSight(spans) {
    for (const [start, end] of spans) {
      if (end >= this.view.from && start <= this.view.to) yield [this.view.x(start), this.view.x(end)];
    }
  }

  leave(one, x0, x1, y0, y1) {
    this.hits.push({ one, x0: Math.min(x0, x1), x1: Math.max(x0, x1), y0, y1 });
  }

  // --- Voices

  drawGrid() {
    const step = gridStep(this.view, 76);
    const decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : 3;
    for (let index = Math.ceil(this.view.from / step); index * step <= this.view.to; index++) {
      const x = this.view.x(index * step);
      this.paint.line(x, 16, x, this.lanes.lead.bottom, "line", 1);
      if (x < this.right - 34) this.paint.text(x + 4, 13, clock(index * step, decimals), { colour: "muted", size: 11, rim: false });
    }
  }

  drawVoice(lane, voice, peaks, colour) {
    for (const [x0, x1] of this.inSight(voice.speech)) {
      this.paint.rect(x0, lane.top, Math.max(x1 - x0, 1), lane.height, `${colour}-soft`, 1, 3);
    }
    this.paint.line(this.view.left, lane.middle, this.right, lane.middle, "line", 1);
    for (const [x0, x1] of this.inSight(voice.present)) {
      this.paint.rect(x0, lane.middle - 0.6, Math.max(x1 - x0, 0.8), 1.2, colour, 0.6);
    }
    const half = lane.height / 2 - 8;
    if (this.view.perPixel < FRAME_SECONDS / 2 && this.drawSamples(lane, voice, colour, half)) return;
    const columns = Math.ceil(this.view.width);
    for (const [name, alpha] of [["peak", 0.4], ["rms", 1]]) {
      const height = columnHeights(peaks, name, this.view);
      this.paint.wave(this.view.left, columns, lane.middle, (column) => (height(column) * half) / 255, colour, alpha);
    }
  }

  // From close by, the samples themselves, once they are unpacked.
  drawSamples(lane, voice, colour, half) {
    const sample = this.tape.reader(colour, this.view.from, this.view.to);
    if (!sample) return false;
    const y = (value) => lane.middle - Math.sign(value) * Math.sqrt(Math.abs(value)) * half;
    this.paint.context.strokeStyle = this.paint.colours[colour];
    this.paint.context.lineWidth = this.view.perPixel * SAMPLE_RATE > 1 ? 1 : 1.4;
    for (const [start, end] of voice.present) {
      const from = Math.floor(Math.max(start, this.view.from) * SAMPLE_RATE);
      const to = Math.min(end, this.view.to) * SAMPLE_RATE;
      if (from < to) this.strokeSamples(sample, from, to, y);
    }
    return true;
  }

  // For each pixel, from the lowest to the highest of its samples; where they are further apart, from one to the next.
  strokeSamples(sample, from, to, y) {
    const context = this.paint.context;
    const step = Math.max(this.view.perPixel * SAMPLE_RATE, 1);
    context.beginPath();
    for (let at = from; at < to; at += step) {
      let low = 1;
      let high = -1;
      for (let index = Math.floor(at); index < at + step; index++) {
        const value = sample(index);
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      const x = this.view.x(Math.floor(at) / SAMPLE_RATE);
      context.lineTo(x, y(high));
      context.lineTo(x, y(low));
    }
    context.stroke();
  }

  // --- Names, cursor, selection

  drawNames() {
    const names = [
      ["caller", "Caller", "caller", "as it arrived", 4],
      ["talk", "Turns", "turn", "and barge-ins", -2],
      ["us", "Us", "us", "as it was heard", 4],
      ["marks", "Marks", "ink", "sent to echoed", 0],
      ["lead", "Lead", "ink", `0 to ${Math.round(story.lead * 1000)} ms`, 2],
    ];
    for (const [lane, name, colour, what, shift] of names) {
      const { top, middle } = this.lanes[lane];
      if (this.isNarrow) {
        if (lane !== "talk") this.paint.text(4, top + 13, name, { colour, size: 11, weight: 700 });
      } else {
        this.paint.text(GUTTER - 14, middle + shift - 2, name, { colour, size: 14, weight: 650, align: "right" });
        this.paint.text(GUTTER - 14, middle + shift + 13, what, { colour: "muted", size: 10.5, align: "right" });
      }
    }
  }

  drawCursor() {
    const x = this.view.x(this.cursor);
    const bottom = this.lanes.events.top + 4;
    if (this.pointer !== null && this.pointer >= this.view.left && this.pointer <= this.right) {
      this.paint.line(this.pointer, 16, this.pointer, bottom, "muted", 1, [1, 2]);
    }
    if (x < this.view.left - 1 || x > this.right + 1) return;
    this.paint.line(x, 6, x, bottom, "cursor", 2);
    this.paint.polygon([[x - 6, 2], [x + 6, 2], [x, 11]], "cursor");
  }

  drawSelection() {
    const hit = this.hits.find(({ one }) => one === this.selected);
    if (!hit) return;
    const { x0, x1, y0, y1 } = hit;
    const context = this.paint.context;
    context.strokeStyle = this.paint.colours.cursor;
    context.lineWidth = 2;
    context.beginPath();
    context.roundRect(x0 - 4, y0 + 1, x1 - x0 + 8, y1 - y0 - 2, 4);
    context.stroke();
  }
}

function groupByKind(happenings) {
  const groups = {};
  for (const one of happenings) (groups[one.kind] ||= []).push(one);
  return groups;
}
