"use strict";
// Everything here is read off the entries of the tie map: (row, col, weight), and a coefficient where it is not 1.
const UNIT = 20, TERMS = 12, WRITTEN = 3000, LETTERED = 8000, FIELD = 2048; // per cell; of a sum; cells with numbers, with letters; pixels of a side
const find = (id) => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const main = document.querySelector("main");
const [rows, cols] = data.shape;
const drawing = { matrix: find("matrix"), input: find("input"), kernel: find("kernel"), output: find("output") };
const shapes = { input: data.inShape, kernel: data.weightShape, output: data.outShape };

// --- the structure -----------------------------------------------------------------------------------------------

const entries = data.row.map((row, n) => ({
  row, col: data.col[n], weight: data.weight[n], coefficient: data.coefficient ? data.coefficient[n] : "1",
}));

function listed(key, n) {
  const lists = Array.from({ length: n }, () => []);
  for (const entry of entries) lists[entry[key]].push(entry);
  return lists;
}
const ofRow = listed("row", rows), ofCol = listed("col", cols);
const ofWeight = listed("weight", data.weightShape.reduce((a, b) => a * b, 1));

const cells = new Map(); // row * cols + col -> the entries of that cell, in the order of the drawing
for (const entry of entries) {
  const key = entry.row * cols + entry.col;
  cells.has(key) ? cells.get(key).push(entry) : cells.set(key, [entry]);
}
const inCells = [...cells.keys()]; // sorted, as the entries are
const down = [...inCells].sort((a, b) => (a % cols) - (b % cols) || a - b); // column by column

// What lights up where one points at: entries of the matrix, pixels, weights, and a whole row and column.
function around(kind, n) {
  if (kind === "matrix") {
    const row = Math.floor(n / cols), col = n % cols, own = cells.get(n) ?? [];
    return {
      row, col, entries: own.flatMap((entry) => ofWeight[entry.weight]),
      input: ofRow[row].map((entry) => entry.col), output: [row], kernel: own.map((entry) => entry.weight),
    };
  }
  const found = { input: ofCol, output: ofRow, kernel: ofWeight }[kind][n];
  return {
    row: kind === "output" ? n : null, col: kind === "input" ? n : null, entries: found,
    input: kind === "input" ? [n] : found.map((entry) => entry.col),
    output: kind === "output" ? [n] : found.map((entry) => entry.row),
    kernel: kind === "kernel" ? [n] : found.map((entry) => entry.weight),
  };
}

// --- words -------------------------------------------------------------------------------------------------------

function letter(k) {
  const all = data.letters, head = Math.floor(k / all.length);
  return (head ? letter(head - 1) : "") + all[k % all.length];
}
const i = (col) => `i${col + 1}`, o = (row) => `o${row + 1}`, slope = (name) => `dC/d${name}`;
const times = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const copies = (n) => (n === 1 ? "1 copy" : `${n} copies`);
function written(number, digits = 3) {
  if (Math.abs(number) >= 1e6) return number.toExponential(digits - 1);
  return `${Number.isInteger(number) ? number : Number(number.toPrecision(digits))}`;
}
const short = (number) => written(number, Math.abs(number) < 1 ? 2 : 3); // on a cell

// One term of a sum: its sign, its coefficient where that is not 1, its factors.
function term(coefficient, ...factors) {
  const size = coefficient.replace("-", "");
  return [coefficient[0] === "-" ? "-" : "+", ...(size === "1" ? [] : [size]), ...factors].join(" ");
}

function total(terms) {
  const rest = terms.length - TERMS;
  const shown = (rest > 0 ? [...terms.slice(0, TERMS), `+ ... (${rest} more)`] : terms).join(" ");
  return shown === "" ? "0" : shown.replace(/^\+ /, "");
}

function where(kind, n) { // such as (channel 2, row 1, column 3)
  const shape = shapes[kind], at = [];
  let rest = n;
  for (const size of [...shape].reverse()) { at.unshift((rest % size) + 1); rest = Math.floor(rest / size); }
  const axes = shape.length - 1, names = ["slice", "row", "column"].slice(-axes);
  const parts = at.slice(1).map((k, axis) => `${axes > 3 ? `axis ${axis + 1}` : axes === 1 ? "position" : names[axis]} ${k}`);
  return axes < 1 ? "" : ` (${[...(shape[0] > 1 ? [`channel ${at[0]}`] : []), ...parts].join(", ")})`;
}

