// What the pointer is at, in words, and the card that shows it with its messages.

const NEAR_PIXELS = 6;

// The happening nearest to a point, if one is near.
function happeningAt(picture, x, y) {
  let best = null;
  let bestDistance = NEAR_PIXELS;
  for (const { one, x0, x1, y0, y1 } of picture.hits) {
    if (y < y0 - 2 || y > y1 + 2) continue;
    const distance = Math.max(x0 - x, x - x1, 0) + (x1 - x0) / 1e4;
    if (distance < bestDistance) [best, bestDistance] = [one, distance];
  }
  return best;
}

function cardOf(happening) {
  const length = happening.end > happening.start ? ` to ${clock(happening.end, 3)}` : "";
  return {
    when: `${clock(happening.start, 3)}${length}`,
    title: happening.text,
    messages: (happening.messages || []).map((index) => story.said[index]).filter(Boolean),
  };
}

// The audio message under a point of a voice's lane, or what the lead was.
function audioCard(picture, x, y) {
  const { lanes, tables, view } = picture;
  const seconds = view.time(x);
  if (seconds < 0 || seconds > view.seconds) return null;
  const isIn = (lane) => y >= lane.top && y < lane.bottom;
  if (isIn(lanes.caller)) return arrivalCard(tables.arrivals, seconds);
  if (isIn(lanes.us)) return sendingCard(tables.sendings, seconds, "heard");
  if (isIn(lanes.lead)) return sendingCard(tables.sendings, seconds, "at", picture);
  return null;
}

function arrivalCard(arrivals, seconds) {
  // The first message that arrived at or after this moment brought it, unless the caller's side has a hole here.
  const index = lastAtMost(arrivals.at, seconds * 1e6) + 1;
  if (index >= arrivals.rows) return null;
  const at = arrivals.at[index] / 1e6;
  const size = arrivals.size[index];
  if (at - seconds > size / SAMPLE_RATE + 1) return null;
  const numbers = { sequenceNumber: numeral(arrivals.sequence[index]) };
  const media = { chunk: numeral(arrivals.chunk[index]), timestamp: numeral(arrivals.timestamp[index]), payload: payloadText(size) };
  return {
    when: clock(seconds, 3),
    title: `The caller's audio, ${speechAt(story.caller.speech, seconds)}; it came at ${clock(at, 3)}`,
    messages: [{ at, who: "platform", text: JSON.stringify({ event: "media", ...numbers, streamSid: story.streamSid, media }) }],
  };
}

function sendingCard(sendings, seconds, column, picture = null) {
  const index = lastAtMost(sendings[column], seconds * 1e6);
  if (index < 0) return null;
  const at = sendings.at[index] / 1e6;
  const size = sendings.size[index];
  const late = sendings.late[index] / 1e6;
  const lateness = late > 0.0005 ? `, ${milliseconds(late)} late` : "";
  if (!picture && seconds > sendings.heard[index] / 1e6 + size / SAMPLE_RATE) return null;
  const title = picture
    ? `The platform held ${milliseconds(leadAt(picture, seconds, index))} of our audio; the last was sent at ${clock(at, 3)}${lateness}`
    : `Our audio, ${speechAt(story.us.speech, seconds)}; sent at ${clock(at, 3)}${lateness}`;
  const media = { payload: payloadText(size), chunk: sendings.chunk[index] };
  return {
    when: clock(seconds, 3),
    title,
    messages: [{ at, who: "us", text: JSON.stringify({ event: "media", streamSid: story.streamSid, media }) }],
  };
}

function speechAt(spans, seconds) {
  return spans.some(([start, end]) => start <= seconds && seconds < end) ? "speech" : "silence";
}

function numeral(value) {
  return value < 0 ? undefined : String(value);
}

function payloadText(size) {
  return `(${size} bytes, ${size / 8} ms of mu-law)`;
}

// The card: filled with text only, never with markup, whatever a message holds.
class Card {
  constructor(element) {
    this.element = element;
    this.isPinned = false;
  }

  show(content, x, y, bounds) {
    this.element.replaceChildren(
      this.line("card-when", content.when),
      this.line("card-title", content.title),
      ...content.messages.flatMap((message) => this.message(message)),
    );
    this.element.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = Math.min(Math.max(x + 14, 4), Math.max(bounds.width - width - 4, 4));
    const below = y + 18;
    const top = below + height > bounds.bottom ? Math.max(y - height - 14, bounds.top) : below;
    this.element.style.left = `${x + 14 + width > bounds.width - 4 && x - width - 14 > 4 ? x - width - 14 : left}px`;
    this.element.style.top = `${top}px`;
  }

  message({ at, who, text }) {
    const heading = { platform: "platform to us", us: "us to the platform", bridge: "inside the bridge" }[who];
    return [this.line("card-who", `${clock(at, 3)}  ${heading}`), this.line("card-message", pretty(text), "pre")];
  }

  line(name, text, tag = "p") {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  }

  hide() {
    this.element.hidden = true;
    this.isPinned = false;
  }
}

// JSON with spaces, so that it can be broken into lines.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1).replace(/\n\s*/g, " ");
  } catch {
    return text;
  }
}
