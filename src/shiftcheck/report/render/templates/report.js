"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = [
  ["name", "layer"], ["op", "operation"], ["shape", "shape"], ["stride", "stride"], ["period", "period"],
  ["field", "field"], ["halo", "halo"], ["valid", "valid"], ["error", "error"], ["border", "border"],
  ["inside", "alone, interior"], ["edge", "alone, border"], ["verdict", "verdict"], ["remarks", "remarks"],
];
const NUMBERS = new Set(["error", "border", "inside", "edge"]);
const LEAST = 1e-18; // where an error of 0 is drawn
for (const row of data.layers) row.remarks = [...row.causes, row.reason].filter(Boolean).join("; ");

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shown = (value) => value === null ? "–" : value === 0 ? "0" : value.toExponential(1);
const element = (tag, text, properties = {}) => Object.assign(document.createElement(tag), { textContent: text }, properties);

// -- charts ---------------------------------------------------------------------------------------
function layout(more) {
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    paper_bgcolor: color("--ground"), plot_bgcolor: color("--ground"), font: { color: color("--ink"), size: 12 },
    margin: { t: 10, r: 10, b: 40, l: 50 }, legend: { orientation: "h", y: 1.12 }, ...rest,
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis },
  };
}
const OPTIONS = { responsive: true, displaylogo: false, displayModeBar: false };

function bars() {
  const drawn = (key) => data.layers.map((row) => row[key] === null ? null : Math.max(row[key], LEAST));
  const names = data.layers.map((row) => row.name);
  const trace = (key, name, hue) => ({
    type: "bar", name, x: names, y: drawn(key), marker: { color: color(hue) }, base: LEAST / 10,
    customdata: data.layers.map((row) => shown(row[key])), hovertemplate: "%{x}<br>%{customdata}<extra>" + name + "</extra>",
  });
  const allowed = {
    type: "scatter", mode: "lines", name: "allowed", x: names, y: data.layers.map((row) => row.allowance),
    line: { color: color("--bad"), dash: "dash", shape: "hvh" }, connectgaps: true,
  };
  Plotly.react("bars", [trace("error", "interior", "--blue"), trace("border", "border", "--orange"), allowed], layout({
    barmode: "group", yaxis: { type: "log", exponentformat: "power", title: { text: "relative error" } },
    xaxis: { type: "category", showticklabels: names.length <= 40, tickangle: -45, title: { text: names.length <= 40 ? "" : "layers in their order" } },
  }), OPTIONS);
}

function overShifts(row) {
  const moved = data.shifts.length ? data.shifts[0].length : 0;
  const places = data.shifts.map((shift) => moved === 1 ? [0, shift[0]] : shift.slice(0, 2));
  const flat = data.shifts.map((shift) => shift.slice(2).every((v) => v === 0));
  const down = [...new Set(places.map((p) => p[0]))].sort((a, b) => a - b);
  const right = [...new Set(places.map((p) => p[1]))].sort((a, b) => a - b);
  const cells = down.map(() => right.map(() => null)), texts = down.map(() => right.map(() => ""));
  places.forEach(([m, n], i) => {
    if (!flat[i]) return;
    const error = row.errors[i];
    cells[down.indexOf(m)][right.indexOf(n)] = error === null || error === undefined ? null : Math.log10(Math.max(error, LEAST));
    texts[down.indexOf(m)][right.indexOf(n)] = `shift (${data.shifts[i].join(", ")}): ${shown(error ?? null)}`;
  });
  const ticks = [-18, -15, -12, -9, -6, -3, 0];
  Plotly.react("map", [{
    type: "heatmap", x: right.map(String), y: down.map(String), z: cells, text: texts, hoverinfo: "text", colorscale: "Viridis",
    zmin: -18, zmax: 0, xgap: 1, ygap: 1,
    colorbar: { title: { text: "error" }, tickvals: ticks, ticktext: ticks.map((t) => t === -18 ? "0" : `1e${t}`) },
  }], layout({
    xaxis: { type: "category", title: { text: moved === 1 ? "shift m, pixels" : "right: n, pixels" } },
    yaxis: { type: "category", autorange: "reversed", title: { text: moved === 1 ? "" : "down: m, pixels" } },
  }), OPTIONS);
}

function box(spans, name, hue, fill) {
  const [[top, bottom], [left, right]] = spans;
  return {
    type: "scatter", mode: "lines", name, x: [left, right, right, left, left], y: [top, top, bottom, bottom, top],
    line: { color: color(hue) }, fill: fill ? "toself" : "none", hoverinfo: "name",
  };
}

