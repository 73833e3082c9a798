// How a run did on a split: figures with gates, confusion matrix, slices, and the gallery of its mistakes.
import { Chart, literal } from "./charts.js";
import { byId, fill, h, table } from "./dom.js";
import { figure, interval, number, title, words } from "./format.js";
import { get } from "./live.js";
import { choices, status } from "./parts.js";
import { colours } from "./project.js";
import { state } from "./state.js";

const PAGE = 12; // mistakes asked for at a time
const SOON = 3000; // ms until pictures that are on their way are asked for again
const KINDS = { all: "All", count: "Wrong counts", answer: "Wrong answers" };
const VERDICTS = { target: "target", minimum: "minimum", failed: "failed", unknown: "not measured" };
const SLICE_FIGURES = ["classification_accuracy", "answer_accuracy"];
const ROW = 22; // pixels of a slice
const MOST_WRONG = 0.25; // share of a row from which a mistake has its full colour

export class Evaluation {
  constructor(address) {
    this.address = address;
    this.charts = null;
    this.shownMistakes = PAGE;
    this.turns = { show: 0, mistakes: 0 }; // of two answers the later question's counts
    byId("more").addEventListener("click", () => { this.shownMistakes += PAGE; this.mistakes(); });
  }

  async load(run) {
    this.run = run;
    if (!run.splits.length) {
      fill(byId("figures"), h("p", { class: "empty", text: "It has not been judged yet." }));
      fill(byId("gallery"), h("p", { class: "empty", text: "Mistakes are known once it has been judged." }));
      return;
    }
    this.summary = await get(`${this.address}/summary`);
    await this.show();
  }

  get split() {
    const asked = state.get("split");
    return this.run.splits.includes(asked) ? asked : this.run.splits[0];
  }

  async show() {
    const split = this.split;
    const turn = (this.turns.show += 1);
    fill(byId("splits"), choices(this.run.splits, split, (name) => { state.set({ split: name }); this.shownMistakes = PAGE; this.show(); }));
    this.figures(this.summary.splits[split]);
    const [confusion, slices] = await Promise.all(["confusion", "slices"].map((part) => get(`${this.address}/${part}`, { split }).catch(() => null)));
    if (turn !== this.turns.show) return;
    this.charts ??= { confusion: new Chart("Counts: truth and prediction", { height: 330 }), classes: new Chart("By class", { height: 330 }), types: new Chart("By kind of question", { height: 330 }), slices: new Chart("Slices", { size: "wide" }) };
    byId("evaluation-charts").append(...Object.values(this.charts).map(({ card }) => card));
    if (confusion) drawConfusion(this.charts.confusion, confusion);
    drawClasses(this.charts.classes, this.summary.splits[split]?.per_class ?? {});
    drawTypes(this.charts.types, this.summary.splits[split]?.answer_accuracy_by_type ?? {});
    if (slices) drawSlices(this.charts.slices, slices);
    await this.mistakes();
  }

  figures(found) {
    if (!found) {
      fill(byId("figures"), h("p", { class: "empty", text: this.summary.notes.join(" ") || "There are no figures." }));
      return;
    }
    const gates = Object.entries(found.gates).map(([name, gate]) => ({
      cells: [title(name), h("strong", { text: figure(name, gate.value) }), h("span", { class: "interval", text: interval(name, gate) }),
        bullet(name, gate), figure(name, gate.target), figure(name, gate.minimum), status(gate.verdict, VERDICTS[gate.verdict])],
    }));
    const others = Object.entries(found.metrics).filter(([name]) => !(name in found.gates) && name !== "generation_bleu4").map(([name, estimate]) => ({
      cells: [title(name), h("strong", { text: figure(name, estimate.value) }), h("span", { class: "interval", text: interval(name, estimate) })],
    }));
    const right = { number: true };
    const columns = [{ name: "Figure" }, { name: "Value", ...right }, { name: "95 % interval", ...right }];
    const counts = [[found.images, "images"], [found.questions, "questions"]].filter(([count]) => count).map(([count, noun]) => `${count.toLocaleString("en")} ${noun}`).join(", ");
    fill(byId("figures"), h("p", { class: "soft", text: `${counts}. Promotion gates:` }), h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures, scrollable" },
      table("Gates", [...columns, { name: "Where it stands" }, { name: "Target", ...right }, { name: "Minimum", ...right }, { name: "Verdict" }], gates))),
    h("details", {}, h("summary", { text: `${others.length} more figures` }), h("div", { class: "card flush" }, table("Other figures", columns, others))));
  }

  async mistakes() {
    const kind = state.get("kind", "all");
    const turn = (this.turns.mistakes += 1);
    clearTimeout(this.timer);
    fill(byId("kinds"), choices(Object.keys(KINDS), kind, (name) => { state.set({ kind: name === "all" ? null : name }); this.shownMistakes = PAGE; this.mistakes(); }, (name) => KINDS[name]));
    const { mistakes, total, note, fetching } = await get(`${this.address}/mistakes`, { split: this.split, kind, offset: 0, limit: this.shownMistakes });
    if (turn !== this.turns.mistakes) return;
    if (fetching) this.timer = setTimeout(() => this.mistakes().catch((problem) => console.info(problem.message)), SOON);
    byId("pictures-note").hidden = !note;
    byId("pictures-note").textContent = note ?? "";
    const missing = fetching ? "picture on its way" : "no picture here";
    fill(byId("gallery"), mistakes.length ? mistakes.map((mistake) => card(mistake, missing)) : h("p", { class: "empty", text: "None of this kind." }));
    byId("more").hidden = mistakes.length >= total;
    byId("more").textContent = `Show more (${total - mistakes.length} left)`;
  }
}

