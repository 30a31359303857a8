// How things are drawn on a canvas: colours from the style sheet, labels that do not collide, waveforms.

const COLOURS = ["paper", "ink", "muted", "line", "shade", "caller", "caller-soft", "us", "us-soft", "turn", "turn-soft", "barge-in", "barge-in-soft", "bad", "cursor"];
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

class Paint {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.colours = readColours();
  }

  // Fit the canvas to its place, sharp on any screen; its content is gone after this.
  begin(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.textBaseline = "alphabetic";
  }

  rect(x, y, width, height, colour, alpha = 1, radius = 0) {
    const context = this.context;
    context.globalAlpha = alpha;
    context.fillStyle = this.colours[colour];
    context.beginPath();
    if (radius) context.roundRect(x, y, width, height, radius);
    else context.rect(x, y, width, height);
    context.fill();
    context.globalAlpha = 1;
  }

  line(x1, y1, x2, y2, colour, width = 1, dash = []) {
    const context = this.context;
    context.strokeStyle = this.colours[colour];
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.setLineDash([]);
  }

  dot(x, y, radius, colour) {
    this.context.fillStyle = this.colours[colour];
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.fill();
  }

  cross(x, y, size, colour) {
    this.line(x - size, y - size, x + size, y + size, colour, 1.6);
    this.line(x - size, y + size, x + size, y - size, colour, 1.6);
  }

  polygon(points, colour, alpha = 1) {
    const context = this.context;
    context.globalAlpha = alpha;
    context.fillStyle = this.colours[colour];
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.fill();
    context.globalAlpha = 1;
  }

  // A rim of paper keeps a text off what is behind it.
  text(x, y, words, { colour = "ink", size = 12, weight = 400, align = "left", rim = true } = {}) {
    const context = this.context;
    context.font = `${weight} ${size}px ${FONT}`;
    context.textAlign = align;
    if (rim) {
      context.strokeStyle = this.colours.paper;
      context.lineWidth = 3.5;
      context.lineJoin = "round";
      context.strokeText(words, x, y);
    }
    context.fillStyle = this.colours[colour];
    context.fillText(words, x, y);
  }

  measure(words, size = 12, weight = 400) {
    this.context.font = `${weight} ${size}px ${FONT}`;
    return this.context.measureText(words).width;
  }

  // One row of labels, in front of what is drawn until `write`: each only where the one before leaves room. A label that
  // would leave the picture on the right stands to the left of its place.
  row(right) {
    const labels = [];
    return {
      add: (x, y, words, colour) => labels.push({ x, y, words, colour }),
      write: () => {
        let free = -Infinity;
        for (const { x, y, words, colour } of labels) {
          const width = this.measure(words, 11, 600);
          const start = x + width > right ? right - width - 10 : x;
          if (start < free || !words) continue;
          this.text(start, y, words, { colour, size: 11, weight: 600 });
          free = start + width + 6;
        }
      },
    };
  }

  // A shape as high above the middle as below; `height(column)` of each pixel column from `left` on.
  wave(left, columns, middle, height, colour, alpha) {
    const context = this.context;
    context.globalAlpha = alpha;
    context.fillStyle = this.colours[colour];
    context.beginPath();
    const heights = new Float32Array(columns);
    for (let column = 0; column < columns; column++) {
      heights[column] = height(column);
      context.lineTo(left + column + 0.5, middle - heights[column]);
    }
    for (let column = columns - 1; column >= 0; column--) context.lineTo(left + column + 0.5, middle + heights[column]);
    context.fill();
    context.globalAlpha = 1;
  }
}

// The height of each pixel column: the highest peak in it, or the mean RMS, from the level that is just fine enough.
function columnHeights(levels, name, view) {
  const framesPerPixel = view.perPixel / FRAME_SECONDS;
  const level = levels.filter(({ frames }) => frames <= Math.max(framesPerPixel, 1)).pop();
  const values = level[name];
  const scale = 1 / (FRAME_SECONDS * level.frames);
  return (column) => {
    const start = (view.from + column * view.perPixel) * scale;
    const end = start + view.perPixel * scale;
    if (end - start < 1) return between(values, (start + end) / 2 - 0.5);
    const part = values.subarray(Math.floor(start), Math.ceil(end));
    return name === "peak" ? part.reduce((one, other) => Math.max(one, other), 0) : mean(part);
  };
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

// Between two frames, the line that joins them.
function between(values, at) {
  const index = Math.floor(at);
  const before = values[Math.max(index, 0)] || 0;
  const after = values[Math.min(index + 1, values.length - 1)] || 0;
  return before + (after - before) * (at - index);
}
