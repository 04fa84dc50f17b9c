"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const sliders = { m: document.getElementById("m"), n: document.getElementById("n") };
const play = document.getElementById("play");
const sections = [...document.querySelectorAll("section")];
let timer = null;
let step = 0;

function show() {
  const m = Number(sliders.m.value), n = Number(sliders.n.value);
  document.getElementById("told-m").value = m;
  document.getElementById("told-n").value = n;
  const row = m + data.reach, column = n + data.reach, side = 2 * data.reach;
  sections.forEach((section, i) => {
    const track = data.tracks[i];
    const frame = row * (side + 1) + column;
    section.querySelectorAll(".panel").forEach((panel) => {
      panel.style.backgroundPosition = `${(100 * column) / side}% ${(100 * row) / side}%`;
    });
    const [top, left, height, width] = track.outlines[frame];
    section.querySelectorAll(".outline").forEach((box) => {
      Object.assign(box.style, { top: `${top}%`, left: `${left}%`, height: `${height}%`, width: `${width}%` });
    });
    const said = document.getElementById(`said-${i}`);
    said.textContent = track.said[frame];
    said.className = `said ${track.exact[frame] ? "equivariant" : "broken"}`;
  });
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
  play.setAttribute("aria-pressed", "false");
}

play.addEventListener("click", () => {
  if (timer !== null) { stop(); return; }
  play.textContent = "Pause";
  play.setAttribute("aria-pressed", "true");
  timer = setInterval(() => {
    step = (step + 1) % data.path.length;
    [sliders.m.value, sliders.n.value] = data.path[step];
    show();
  }, 200);
});
for (const slider of Object.values(sliders)) {
  slider.addEventListener("input", () => { if (timer !== null) stop(); show(); });
}
show();