/** A gate as a bar with its interval; the marks are what is required and what is aimed for. */
function bullet(name, gate) {
  const end = gate.lower_is_better ? Math.max(1.15 * gate.minimum, gate.value ?? 0) : 1;
  const place = (value) => `${Math.min(100, (100 * value) / end)}%`;
  const tick = (value, kind) => h("span", { class: `tick ${kind}`, style: { left: place(value) } });
  const known = gate.value !== null;
  const range = known && gate.low !== null ? h("span", { class: "range", style: { left: place(gate.low), width: `calc(${place(gate.high)} - ${place(gate.low)})` } }) : null;
  return h("div", { class: "bullet", role: "img", "aria-label": `${figure(name, gate.value)}; minimum ${figure(name, gate.minimum)}, target ${figure(name, gate.target)}` },
    known ? h("span", { class: "value", style: { width: place(gate.value) } }) : null, range, tick(gate.minimum, "low"), tick(gate.target, ""));
}

const translucent = (colour, alpha) => `${colour}${Math.round(255 * alpha).toString(16).padStart(2, "0")}`;

function drawConfusion(chart, { labels, matrix }) {
  const sums = matrix.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = (right) => matrix.map((row, i) => row.map((count, j) => ((i === j) === right ? count / Math.max(1, sums[i]) : null)));
  // A mistake is seen long before it fills its row.
  const heat = (right, colour) => ({
    type: "heatmap", x: labels, y: labels, z: shares(right), zmin: 0, zmax: right ? 1 : MOST_WRONG, showscale: false, xgap: 3, ygap: 3, name: right ? "right" : "wrong",
    colorscale: [[0, translucent(colour, 0.03)], [1, translucent(colour, 0.6)]], hovertemplate: "truth %{y}, predicted %{x}: %{z:.1%} of the row<extra></extra>",
  });
  const annotations = matrix.flatMap((row, i) => row.map((count, j) => ({
    x: labels[j], y: labels[i], showarrow: false, text: `<b>${count}</b>${sums[i] ? `<br>${((100 * count) / sums[i]).toFixed(1)} %` : ""}`,
  })));
  const axis = { type: "category", showgrid: false };
  const rows = () => ({ columns: ["truth", ...labels.map((label) => `predicted ${label}`)], rows: matrix.map((row, i) => [labels[i], ...row]) });
  const said = matrix.map((row, i) => `of ${sums[i]} with ${labels[i]} receipts ${row[i]} right`).join(", ");
  chart.draw([heat(true, colours[0]), heat(false, colours[1])], {
    annotations, showlegend: false, dragmode: false, margin: { l: 8, r: 8, t: 8, b: 8 },
    xaxis: { ...axis, title: { text: "predicted count", standoff: 4 }, fixedrange: true }, yaxis: { ...axis, title: { text: "true count" }, autorange: "reversed", fixedrange: true },
  }, { rows, summary: said });
}

const bars = (found, key) => found.map((entry) => entry[key]?.value ?? null);
const errorBars = (found, key) => ({
  type: "data", symmetric: false, thickness: 1.2, width: 3,
  array: found.map((entry) => (entry[key]?.high ?? entry[key]?.value ?? 0) - (entry[key]?.value ?? 0)),
  arrayminus: found.map((entry) => (entry[key]?.value ?? 0) - (entry[key]?.low ?? entry[key]?.value ?? 0)),
});

function drawClasses(chart, classes) {
  const [labels, found] = [Object.keys(classes), Object.values(classes)];
  const data = ["precision", "recall", "f1"].map((key, index) => ({
    type: "bar", name: key === "f1" ? "F1" : words(key), x: labels, y: bars(found, key), error_y: errorBars(found, key), marker: { color: colours[index] }, hovertemplate: "%{y:.1%}",
  }));
  chart.draw(data, {
    barmode: "group", bargap: 0.3, hovermode: "x unified", margin: { l: 8, r: 8, t: 28, b: 8 }, xaxis: { type: "category", title: { text: "true count", standoff: 4 }, fixedrange: true },
    yaxis: { range: [0, 1.02], tickformat: ".0%", fixedrange: true },
  }, { summary: labels.map((label, i) => `${label}: F1 ${number(found[i].f1?.value)}`).join(", ") });
}

