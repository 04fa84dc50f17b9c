"use strict";
// Charts as SVG, coloured by the classes of the page; what is drawn is in the page as numbers too.
const data = JSON.parse(document.getElementById("data").textContent);
const LEAST = 1e-18; // where an error of 0 is drawn
const AXES = { 1: [""], 2: ["down", "right"], 3: ["depth", "down", "right"] };

const element = (tag, text, properties = {}) => Object.assign(document.createElement(tag), { textContent: text }, properties);
function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const told = (text, ...marks) => svg("g", {}, svg("title", {}, text), ...marks);
const word = (x, y, text, more = {}) => svg("text", { x, y, "text-anchor": "middle", ...more }, text);
const canvas = (width, height, ...children) => svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, ...children);
// as the tables and sentences show numbers: two digits, 1.2e-07
const shown = (value) => value === null ? "–" : value === 0 ? "0"
  : value.toExponential(1).replace(/e([+-])(\d)$/, (_, sign, digit) => `e${sign}0${digit}`);
const verdictClass = (verdict) => verdict.replaceAll(" ", "-");

// Draw anew whenever the place for a chart has another width.
function drawn(place, draw) {
  let last = 0;
  const again = () => {
    const width = Math.floor(place.clientWidth);
    if (width < 1) return;
    last = width;
    place.replaceChildren(...draw(width));
  };
  again();
  place.seen?.disconnect();
  place.seen = new ResizeObserver(() => Math.floor(place.clientWidth) !== last && again());
  place.seen.observe(place);
}

// A logarithmic scale over errors, with its lines and labels; 0 stands at the lower end.
function decades(values, left, right, top, bottom) {
  const logs = values.filter((v) => v > 0).map(Math.log10);
  const low = Math.floor(Math.min(-8, ...logs)) - 1, high = Math.max(Math.ceil(Math.max(-2, ...logs)), low + 2);
  const y = (value) => bottom - (bottom - top) * (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
  const step = Math.ceil((high - low) / 6), lines = svg("g", { class: "grid" });
  const mark = (at, text) => lines.append(
    svg("path", { d: `M${left} ${at}H${right}` }), word(left - 6, at + 4, text, { "text-anchor": "end" }));
  mark(bottom, "0");
  for (let power = high; power > low; power -= step) mark(y(10 ** power), power === 0 ? "1" : `1e${power}`);
  return { y, lines };
}

// -- the error over the shifts: a line along one axis, else a map for each depth --------------------
function overShifts(place, shifts, one, allowed) {
  const axes = shifts[0].length;
  const text = (i) => `shift (${shifts[i].join(", ")}): ${shown(one.errors[i] ?? null)}, ${one.kinds[one.verdicts[i]] ?? "not compared"}`;
  const kind = (i) => one.kinds[one.verdicts[i]] ?? "not compared";
  const points = shifts.map((shift, i) => ({ shift, error: one.errors[i] ?? null, kind: kind(i), text: text(i) }));
  place.classList.toggle("maps", axes > 1);
  document.querySelectorAll(".legend [data-for]").forEach((entry) => {
    entry.hidden = entry.dataset.for !== (axes === 1 ? "line" : "map");
  });
  if (axes === 1) drawn(place, (width) => [alongOne(points, width, allowed)]);
  else drawn(place, (width) => maps(points, axes, width));
}

const FAILS = new Set(["broken", "not invariant"]);

function alongOne(points, width, allowed) {
  const height = 260, left = 46, right = width - 16, top = 12, bottom = height - 46;
  const sorted = [...points].sort((a, b) => a.shift[0] - b.shift[0]);
  const [first, last] = [sorted[0].shift[0], sorted[sorted.length - 1].shift[0]];
  const x = (v) => first === last ? (left + right) / 2 : left + 8 + (right - left - 16) * (v - first) / (last - first);
  const known = sorted.filter((p) => p.error !== null);
  const { y, lines } = decades([...known.map((p) => p.error), allowed ?? 0], left, right, top, bottom);
  const chart = canvas(width, height, lines);
  const room = Math.max(1, Math.ceil(sorted.length * 30 / (right - left)));
  sorted.forEach((p, i) => {
    if (i % room === 0) chart.append(word(x(p.shift[0]), bottom + 16, String(p.shift[0])));
  });
  chart.append(word((left + right) / 2, height - 8, `shift, ${data.unit}`));
  if (allowed !== null && allowed !== undefined) chart.append(told(`allowed ${shown(allowed)}`, svg("path", { class: "allowed", d: `M${left} ${y(allowed)}H${right}` })));
  let path = "", open = false; // a gap where nothing was compared
  for (const p of sorted) {
    path += p.error === null ? "" : `${open ? "L" : "M"}${x(p.shift[0])} ${y(p.error)}`;
    open = p.error !== null;
  }
  chart.append(svg("path", { class: "line", d: path || "M0 0" }));
  for (const p of sorted) {
    const at = { class: `point ${verdictClass(p.kind)}`, cx: x(p.shift[0]), cy: p.error === null ? bottom : y(p.error), r: 4.5 };
    chart.append(told(p.text, svg("circle", at)));
  }
  return chart;
}

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
function ramp(error) {
  const t = Math.min(Math.max(1 + Math.log10(Math.max(error, LEAST)) / 18, 0), 1) * (RAMP.length - 1);
  const i = Math.min(Math.floor(t), RAMP.length - 2);
  const rgb = RAMP[i].map((a, k) => Math.round(a + (RAMP[i + 1][k] - a) * (t - i)));
  const light = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] > 125;
  return { fill: `rgb(${rgb.join(",")})`, ink: light ? "#000" : "#fff" };
}