const fraction = (text) => { const [over, under] = text.split("/"); return over / (under ?? 1); };
const edge = (row, col) => data.x[col] * data.dy[row]; // the gradient of one edge
const share = (entry) => fraction(entry.coefficient) * edge(entry.row, entry.col);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

const forward = (row) => `${o(row)} = ${total(ofRow[row].map((e) => term(e.coefficient, letter(e.weight), i(e.col))))}`;
const toInput = (col) => `${slope(i(col))} = ${total(ofCol[col].map((e) => term(e.coefficient, letter(e.weight), slope(o(e.row)))))}`;
const toWeight = (k) => `${slope(letter(k))} = ${total(ofWeight[k].map((e) => term(e.coefficient, i(e.col), slope(o(e.row)))))}`;

function inNumbers(k) { // with the input and the upstream gradient of this page
  const factor = (number) => (number < 0 ? `(${written(number)})` : written(number));
  const products = ofWeight[k].map((e) => term(e.coefficient, `${factor(data.x[e.col])}\u00b7${factor(data.dy[e.row])}`));
  const shares = ofWeight[k].map(share);
  const terms = shares.map((number) => `${number < 0 ? "-" : "+"} ${written(Math.abs(number))}`);
  return [`${slope(letter(k))} = ${total(products)}`, `= ${total(terms).replace(/^- /, "-")} = ${written(sum(shares))}`];
}

function summed(ks) { // why a gradient is a sum
  const most = Math.max(...ks.map((k) => ofWeight[k].length));
  if (most === 0) return "it meets padding alone, moves no output, and its gradient is 0.";
  if (most === 1) return "its gradient comes from that edge alone.";
  const who = ks.length > 1 ? "one of them" : "it";
  return `nudge ${who}, and an output moves at every copy; the cost feels them all, so its gradient is the sum over the copies.`;
}

const inGradients = () => ["dense", "tied"].includes(main.dataset.mode);

function tells(kind, n) { // sentences, and equations marked by an array
  const numbers = inGradients();
  const ofWeights = (ks) => ks.flatMap((k) => [[toWeight(k)], ...(numbers && ofWeight[k].length ? inNumbers(k).map((line) => [line]) : [])]);
  const edges = (found) => times(new Set(found.map((e) => e.row * cols + e.col)).size, "edge"); // where taps meet, one
  if (kind === "output") return [`${o(n)}${where(kind, n)} reads ${edges(ofRow[n])}: its window.`, [forward(n)]];
  if (kind === "input") {
    return [`${i(n)}${where(kind, n)} goes into ${edges(ofCol[n])}; its gradient is the sum of what comes back through them.`, [toInput(n)]];
  }
  if (kind === "kernel") {
    return [`Weight ${letter(n)} has ${copies(ofWeight[n].length)}: ${summed([n])}`, ...ofWeights([n])];
  }
  const row = Math.floor(n / cols), col = n % cols, own = cells.get(n), ks = [...new Set((own ?? []).map((e) => e.weight))];
  const between = `from ${i(col)}${where("input", col)} to ${o(row)}${where("output", row)}`;
  if (!own) {
    const lost = `${i(col)} ${slope(o(row))}${numbers ? ` = ${written(edge(row, col))}` : ""}`;
    return [`No edge ${between}: it is held at zero.`, `An ordinary dense layer would give it the gradient ${lost}; the mask drops it.`, [forward(row)]];
  }
  const holds = total(own.map((e) => term(e.coefficient, letter(e.weight))));
  const meet = own.length > 1 ? " (taps meet here)" : "";
  return [
    `The edge ${between} holds ${holds}${meet}.`,
    `${ks.map((k) => `${letter(k)} has ${copies(ofWeight[k].length)}`).join(", ")}: ${summed(ks)}`,
    [forward(row)], ...ofWeights(ks),
  ];
}

// --- the drawings ------------------------------------------------------------------------------------------------

const paths = Object.fromEntries(Object.entries(drawing).map(([kind, svg]) =>
  [kind, [...(kind === "matrix" ? find("cells") : svg.firstElementChild).children]]));
const texts = Object.fromEntries(Object.keys(shapes).map((kind) => [kind, [...drawing[kind].lastElementChild.children]]));
const names = Object.fromEntries(Object.entries(texts).map(([kind, all]) => [kind, all.map((text) => text.textContent)]));
const number = new Map(inCells.map((key, n) => [key, n])); // of the path of a cell
const fine = () => drawing.matrix.classList.contains("fine"); // too fine for letters

