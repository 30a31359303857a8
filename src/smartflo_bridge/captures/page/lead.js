// The lane of the lead: what the platform held of our audio, and how late we were.

// What the platform held, falling with time and jumping up with each message; from above, how late a message was.
function drawLead(picture) {
  const { top, bottom, height } = picture.lanes.lead;
  const room = height - 10;
  const unit = room / story.lead;
  picture.paint.rect(picture.view.left, top + 4, picture.view.width, height - 4, "shade");
  const columns = leadColumns(picture);
  const xs = columns.high.map((_, column) => picture.view.left + column + 0.5);
  for (const [name, alpha] of [["high", 0.25], ["low", 0.45]]) {
    const points = [...columns[name]].map((lead, column) => [xs[column], bottom - Math.min(lead * unit, height - 4)]);
    picture.paint.polygon([[picture.view.left, bottom], ...points, [picture.right, bottom]], "us", alpha);
  }
  picture.paint.line(picture.view.left, bottom - room, picture.right, bottom - room, "us", 1, [2, 3]);
  columns.late.forEach((late, column) => {
    if (late * unit >= 0.5) picture.paint.rect(xs[column] - 0.5, bottom - room, 1.5, Math.min(late * unit, room), "bad");
  });
}

function leadColumns(picture) {
  const count = Math.ceil(picture.view.width);
  const columns = { low: new Float64Array(count), high: new Float64Array(count), late: new Float64Array(count) };
  const { sendings } = picture.tables;
  let next = lastAtMost(sendings.at, picture.view.from * 1e6);
  for (let column = 0; column < count; column++) {
    const begin = picture.view.from + column * picture.view.perPixel;
    const end = begin + picture.view.perPixel;
    let low = leadAt(picture, begin, next);
    let high = low;
    while (next + 1 < sendings.rows && sendings.at[next + 1] / 1e6 < end) {
      next++;
      low = Math.min(low, sendings.lead[next] / 1e6);
      high = Math.max(high, sendings.lead[next] / 1e6 + sendings.size[next] / SAMPLE_RATE);
      columns.late[column] = Math.max(columns.late[column], sendings.late[next] / 1e6);
    }
    columns.low[column] = Math.min(low, leadAt(picture, end, next));
    columns.high[column] = high;
  }
  return columns;
}

function leadAt(picture, seconds, index) {
  if (index < 0) return 0;
  const { at, lead, size } = picture.tables.sendings;
  const sent = at[index] / 1e6;
  const cleared = lastAtMost(story.cuts, seconds);
  if (cleared >= 0 && story.cuts[cleared] >= sent) return 0;
  return Math.max(lead[index] / 1e6 + size[index] / SAMPLE_RATE - (seconds - sent), 0);
}