function drawTypes(chart, types) {
  const [names, found] = [Object.keys(types), Object.values(types)];
  const plainEntries = found.map((entry) => ({ right: entry }));
  chart.draw([{ type: "bar", name: "exactly right", x: names.map(literal), y: bars(plainEntries, "right"), error_y: errorBars(plainEntries, "right"), marker: { color: colours[5] }, hovertemplate: "%{y:.1%} of %{customdata}<extra></extra>", customdata: found.map(({ n }) => n) }], {
    bargap: 0.45, showlegend: false, margin: { l: 8, r: 8, t: 28, b: 8 }, xaxis: { type: "category", title: { text: "answers that are exactly right", standoff: 4 }, fixedrange: true }, yaxis: { range: [0, 1.02], tickformat: ".0%", fixedrange: true },
  }, { summary: names.map((name, i) => `${name} ${figure("answer_accuracy", found[i].value)}`).join(", ") });
}

function drawSlices(chart, { overall, slices }) {
  const names = SLICE_FIGURES.filter((name) => name in overall);
  const entries = Object.entries(slices).flatMap(([slice, values]) => Object.entries(values).map(([value, entry]) => ({ slice, value, entry, label: `${slice}: ${value}  (${entry.n})` })));
  const data = names.map((name, index) => ({
    type: "scatter", mode: "markers", name: title(name), y: entries.map(({ label }) => literal(label)), x: bars(entries.map(({ entry }) => entry), name),
    error_x: errorBars(entries.map(({ entry }) => entry), name), marker: { size: 8, color: colours[index], symbol: ["circle", "diamond"][index] }, hovertemplate: "%{x:.1%}",
  }));
  const shapes = names.map((name, index) => ({ type: "line", x0: overall[name].value, x1: overall[name].value, y0: 0, y1: 1, yref: "paper", line: { color: colours[index], width: 1, dash: "dot" } }));
  const rows = () => ({
    columns: ["slice", "value", "images", ...names.flatMap((name) => [title(name), "low", "high"])],
    rows: entries.map(({ slice, value, entry }) => [slice, value, entry.n, ...names.flatMap((name) => [entry[name]?.value, entry[name]?.low, entry[name]?.high])]),
  });
  chart.draw(data, {
    height: 80 + ROW * entries.length, shapes, hovermode: "y unified", margin: { l: 8, r: 12, t: 28, b: 8 }, scattermode: "group",
    xaxis: { tickformat: ".0%", range: [Math.max(0, lowest(entries, names) - 0.03), 1.01], fixedrange: true, side: "bottom" },
    yaxis: { autorange: "reversed", type: "category", fixedrange: true, showgrid: false },
  }, { rows, summary: `${entries.length} slices`, note: "Dots with 95 % intervals; dotted lines are the whole split; numbers of images in brackets." });
}

const lowest = (entries, names) => Math.min(1, ...entries.flatMap(({ entry }) => names.map((name) => entry[name]?.low ?? 1)));

function card(mistake, missing) {
  const picture = mistake.thumbnail;
  const confidence = mistake.confidence === null ? "" : ` (${Math.round(100 * mistake.confidence)} %)`;
  return h("article", { class: "card mistake" },
    picture ? h("a", { href: mistake.image, target: "_blank" }, h("img", { src: picture, alt: `Picture ${mistake.id}`, loading: "lazy" })) : h("div", { class: "missing", text: missing }),
    h("div", { class: "text" },
      h("h3", {}, h("span", { class: mistake.miscounted ? "wrong" : "right", text: `counted ${mistake.predicted}${confidence}` }), h("span", { text: `truth ${mistake.truth}` })),
      h("ul", {}, mistake.answers.map(({ question, predicted, truth, correct }) => h("li", {},
        h("div", { class: "soft", text: question }),
        h("div", { class: correct ? "right" : "wrong" }, h("span", { "aria-hidden": "true", text: correct ? "✓ " : "✕ " }), h("span", { class: "sr", text: correct ? "Right: " : "Wrong: " }), predicted || "(nothing)"),
        correct ? null : h("div", { text: `truth: ${truth}` })))),
      h("p", { class: "where", text: `${mistake.id} · ${Object.entries(mistake.slices).filter(([, value]) => value !== "no" && value !== "none").map(([name, value]) => `${name} ${value}`).join(", ")}` })));
}

