// What happened, drawn into its lanes: turns and barge-ins between the voices, the rest where it belongs.

// From further away than so many seconds a pixel, single things are too small for lines and words of their own.
const FAR = 0.25;

// The latency that has the full height of a bar; what is slower has it too, and a label.
const TALL_SECONDS = 2;

// --- How the two took turns

function drawTurns(picture) {
  if (picture.isFar) {
    drawBars(picture, "turn", "turn", -1);
    return;
  }
  const labels = picture.paint.row(picture.right);
  const { top, height } = picture.lanes.talk;
  for (const one of picture.seen("turn")) {
    const x1 = handOver(picture, one, "turn");
    labels.add(x1 + 5, top + 18, one.label, "turn");
    picture.leave(one, picture.view.x(one.start), x1, top, top + height);
  }
  labels.write();
}

function drawBargeIns(picture) {
  if (picture.isFar) {
    drawBars(picture, "barge-in", "barge-in", 1);
    return;
  }
  const labels = picture.paint.row(picture.right);
  for (const one of picture.seen("barge-in")) {
    if (one.state === "cut") drawCut(picture, one, labels);
    else drawTalkedOn(picture, one, labels);
  }
  labels.write();
}

function drawCut(picture, one, labels) {
  const { top, bottom } = picture.lanes.talk;
  const x1 = handOver(picture, one, "barge-in");
  labels.add(x1 + 5, bottom - 8, `quiet after ${one.label}`, "barge-in");
  picture.leave(one, picture.view.x(one.start), x1, top, bottom);
}

function drawTalkedOn(picture, one, labels) {
  const { top, bottom } = picture.lanes.talk;
  const x0 = picture.view.x(one.start);
  const x1 = Math.max(picture.view.x(one.end), x0 + 2);
  picture.paint.line(x0, top, x0, bottom - 2, "barge-in", 1.2, [2, 2]);
  picture.paint.line(x0, bottom - 2, x1, bottom - 2, "barge-in", 1.2, [2, 2]);
  labels.add(x0 + 5, bottom - 8, `not cut, ${one.label}`, "barge-in");
  picture.leave(one, x0 - 3, x0 + 3, top, bottom);
  picture.leave(one, x0, x1, bottom - 12, bottom);
}

// From far away, a bar for each, the longer the slower; turns stand on the lane's middle, barge-ins hang from it. Those
// that were not cut are thin. The slowest are named.
function drawBars(picture, kind, colour, direction) {
  const { top, bottom, middle } = picture.lanes.talk;
  const room = (bottom - top) / 2 - 2;
  for (const one of picture.seen(kind)) {
    const x = picture.view.x(one.start);
    const length = Math.max(Math.min((one.end - one.start) / TALL_SECONDS, 1) * room, 2);
    const isThin = one.state === "talked on";
    picture.paint.rect(x - 1, direction < 0 ? middle - length : middle, isThin ? 1 : 2.4, length, colour, isThin ? 0.5 : 1);
    picture.leave(one, x - 1, x + 2, direction < 0 ? top : middle, direction < 0 ? middle : bottom);
  }
  picture.paint.line(picture.view.left, middle, picture.right, middle, "line", 1);
  nameSlowest(picture, kind, colour, direction < 0 ? top + 10 : bottom - 3);
}

function nameSlowest(picture, kind, colour, y) {
  const slowest = [...picture.seen(kind)].filter((one) => one.state !== "talked on");
  slowest.sort((one, other) => other.end - other.start - (one.end - one.start));
  const labels = picture.paint.row(picture.right);
  slowest.splice(5);
  slowest.sort((one, other) => one.start - other.start);
  for (const one of slowest) labels.add(picture.view.x(one.start) + 4, y, one.label, colour);
  labels.write();
}

// From the one's end, above, down to the other's beginning: the flatter, the slower.
function handOver(picture, one, colour) {
  const { top, bottom, height } = picture.lanes.talk;
  const x0 = picture.view.x(one.start);
  const x1 = picture.view.x(one.end);
  picture.paint.rect(x0, top, Math.max(x1 - x0, 1), height, `${colour}-soft`);
  picture.paint.line(x0, top, x1, bottom, colour, 2);
  return x1;
}

// --- Events

function drawKeys(picture) {
  const { top, bottom } = picture.lanes.caller;
  let group = null;
  const finish = () => group && drawKeyGroup(picture, group, top, bottom);
  for (const one of picture.seen("key")) {
    const x = picture.view.x(one.start);
    if (group && x - group.x < 10 + 8 * group.label.length) {
      group.label += one.label;
      group.keys.push(one);
    } else {
      finish();
      group = { x, label: one.label, keys: [one] };
    }
  }
  finish();
}

