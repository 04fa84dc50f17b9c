"use strict";
const COLUMNS = data.columns; // the first three are always in sight
const AT = Object.fromEntries(COLUMNS.map((title, i) => [title, i]));
const NUMBERS = new Set(["error", "border error", "alone, interior", "alone, border"].map((title) => AT[title]));
const SEEN = AT.operation; // columns from here on are shown on request
for (const row of data.layers) row.texts = [row.name, ...row.cells];
const verdictOf = (row) => row.texts[AT.verdict];
const markOf = (index) => index === data.guilty ? data.mark : "";

// -- charts ---------------------------------------------------------------------------------------
function bars(width) {
  const rows = data.layers, left = 46, right = width - 8, top = 8, slot = (right - left) / Math.max(rows.length, 1);
  const named = slot >= 15, longest = Math.max(...rows.map((row) => row.name.length), 0);
  const kept = Math.min(longest, 18), bottom = 210;
  const height = bottom + (named ? 16 + kept * 5 : 26);
  const { y, lines } = decades(rows.flatMap((row) => [row.error, row.border, row.allowance]).map((v) => v ?? 0), left, right, top, bottom);
  const chart = canvas(width, height, svg("defs", {}, svg("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 2, height: 5, class: "hatch" }))), lines);
  const thick = Math.min(slot * 0.4, 26);
  let allowed = "", open = false;
  rows.forEach((row, i) => {
    const middle = left + slot * (i + 0.5);
    const bar = (value, x, how) => svg("rect", { class: `bar ${how}`, x, width: thick, y: Math.min(y(value), bottom - 2), height: Math.max(bottom - y(value), 2) });
    const text = `${row.name}: ${verdictOf(row)}, error ${shown(row.error)}, allowed ${shown(row.allowance)}, border error ${shown(row.border)} (reads padding, not judged)`;
    const marks = told(text, svg("rect", { class: "hit", x: left + slot * i, y: top, width: slot, height: height - top }));
    if (row.error !== null) marks.append(bar(row.error, middle - thick, verdictClass(verdictOf(row))));
    if (row.border !== null) marks.append(bar(row.border, middle, "border"));
    if (named) {
      const short = row.name.length > kept ? `…${row.name.slice(1 - kept)}` : row.name;
      marks.append(word(middle + 4, bottom + 14, short, { class: "xtick", "text-anchor": "end", transform: `rotate(-40 ${middle + 4} ${bottom + 14})` }));
    }
    marks.addEventListener("click", () => choose(i));
    chart.append(marks);
    if (row.allowance !== null) allowed += `${open ? "L" : "M"}${left + slot * i} ${y(row.allowance)}H${left + slot * (i + 1)}`;
    open = row.allowance !== null;
  });
  if (!named) chart.append(word((left + right) / 2, height - 6, `${rows.length} layers in their order`));
  chart.append(svg("path", { class: "allowed", d: allowed || "M0 0" }));
  return [chart];
}

// What the valid samples of a layer, and one sample in their middle, stand for: pixels of each axis.
function overInput(row) {
  const axes = data.pixels.length;
  const known = row.steps.every((v) => v !== null) && row.halos.every((v) => v !== null) && row.runs.every((v) => v !== null);
  const full = data.pixels.map((n) => [0, n]);
  if (!known) return { input: full, why: "What a sample of this layer sees is not known along every axis." };
  if (row.runs.some((runs) => !runs.length)) return { input: full, why: "No sample of this layer is free of padding." };
  const valid = row.runs.map((runs, a) => {
    const first = runs[0][0], last = runs[runs.length - 1][1] - 1;
    const here = [first * row.steps[a], last * row.steps[a]].sort((p, q) => p - q);
    return [here[0], here[1] + 1];
  });
  const field = valid.map(([from, to], a) => {
    const middle = Math.floor((from + to) / 2), [before, after] = row.halos[a];
    return before === null || after === null ? [0, data.pixels[a]] : [middle - before, middle + after + 1];
  });
  return { input: full, valid, field, axes };
}

function region(row, width) {
  const seen = overInput(row);
  const note = seen.why ? [element("p", seen.why)] : [];
  return [data.pixels.length === 2 ? boxes(seen, width) : rulers(seen, width), ...note];
}

const LAYERS = [["input", "input"], ["valid", "valid region"], ["field", "receptive field of one sample"]];
const spans = (ranges) => ranges.map(([from, to]) => `${from} to ${to}`).join(", ");

function boxes(seen, width) {
  const known = LAYERS.filter(([key]) => seen[key]);
  const low = [0, 1].map((a) => Math.min(...known.map(([key]) => seen[key][a][0])));
  const high = [0, 1].map((a) => Math.max(...known.map(([key]) => seen[key][a][1])));
  const left = 46, top = 10, room = width - left - 12;
  const scale = Math.min(room / (high[1] - low[1]), 230 / (high[0] - low[0]));
  const x = (v) => left + (v - low[1]) * scale, y = (v) => top + (v - low[0]) * scale, height = y(high[0]) + 44;
  const chart = canvas(width, height);
  for (const [key, title] of known) {
    const [[a, b], [c, d]] = seen[key];
    chart.append(told(`${title}: ${spans(seen[key])}`, svg("rect", { class: `seen ${key}`, x: x(c), y: y(a), width: (d - c) * scale, height: (b - a) * scale })));
  }
  const [rows, columns] = data.pixels;
  chart.append(word(x(0), height - 26, "0"), word(x(columns), height - 26, String(columns)), word(x(columns / 2), height - 8, `right, ${data.unit}`),
    word(left - 8, y(rows), String(rows), { "text-anchor": "end" }), word(14, y(rows / 2), `down, ${data.unit}`, { transform: `rotate(-90 14 ${y(rows / 2)})` }));
  return chart;
}

function rulers(seen, width) {
  const names = AXES[data.pixels.length], left = names.length > 1 ? 56 : 16, known = LAYERS.filter(([key]) => seen[key]);
  const low = Math.min(...known.flatMap(([key]) => seen[key].map(([from]) => from)));
  const high = Math.max(...known.flatMap(([key]) => seen[key].map(([, to]) => to)));
  const x = (v) => left + (width - left - 20) * (v - low) / (high - low), chart = canvas(width, 62 * names.length + 24);
  names.forEach((name, a) => {
    const top = 62 * a + 6;
    if (names.length > 1) chart.append(word(left - 10, top + 20, name, { "text-anchor": "end" }));
    known.forEach(([key, title], i) => {
      const [from, to] = seen[key][a];
      chart.append(told(`${title}: ${spans([[from, to]])}`, svg("rect", { class: `seen ${key}`, x: x(from), width: x(to) - x(from), y: top + 4 * i, height: 32 - 8 * i })));
    });
    chart.append(word(x(0), top + 50, "0"), word(x(data.pixels[a]), top + 50, String(data.pixels[a])));
  });
  chart.append(word((left + width) / 2, 62 * names.length + 18, data.unit));
  return chart;
}

// -- one layer ------------------------------------------------------------------------------------
const select = document.getElementById("layer");
function choose(index) {
  const row = data.layers[index];
  if (!row) return;
  select.value = String(index);
  if (data.shifts.length) overShifts(document.getElementById("map"), data.shifts, row, row.allowance);
  drawn(document.getElementById("region"), (width) => region(row, width));
  const list = document.getElementById("structure");
  const mark = markOf(index);
  list.replaceChildren(...COLUMNS.flatMap((title, i) => [
    element("dt", title), element("dd", [row.texts[i], i === AT.cause && mark].filter(Boolean).join(", ") || "–"),
  ]));
  document.querySelectorAll("tr.chosen").forEach((tr) => tr.classList.remove("chosen"));
  document.querySelector(`tr[data-index="${index}"]`)?.classList.add("chosen");
}
select.append(...data.layers.map((row, i) => element("option", row.name, { value: String(i) })));
select.addEventListener("change", () => choose(Number(select.value)));

// -- the table ------------------------------------------------------------------------------------
const table = document.getElementById("table"), head = table.querySelector("thead tr"), body = table.querySelector("tbody");
const folded = new Set();
let sorted = null, ascending = true;
const classOf = (i) => [NUMBERS.has(i) ? "number" : "", i > AT.cause ? "spare" : "", i >= SEEN ? "more" : ""].filter(Boolean).join(" ");

COLUMNS.forEach((title, i) => {
  const th = element("th", "", { scope: "col", className: classOf(i) }), button = element("button", title, { type: "button" });
  button.addEventListener("click", () => {
    ascending = sorted === i ? !ascending : !NUMBERS.has(i);
    sorted = i;
    head.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    fill();
  });
  th.append(button);
  head.append(th);
});

const prefixes = (name) => name.split(".").slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join("."));
const groups = new Map(); // the name of a module -> its layers
for (const row of data.layers) for (const p of prefixes(row.name)) groups.set(p, [...(groups.get(p) ?? []), row]);
function worst(rows) { // the word for several layers, as in the tables of a terminal
  const words = new Set(rows.map(verdictOf));
  return ["broken", "inconclusive"].find((word) => words.has(word)) ?? (words.size === 1 ? [...words][0] : "partly compared");
}

const made = new Map(); // rows are made once: most of what a search costs is making them
function layerRow(row, index, depth) {
  if (!made.has(index)) made.set(index, newRow(row, index));
  const tr = made.get(index);
  tr.classList.remove("chosen");
  tr.firstChild.style.paddingLeft = `${0.6 + depth}rem`;
  return tr;
}

function newRow(row, index) {
  const tr = element("tr", "");
  tr.dataset.index = index;
  const mark = markOf(index);
  COLUMNS.forEach((title, i) => {
    const cell = i ? element("td", row.texts[i], { className: classOf(i) }) : element("th", "", { scope: "row" });
    if (i === AT.verdict) cell.classList.add(verdictClass(verdictOf(row)));
    if (i === AT.cause && mark) {
      tr.classList.add(mark === "guilty" ? "guilty" : "lies-here");
      cell.append(row.texts[i] ? " " : "", element("strong", mark, { className: "mark" }));
    }
    if (!i) cell.append(element("button", row.name, { type: "button", className: "name" }));
    tr.append(cell);
  });
  return tr;
}

function groupRow(path, depth) {
  const tr = element("tr", "", { className: "group" }), th = element("th", "", { scope: "rowgroup" });
  const open = !folded.has(path), rows = groups.get(path), verdict = worst(rows);
  const button = element("button", `${open ? "▾" : "▸"} ${path} (${rows.length})`, { type: "button", className: "fold" });
  button.setAttribute("aria-expanded", String(open));
  button.dataset.path = path;
  th.style.paddingLeft = `${0.6 + depth}rem`;
  th.append(button);
  tr.append(th, element("td", verdict, { className: verdictClass(verdict) }), element("td", "", { colSpan: COLUMNS.length - 2 }));
  return tr;
}

function fill() {
  const wanted = document.getElementById("search").value.trim().toLowerCase();
  const rows = data.layers.map((row, i) => [row, i]).filter(([row, i]) =>
    !wanted || `${row.name} ${row.texts[AT.operation]} ${row.texts[AT.cause]} ${verdictOf(row)} ${markOf(i)}`.toLowerCase().includes(wanted));
  const parts = document.createDocumentFragment();
  if (sorted !== null) {
    const rank = (row) => !NUMBERS.has(sorted) ? row.texts[sorted] : row.texts[sorted] === "-" ? -1 : Number(row.texts[sorted]);
    rows.sort(([a], [b]) => {
      const [x, y] = [rank(a), rank(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (ascending ? 1 : -1);
    });
    rows.forEach(([row, i]) => parts.append(layerRow(row, i, 0)));
  } else {
    const opened = new Set();
    for (const [row, i] of rows) {
      const above = prefixes(row.name);
      let hidden = false;
      above.forEach((path, depth) => {
        if (!hidden && !opened.has(path)) {
          parts.append(groupRow(path, depth));
          opened.add(path);
        }
        hidden = hidden || folded.has(path);
      });
      if (!hidden) parts.append(layerRow(row, i, above.length));
    }
  }
  body.replaceChildren(parts);
  document.getElementById("count").textContent = `${rows.length} of ${data.layers.length} layers`;
  document.querySelector(`tr[data-index="${select.value}"]`)?.classList.add("chosen");
}

body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("fold")) {
    const path = button.dataset.path;
    folded.has(path) ? folded.delete(path) : folded.add(path);
    fill();
    [...body.querySelectorAll("button.fold")].find((other) => other.dataset.path === path)?.focus();
  } else {
    choose(Number(button.closest("tr").dataset.index));
    document.getElementById("one").scrollIntoView({ block: "nearest" });
  }
});
document.getElementById("search").addEventListener("input", fill);
document.getElementById("fold").addEventListener("click", () => { for (const path of groups.keys()) folded.add(path); sorted = null; fill(); });
document.getElementById("unfold").addEventListener("click", () => { folded.clear(); sorted = null; fill(); });
document.getElementById("all").addEventListener("click", (event) => {
  event.currentTarget.setAttribute("aria-pressed", String(table.classList.toggle("all")));
});

fill();
if (data.shifts.length) drawn(document.getElementById("bars"), bars);
choose(data.layers.length - 1);
