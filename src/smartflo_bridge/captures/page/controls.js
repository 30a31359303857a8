// Mouse, touch, keys and buttons: what a person does with the picture.

const DRAG_PIXELS = 4;

class Controls {
  constructor({ stage, canvas, picture, view, player, card, redraw }) {
    Object.assign(this, { stage, canvas, picture, view, player, card, redraw });
    this.touches = new Map();
    this.listenToPointer();
    this.listenToWheel();
    this.listenToKeys();
    this.listenToButtons();
  }

  // --- Pointer

  listenToPointer() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.forget(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("dblclick", (event) => this.view.zoom(event.shiftKey ? 1 / 4 : 4, this.view.time(event.offsetX)));
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.touches.set(event.pointerId, { x: event.offsetX, startX: event.offsetX, isDrag: this.touches.size > 0 });
  }

  move(event) {
    const touch = this.touches.get(event.pointerId);
    if (!touch) {
      this.hover(event.offsetX, event.offsetY);
      return;
    }
    if (this.touches.size === 2) this.pinch(event.pointerId, event.offsetX);
    else if (touch.isDrag || Math.abs(event.offsetX - touch.startX) > DRAG_PIXELS) {
      touch.isDrag = true;
      this.card.hide();
      this.view.pan((touch.x - event.offsetX) * this.view.perPixel);
    }
    touch.x = event.offsetX;
  }

  // Keep what is under the fingers under them.
  pinch(id, x) {
    const [still] = [...this.touches].filter(([other]) => other !== id).map(([, touch]) => touch);
    const moved = this.touches.get(id);
    const before = Math.abs(moved.x - still.x);
    const after = Math.abs(x - still.x);
    if (before < 10 || after < 10) return;
    this.view.zoom(after / before, this.view.time(still.x));
  }

  release(event) {
    const touch = this.touches.get(event.pointerId);
    this.forget(event);
    if (touch && !touch.isDrag) this.tap(event.offsetX, event.offsetY);
  }

  forget(event) {
    this.touches.delete(event.pointerId);
  }

  leave() {
    this.picture.pointer = null;
    if (!this.card.isPinned) this.card.hide();
    this.redraw();
  }

  hover(x, y) {
    this.picture.pointer = x;
    if (!this.card.isPinned) this.present(x, y);
    this.canvas.classList.toggle("at-something", Boolean(happeningAt(this.picture, x, y)));
    this.redraw();
  }

  tap(x, y) {
    const happening = happeningAt(this.picture, x, y);
    this.picture.selected = happening;
    if (x >= this.view.left) this.player.seek(this.view.time(x));
    this.card.isPinned = this.present(x, y);
    this.redraw();
  }

  // Show the card of what is at a point; return whether there is something.
  present(x, y) {
    const happening = happeningAt(this.picture, x, y);
    const content = happening ? cardOf(happening) : audioCard(this.picture, x, y);
    if (content) this.card.show(content, x, y, this.bounds());
    else this.card.hide();
    return Boolean(content);
  }

  bounds() {
    const { top } = this.stage.getBoundingClientRect();
    return { width: this.stage.clientWidth, top: Math.min(-top, 0), bottom: window.innerHeight - top };
  }

  // --- Wheel: with Ctrl it zooms (a pinch on a touchpad is the same), sideways it pans; else the page scrolls.