function drawKeyGroup(picture, { x, label, keys }, top, bottom) {
  const shown = label.length > 12 ? `${label.slice(0, 11)}…` : label;
  const width = picture.paint.measure(shown, 12, 700) + 10;
  const foot = picture.isFar ? top + 22 : bottom;
  for (const one of keys) picture.paint.line(picture.view.x(one.start), top, picture.view.x(one.start), foot, "caller", 1);
  const left = Math.min(x - 8, picture.right - width);
  picture.paint.rect(left, top + 2, width, 18, "caller", 1, 5);
  picture.paint.text(left + 5, top + 15, shown, { colour: "paper", size: 12, weight: 700, rim: false });
  keys.forEach((one, index) => {
    const at = left + (width * index) / keys.length;
    picture.leave(one, at, at + width / keys.length, top, top + 22);
    picture.leave(one, picture.view.x(one.start) - 2, picture.view.x(one.start) + 2, top, foot);
  });
}

function drawClears(picture) {
  const { top, bottom, middle, height } = picture.lanes.us;
  for (const [x0, x1] of picture.isFar ? [] : picture.inSight(story.unheard)) {
    picture.paint.rect(x0, middle - height / 4, Math.max(x1 - x0, 1), height / 2, "barge-in", 0.25);
  }
  const labels = picture.paint.row(picture.right);
  for (const one of picture.seen("clear")) {
    const x = picture.view.x(one.start);
    const isFaint = one.tone === "faint";
    const head = isFaint || picture.isFar ? bottom - (isFaint ? 6 : 12) : top;
    picture.paint.line(x, head, x, bottom, isFaint ? "muted" : "barge-in", isFaint ? 1 : 1.5, head === top ? [4, 3] : []);
    if (head === top) labels.add(x + 4, bottom - 6, "clear", "barge-in");
    picture.leave(one, x - 1, x + 1, Math.min(head, bottom - 12), bottom);
  }
  labels.write();
}

function drawGaps(picture) {
  const { top, bottom, height } = picture.lanes.us;
  const labels = picture.paint.row(picture.right);
  for (const one of picture.seen("gap")) {
    const x0 = picture.view.x(one.start);
    const x1 = picture.view.x(one.end);
    picture.paint.rect(x0, top, Math.max(x1 - x0, 1.5), height, "bad", 0.45);
    labels.add(x1 + 4, top + 13, `gap ${one.label}`, "bad");
    picture.leave(one, x0, x1, top, bottom);
  }
  labels.write();
}

function drawMarks(picture) {
  const { top, bottom } = picture.lanes.marks;
  const y = bottom - 14;
  const labels = picture.paint.row(picture.right);
  for (const one of picture.seen("mark")) {
    const colour = { bad: "bad", faint: "muted" }[one.tone] || "ink";
    const x0 = picture.view.x(one.start);
    const x1 = picture.view.x(one.end);
    picture.paint.line(x0, y, x1, y, colour, 1.5, one.state === "unsent" ? [1, 3] : []);
    if (x1 - x0 > 6) picture.paint.line(x0, y - 4, x0, y + 4, colour, 1.5);
    if (one.state === "played") picture.paint.dot(x1, y, picture.isFar ? 2 : 4, colour);
    else picture.paint.cross(x1, y, picture.isFar ? 2.5 : 3.5, colour);
    if (!picture.isFar || one.tone === "bad") labels.add(Math.max(x0 - 1, picture.view.left + 2), y - 9, one.label, colour);
    picture.leave(one, x0, x1, top + 4, bottom - 4);
  }
  labels.write();
}

// The stream's own milestones, and broken rules, on the floor of the picture.
function drawEvents(picture) {
  const y = picture.lanes.events.top + 6;
  const labels = picture.paint.row(picture.right);
  for (const kind of ["note", "rule"]) {
    const colour = kind === "rule" ? "bad" : "muted";
    for (const one of picture.seen(kind)) {
      const x = picture.view.x(one.start);
      if (kind === "rule") picture.paint.line(x, picture.lanes.caller.top, x, y, colour, 1);
      picture.paint.polygon([[x, y], [x - 5, y + 9], [x + 5, y + 9]], colour);
      picture.leave(one, x - 5, x + 5, y, y + 12);
    }
    for (const { x, words } of together(picture, kind)) labels.add(x + 8, y + 10, words, colour);
  }
  labels.write();
}

// The labels of things that stand too close for one each, joined; the same word is said once.
function together(picture, kind) {
  const groups = [];
  for (const one of picture.seen(kind)) {
    const x = picture.view.x(one.start);
    const last = groups[groups.length - 1];
    if (last && x - last.x < 40) last.words.add(one.label);
    else groups.push({ x, words: new Set([one.label]) });
  }
  return groups.map(({ x, words }) => ({ x, words: [...words].slice(0, 4).join(", ") }));
}