const sums = []; // of the gradient, or values, under the letters of the weights
let lit = [], at = null, pinned = false;

function place(rect, x, y, width, height) {
  for (const [name, value] of Object.entries({ x, y, width, height })) rect.setAttribute(name, UNIT * value);
}

function pick(kind, n) {
  at = { kind, n };
  const found = around(kind, n);
  for (const element of lit) element.classList.remove("on", "here");
  lit = found.entries.flatMap((entry) => {
    const k = number.get(entry.row * cols + entry.col);
    return [paths.matrix[k], find("letters").children[k], ...(main.dataset.mode === "tied" ? [find("numbers").children[k]] : [])];
  });
  for (const name of Object.keys(shapes)) {
    lit.push(...found[name].flatMap((k) => [paths[name][k], texts[name][k], ...(name === "kernel" ? [sums[k]] : [])]));
  }
  lit = lit.filter((element) => element); // where cells are too small there are no texts
  for (const element of lit) element.classList.add("on");
  const points = kind === "matrix" ? { input: found.col, output: found.row } : { [kind]: n };
  for (const [name, k] of Object.entries(points)) {
    paths[name][k].classList.add("here");
    lit.push(paths[name][k]);
  }
  main.classList.add("picked");
  place(find("across"), 0, found.row ?? 0, found.row === null ? 0 : cols, found.row === null ? 0 : 1);
  place(find("down"), found.col ?? 0, 0, found.col === null ? 0 : 1, found.col === null ? 0 : rows);
  const cell = kind === "matrix" ? 1 : 0;
  place(find("cursor"), (n % cols) * cell, Math.floor(n / cols) * cell, cell, cell);
  meet(found.row);
  say(tells(kind, n));
}

function release() {
  for (const element of lit) element.classList.remove("on", "here");
  [lit, at, pinned] = [[], null, false];
  main.classList.remove("picked");
  for (const id of ["across", "down", "cursor"]) place(find(id), 0, 0, 0, 0);
  meet(null);
  say(["Point at an entry of the matrix, a pixel or a weight."]);
}

function say(lines) {
  const pin = pinned ? ["Pinned: Esc, or a click on it, lets go."] : [];
  find("said").replaceChildren(...[...lines, ...pin].map((line) => {
    const p = document.createElement("p");
    (Array.isArray(line) ? p.appendChild(document.createElement("code")) : p).textContent = line;
    return p;
  }));
}

// Name the pixels; in the window of an output each pixel shows the weights it meets there.
function meet(row) {
  const numbers = inGradients();
  const met = new Set(row === null || numbers ? [] : ofRow[row].map((entry) => entry.col));
  texts.input.forEach((text, col) => {
    const name = numbers ? short(data.x[col]) : names.input[col];
    text.textContent = met.has(col) ? `${marked(row * cols + col)} ${name}` : name;
    narrow(text, 28);
  });
  texts.output.forEach((text, r) => { text.textContent = numbers ? short(data.dy[r]) : names.output[r]; narrow(text); });
}

function marked(key) { // what a cell holds, as Python writes it
  const terms = cells.get(key).map((e) => term(e.coefficient, letter(e.weight))).join(" ");
  return terms.replace(/^\+ /, "").replaceAll(" + ", "+").replaceAll("- ", "-");
}

function narrow(text, width = 32) { // a text of more letters than fit a cell gets smaller ones; digits are narrow
  const n = text.textContent.length;
  text.style.fontSize = 10 * n > width ? `${Math.max(1, width / n)}px` : "";
}

// --- modes -------------------------------------------------------------------------------------------------------

function svgText(x, y, text, kind) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
  for (const [name, value] of Object.entries({ x: UNIT * x + 10, y: UNIT * y + 10, class: kind })) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function twoLines(values) { // under the letter of each weight a number, or none
  sums.splice(0).forEach((text) => text.remove());
  texts.kernel.forEach((text, k) => {
    text.classList.toggle("two", values !== null);
    if (values === null) return;
    const below = text.cloneNode();
    below.classList.replace("two", "sum");
    below.textContent = short(values[k]);
    narrow(below);
    sums.push(below);
  });
  find("kernel").append(...sums);
}