  listenToWheel() {
    const onWheel = (event) => {
      const sideways = event.shiftKey ? event.deltaY : event.deltaX;
      if (event.ctrlKey || event.metaKey) this.view.zoom(Math.exp(-event.deltaY / 300), this.view.time(event.offsetX));
      else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) this.view.pan(sideways * this.view.perPixel);
      else return;
      event.preventDefault();
    };
    this.canvas.addEventListener("wheel", onWheel, { passive: false });
  }

  // --- Keys

  listenToKeys() {
    const actions = {
      " ": () => this.player.toggle(),
      ArrowLeft: (event) => this.view.pan(-this.view.span * (event.shiftKey ? 0.8 : 0.15)),
      ArrowRight: (event) => this.view.pan(this.view.span * (event.shiftKey ? 0.8 : 0.15)),
      "+": () => this.zoomAtCursor(1.6),
      "=": () => this.zoomAtCursor(1.6),
      "-": () => this.zoomAtCursor(1 / 1.6),
      0: () => this.view.showAll(),
      Home: () => this.go(0),
      End: () => this.go(this.view.seconds),
      "[": () => this.go(this.player.position - 2),
      "]": () => this.go(this.player.position + 2),
      n: () => this.step(1),
      p: () => this.step(-1),
      Escape: () => this.dismiss(),
    };
    document.addEventListener("keydown", (event) => {
      const action = actions[event.key];
      const { target } = event;
      const isHere = target === document.body || this.stage.contains(target);
      const isTheirs = target.closest("select") || (event.key === " " && target.closest("button"));
      if (!action || !isHere || isTheirs || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action(event);
    });
  }

  zoomAtCursor(factor) {
    const { cursor } = this.picture;
    const isSeen = cursor >= this.view.from && cursor <= this.view.to;
    this.view.zoom(factor, isSeen ? cursor : undefined);
  }

  go(seconds) {
    const at = Math.min(Math.max(seconds, 0), this.view.seconds);
    this.player.seek(at);
    this.view.reveal(at);
  }

  // To the next thing that happened, or the one before; it is shown, and said to who cannot see it.
  step(direction) {
    const all = story.happenings.filter((one) => one.tone !== "faint");
    if (!all.length) return;
    const current = all.indexOf(this.picture.selected);
    const after = all.findIndex((one) => one.start > this.picture.cursor + 1e-6);
    const next = current >= 0 ? current + direction : direction > 0 ? after : (after < 0 ? all.length : after) - 1;
    this.select(all[Math.min(Math.max(next, 0), all.length - 1)]);
  }

  select(happening) {
    this.picture.selected = happening;
    this.go(happening.start);
    this.view.reveal(happening.start);
    this.redraw.now();
    const hit = this.picture.hits.find(({ one }) => one === happening);
    if (hit) {
      this.card.show(cardOf(happening), (hit.x0 + hit.x1) / 2, hit.y1, this.bounds());
      this.card.isPinned = true;
    }
    document.getElementById("said").textContent = `${clock(happening.start)}: ${happening.text}`;
  }

  dismiss() {
    this.card.hide();
    this.picture.selected = null;
    this.redraw();
  }

  // --- Buttons, and the times in the table

  listenToButtons() {
    const actions = {
      play: () => this.player.toggle(),
      "zoom-in": () => this.zoomAtCursor(2),
      "zoom-out": () => this.zoomAtCursor(1 / 2),
      "zoom-all": () => this.view.showAll(),
      previous: () => this.step(-1),
      next: () => this.step(1),
      save: () => savePicture(),
    };
    for (const [id, action] of Object.entries(actions)) document.getElementById(id)?.addEventListener("click", action);
    document.getElementById("speed")?.addEventListener("change", (event) => this.player.setSpeed(Number(event.target.value)));
    document.addEventListener("click", (event) => {
      const link = event.target.closest("[data-at]");
      if (!link) return;
      const at = Number(link.dataset.at);
      const happening = story.happenings[Number(link.dataset.happening ?? -1)];
      if (this.view.isWhole && this.view.seconds > 40) this.view.show(at - 10, at + 10);
      this.stage.scrollIntoView({ block: "nearest" });
      if (happening) this.select(happening);
      else this.go(at);
    });
  }
}

// The still picture as PNG, twice as fine as a screen, for a place that takes no SVG.
async function savePicture() {
  const svg = document.querySelector("#still svg");
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * svg.viewBox.baseVal.width;
  canvas.height = 2 * svg.viewBox.baseVal.height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = "call.png";
  link.click();
}