const distinct = (values) => [...new Set(values)].sort((a, b) => a - b);

function maps(points, axes, width) {
  if (axes === 2) return [oneMap(points, points, width, 34)];
  const depths = distinct(points.map((p) => p.shift[0]));
  const flat = points.map((p) => ({ ...p, shift: p.shift.slice(1) }));
  const side = width < 500 ? Math.floor(width / 2) - 4 : 240; // two beside each other on a phone
  return depths.map((depth) => {
    const own = flat.filter((_, i) => points[i].shift[0] === depth);
    const figure = element("div", "", { className: "panel" });
    figure.append(element("p", `depth: ${depth}`), oneMap(own, flat, side, 26));
    return figure;
  });
}

// The cells of some points, at the places that all points have along two axes.
function oneMap(points, all, width, most) {
  const down = distinct(all.map((p) => p.shift[0])), right = distinct(all.map((p) => p.shift[1]));
  const left = 52, top = 4, cell = Math.min((width - left - 6) / right.length, 64), tall = Math.max(18, Math.min(cell, most));
  const end = left + cell * right.length, bottom = top + tall * down.length, height = bottom + 42;
  const chart = canvas(width, height);
  chart.append(svg("rect", { class: "unasked", x: left, y: top, width: end - left, height: bottom - top }));
  const room = Math.max(1, Math.ceil(24 / cell));
  right.forEach((v, i) => i % room === 0 && chart.append(word(left + cell * (i + 0.5), bottom + 16, String(v))));
  down.forEach((v, i) => chart.append(word(left - 6, top + tall * (i + 0.5) + 4, String(v), { "text-anchor": "end" })));
  chart.append(word((left + end) / 2, height - 8, `right, ${data.unit}`));
  const middle = (top + bottom) / 2;
  chart.append(word(14, middle, down.length < 4 ? "down" : `down, ${data.unit}`, { transform: `rotate(-90 14 ${middle})` }));
  for (const p of points) {
    const x = left + cell * right.indexOf(p.shift[1]), y = top + tall * down.indexOf(p.shift[0]);
    const marks = [], box = { x: x + 0.5, y: y + 0.5, width: cell - 1, height: tall - 1 };
    if (p.error === null) marks.push(svg("rect", { ...box, class: "uncompared" }));
    else {
      const { fill, ink } = ramp(p.error);
      marks.push(svg("rect", { ...box, class: "cell", fill }));
      if (cell >= 50) marks.push(word(x + cell / 2, y + tall / 2 + 4, shown(p.error), { style: `fill:${ink}` }));
      if (FAILS.has(p.kind)) {
        const [r, s] = [x + 2, y + 2], corner = Math.min(cell, tall) / 3;
        marks.push(svg("path", { class: "fails", d: `M${r} ${s}h${corner}l${-corner} ${corner}z` }));
      }
    }
    chart.append(told(p.text, ...marks));
  }
  return chart;
}