function overInput(row) {
  const axes = data.pixels.length, used = axes === 1 ? [0] : [axes - 2, axes - 1];
  const pair = (spans) => axes === 1 ? [[0, 1], spans[0]] : spans;
  const known = used.every((a) => row.steps[a] !== null && row.halos[a] !== null && row.runs[a] !== null);
  const traces = [box(pair(used.map((a) => [0, data.pixels[a]])), "input", "--soft", false)];
  if (known && used.every((a) => row.runs[a].length > 0)) {
    const ends = used.map((a) => {
      const first = row.runs[a][0][0], last = row.runs[a][row.runs[a].length - 1][1] - 1, step = row.steps[a];
      const here = [first * step, last * step].sort((p, q) => p - q);
      return [here[0], here[1] + 1];
    });
    traces.push(box(pair(ends), "valid region", "--blue", true));
    const field = used.map((a, i) => {
      const middle = Math.floor((ends[i][0] + ends[i][1]) / 2), [before, after] = row.halos[a];
      return before === null || after === null ? [0, data.pixels[a]] : [middle - before, middle + after + 1];
    });
    traces.push(box(pair(field), "receptive field of one sample", "--orange", false));
  }
  Plotly.react("region", traces, layout({
    xaxis: { title: { text: "pixels" }, constrain: "domain" },
    yaxis: axes === 1 ? { visible: false } : { autorange: "reversed", scaleanchor: "x", title: { text: "pixels" } },
  }), OPTIONS);
}

// -- one layer ------------------------------------------------------------------------------------
const select = document.getElementById("layer");
function choose(index) {
  const row = data.layers[index];
  if (!row) return;
  select.value = String(index);
  overShifts(row);
  overInput(row);
  const list = document.getElementById("structure");
  list.replaceChildren(...COLUMNS.flatMap(([key, title]) => [
    element("dt", title), element("dd", NUMBERS.has(key) ? shown(row[key]) : row[key] || "–"),
  ]));
  document.querySelectorAll("tr.chosen").forEach((tr) => tr.classList.remove("chosen"));
  document.querySelector(`tr[data-index="${index}"]`)?.classList.add("chosen");
}
select.append(...data.layers.map((row, i) => element("option", row.name, { value: String(i) })));
select.addEventListener("change", () => choose(Number(select.value)));

// -- the table ------------------------------------------------------------------------------------
const head = document.querySelector("#table thead tr"), body = document.querySelector("#table tbody");
const folded = new Set();
let sorted = null, ascending = true;

COLUMNS.forEach(([key, title]) => {
  const th = element("th", "", { scope: "col" }), button = element("button", title, { type: "button" });
  button.addEventListener("click", () => {
    ascending = sorted === key ? !ascending : !NUMBERS.has(key);
    sorted = key;
    head.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    fill();
  });
  th.append(button);
  head.append(th);
});

const prefixes = (name) => name.split(".").slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join("."));
const groups = new Map(); // the name of a module -> how many layers are in it
for (const row of data.layers) for (const p of prefixes(row.name)) groups.set(p, (groups.get(p) ?? 0) + 1);

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
  if (row.name === data.guilty) tr.classList.add("guilty");
  COLUMNS.forEach(([key]) => {
    const td = element("td", NUMBERS.has(key) ? shown(row[key]) : key === "name" ? "" : row[key]);
    if (NUMBERS.has(key)) td.className = "number";
    if (key === "verdict") td.classList.add(row.verdict.replace(" ", "-"));
    if (key === "name") {
      td.append(element("button", row.name, { type: "button", className: "name" }));
    }
    tr.append(td);
  });
  return tr;
}

function groupRow(path, depth) {
  const tr = element("tr", "", { className: "group" }), th = element("th", "", { colSpan: COLUMNS.length, scope: "rowgroup" });
  const open = !folded.has(path);
  const button = element("button", `${open ? "▾" : "▸"} ${path} (${groups.get(path)})`, { type: "button", className: "fold" });
  button.setAttribute("aria-expanded", String(open));
  button.dataset.path = path;
  th.style.paddingLeft = `${0.6 + depth}rem`;
  th.append(button);
  tr.append(th);
  return tr;
}

function fill() {
  const wanted = document.getElementById("search").value.trim().toLowerCase();
  const rows = data.layers.map((row, i) => [row, i]).filter(([row]) =>
    !wanted || `${row.name} ${row.op} ${row.remarks} ${row.verdict}`.toLowerCase().includes(wanted));
  const parts = document.createDocumentFragment();
  if (sorted) {
    const rank = (value) => value === null ? -1 : value;
    rows.sort(([a], [b]) => {
      const [x, y] = NUMBERS.has(sorted) ? [rank(a[sorted]), rank(b[sorted])] : [a[sorted], b[sorted]];
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

fill();
bars();
choose(data.layers.length - 1);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { bars(); choose(Number(select.value)); });