// Orange below zero, purple above, pale at zero (ColorBrewer's PuOr); black or white on it.
function colour(value, largest) {
  const end = value < 0 ? [179, 88, 6] : [84, 39, 136], part = largest ? Math.abs(value) / largest : 0;
  return end.map((channel) => Math.round(247 + (channel - 247) * part));
}
function inkOn(channels) { // whichever stands out more (WCAG 2.2)
  const [r, g, b] = channels.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179 ? "#fff" : "#000";
}
const most = (numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

// The dense gradient, every edge: a pixel each, or of a layer too large the largest of those that meet in one pixel.
function field() {
  const canvas = find("field"), dense = main.dataset.mode === "dense";
  canvas.hidden = !dense;
  if (!dense || canvas.width > 1) return;
  const largestOf = (numbers, n) => Array.from({ length: n }, (_, k) => {
    const [from, to] = [k, k + 1].map((end) => Math.floor((end * numbers.length) / n));
    return numbers.slice(from, to).reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
  });
  const x = largestOf(data.x, Math.min(cols, FIELD)), dy = largestOf(data.dy, Math.min(rows, FIELD));
  [canvas.width, canvas.height] = [x.length, dy.length];
  const image = new ImageData(x.length, dy.length), largest = most(data.x) * most(data.dy);
  dy.forEach((up, row) => x.forEach((value, col) => image.data.set([...colour(value * up, largest), 255], 4 * (row * x.length + col))));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function fit() { // the canvas lies under the cells
  const box = drawing.matrix.viewBox.baseVal, scale = drawing.matrix.width.baseVal.value / box.width, style = find("field").style;
  [style.left, style.top] = [-box.x * scale, -box.y * scale].map((n) => `${n}px`);
  [style.width, style.height] = [cols * UNIT * scale, rows * UNIT * scale].map((n) => `${n}px`);
}

function show(mode) {
  main.dataset.mode = mode;
  field();
  fit();
  const dense = mode === "dense", tied = mode === "tied", numbers = find("numbers");
  numbers.replaceChildren();
  const largest = most(data.x) * most(data.dy);
  if (!fine() && dense && rows * cols <= WRITTEN) {
    for (let row = 0; row < rows; row++) for (let col = 0; col < cols; col++) {
      const text = svgText(col, row, short(edge(row, col)), "");
      text.style.fill = inkOn(colour(edge(row, col), largest));
      narrow(text);
      numbers.append(text);
    }
  }
  if (!fine() && tied && inCells.length <= WRITTEN) {
    inCells.forEach((key, n) => {
      const row = Math.floor(key / cols), col = key % cols;
      const text = svgText(col, row, short(edge(row, col)), paths.matrix[n].classList[0]);
      narrow(text);
      numbers.append(text);
    });
  }
  if (texts.kernel.length) twoLines(tied ? ofWeight.map((all) => sum(all.map(share))) : dense ? null : data.w);
  find("kernel-caption").textContent = tied ? "sum per weight" : "weights";
  find("output-caption").textContent = dense || tied ? "dC/do" : "output";
  at ? pick(at.kind, at.n) : meet(null);
}

// --- pointer, keyboard, buttons ----------------------------------------------------------------------------------

function pointed(kind, event) {
  if (kind !== "matrix") {
    const n = paths[kind].indexOf(event.target);
    return n < 0 ? null : n;
  }
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.matrix.getScreenCTM().inverse());
  const [col, row] = [Math.floor(point.x / UNIT), Math.floor(point.y / UNIT)];
  return row < 0 || col < 0 || row >= rows || col >= cols ? null : row * cols + col;
}

const bounded = (n, end) => Math.max(0, Math.min(end - 1, n));

function step(list, n, way) { // the next of a list that is sorted by `rank`, from a cell that need not be in it
  const rank = list === down ? (key) => (key % cols) * rows + Math.floor(key / cols) : (key) => key;
  const later = way > 0 ? list.find((key) => rank(key) > rank(n)) : list.findLast((key) => rank(key) < rank(n));
  return later ?? n;
}

function moved(kind, n, event) { // where a key leads, or null if it leads nowhere
  const whole = event.ctrlKey || event.metaKey;
  if (kind === "matrix") {
    const row = Math.floor(n / cols), col = n % cols, inRow = ofRow[row].map((e) => row * cols + e.col);
    const one = {
      ArrowRight: row * cols + bounded(col + 1, cols), ArrowLeft: row * cols + bounded(col - 1, cols),
      ArrowDown: bounded(row + 1, rows) * cols + col, ArrowUp: bounded(row - 1, rows) * cols + col,
    };
    if (event.shiftKey && event.key in one) return one[event.key];
    const next = { ArrowRight: [inCells, 1], ArrowLeft: [inCells, -1], ArrowDown: [down, 1], ArrowUp: [down, -1] }[event.key];
    if (next) return step(next[0], n, next[1]);
    const ends = whole ? inCells : inRow;
    return { Home: ends[0] ?? n, End: ends.at(-1) ?? n }[event.key] ?? null;
  }
  const shape = shapes[kind], size = paths[kind].length, width = shape.at(-1) ?? 1, start = n - (n % width);
  const to = {
    ArrowRight: n + 1, ArrowLeft: n - 1, ArrowDown: n + width, ArrowUp: n - width,
    Home: whole ? 0 : start, End: whole ? size - 1 : start + width - 1,
  }[event.key];
  return to === undefined ? null : to < 0 || to >= size ? n : to;
}

function pressed(kind, event) {
  if (event.altKey) return; // the browser's own: back, forward
  const n = at?.kind === kind ? at.n : kind === "matrix" ? inCells[0] ?? 0 : 0;
  if (event.key === "Enter") { pinned = !pinned; stop(); pick(kind, n); }
  else {
    const to = moved(kind, n, event);
    if (to === null) return;
    pick(kind, to);
    seen();
  }
  event.preventDefault();
}

function seen() { // scroll a cell of the zoomed matrix into view
  const above = find("above"), covers = getComputedStyle(above).position === "sticky";
  document.documentElement.style.scrollPaddingTop = covers ? `${above.offsetHeight}px` : "";
  if (at.kind === "matrix") find("cursor").scrollIntoView({ block: "nearest", inline: "nearest" });
}

for (const [kind, svg] of Object.entries(drawing)) {
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-describedby", "keys");
  svg.addEventListener("pointermove", (event) => {
    const n = pinned ? null : pointed(kind, event);
    if (n !== null && !(at?.kind === kind && at.n === n)) pick(kind, n);
  });
  svg.addEventListener("click", (event) => {
    const n = pointed(kind, event);
    if (n === null) return;
    pinned = !(pinned && at?.kind === kind && at.n === n);
    stop();
    pick(kind, n);
  });
  svg.addEventListener("focus", () => {
    if (svg.matches(":focus-visible") && at?.kind !== kind && !pinned) pick(kind, kind === "matrix" ? inCells[0] ?? 0 : 0);
  });
  svg.addEventListener("keydown", (event) => pressed(kind, event));
}

document.addEventListener("keydown", (event) => { if (event.key === "Escape") { stop(); release(); } });

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let playing = null;

function slide(way) {
  const row = at?.kind === "output" ? at.n : at?.kind === "matrix" ? Math.floor(at.n / cols) : null;
  pinned = false;
  pick("output", row === null ? (way > 0 ? 0 : rows - 1) : (row + way + rows) % rows);
}

function stop() {
  clearInterval(playing);
  playing = null;
  find("play").textContent = "play";
}

find("play").hidden = still; // step by step then
find("play").addEventListener("click", () => {
  if (playing !== null) return stop();
  find("play").textContent = "pause";
  playing = setInterval(() => slide(1), 700);
  slide(1);
});
find("back").addEventListener("click", () => { stop(); slide(-1); });
find("next").addEventListener("click", () => { stop(); slide(1); });
find("modes").addEventListener("change", (event) => show(event.target.value));
find("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});
const natural = ["width", "height"].map((side) => drawing.matrix[side].baseVal.value);
find("zoom").addEventListener("input", (event) => {
  ["width", "height"].forEach((side, n) => drawing.matrix.setAttribute(side, natural[n] * event.target.value));
  detail();
  fit();
});

// Zoomed in so far that there is room, every cell gets its letters.
function detail() {
  const { matrix } = drawing, box = matrix.viewBox.baseVal, letters = find("letters"), before = fine();
  const room = (UNIT * matrix.width.baseVal.value) / box.width >= data.readable && inCells.length <= LETTERED;
  matrix.classList.toggle("fine", !room);
  if (room && !letters.childElementCount) {
    inCells.forEach((key, n) => {
      const text = svgText(key % cols, Math.floor(key / cols), marked(key), paths.matrix[n].classList[0]);
      narrow(text, 25);
      letters.append(text);
    });
  }
  if (before === room) show(main.dataset.mode);
}

for (const id of ["bar", "said", "keys"]) find(id).hidden = false;
show("weights");
pick("matrix", inCells[0] ?? 0); // once, unseen: the first answer is then as fast as the others
pointed("matrix", { clientX: 0, clientY: 0 });
release();
