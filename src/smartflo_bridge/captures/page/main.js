// Brings it all together, and says on the stage's data-* what is shown: for tests, and for who looks into the page.

async function openReport() {
  const tables = await unpackAll();
  const stage = document.getElementById("stage");
  const canvas = document.getElementById("picture");
  let picture = null;
  let overview = null;
  let isDue = false;

  const redraw = () => {
    if (isDue || !picture) return;
    isDue = true;
    requestAnimationFrame(() => isDue && redraw.now());
  };
  redraw.now = () => {
    isDue = false;
    picture.cursor = player.position;
    picture.draw();
    overview.draw(picture.cursor);
    report();
  };

  const view = new View(story.seconds, redraw);
  const tape = new Tape(redraw);
  const player = new Player(tape, story.seconds, () => {
    redraw();
    if (player.isPlaying) follow();
  });

  function follow() {
    if (!player.isPlaying) return;
    if (player.position > view.to && !view.isWhole) view.pan(player.position - view.from - view.span * 0.05);
    redraw();
    requestAnimationFrame(follow);
  }

  function report() {
    const { isPlaying } = player;
    Object.assign(stage.dataset, {
      from: view.from.toFixed(4),
      to: view.to.toFixed(4),
      position: picture.cursor.toFixed(3),
      playing: isPlaying,
    });
    document.getElementById("position").textContent = clock(picture.cursor);
    const button = document.getElementById("play");
    if (button && button.getAttribute("aria-pressed") !== String(isPlaying)) {
      button.setAttribute("aria-pressed", isPlaying);
      button.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    }
  }

  document.documentElement.classList.replace("no-script", "script");
  canvas.style.height = `${laneTops(canvas.clientWidth).height}px`;
  picture = new Picture(canvas, tables, view, tape);
  overview = new Overview(document.getElementById("overview"), tables, view);
  new Controls({ stage, canvas, picture, view, player, card: new Card(document.getElementById("card")), redraw });
  watchSurroundings(canvas, [picture, overview], redraw);
  redraw.now();
  document.documentElement.dataset.openedMs = performance.now().toFixed(0);
}

// Another width, another screen, another theme.
function watchSurroundings(canvas, painted, redraw) {
  new ResizeObserver(() => {
    canvas.style.height = `${laneTops(canvas.clientWidth).height}px`;
    redraw();
  }).observe(canvas.parentElement);
  addEventListener("load", redraw); // by now all audio is there
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { paint } of painted) paint.colours = readColours();
    redraw();
  });
}

openReport().catch((error) => {
  document.documentElement.classList.replace("script", "no-script");
  document.getElementById("trouble").hidden = false;
  console.error(error);
});
