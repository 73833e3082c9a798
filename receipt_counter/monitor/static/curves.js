// Curves over training: which belong in one chart, how they are smoothed and drawn, and the controls they share.
import { Chart, literal } from "./charts.js";
import { byId, fill, h } from "./dom.js";
import { isShare, number, title, words } from "./format.js";
import { colours } from "./project.js";
import { joined, state } from "./state.js";

export const DASHES = ["solid", "dash", "dot", "dashdot"];
const PARTS = [
  { id: "train_loss", name: "Loss in training", tags: /^train_(total|cls|lm)_loss$/, strip: /^train_|_loss$/g, log: true },
  { id: "val_loss", name: "Loss on val", tags: /^val_(total|cls|lm)_loss$/, strip: /^val_|_loss$/g, log: true },
  { id: "accuracy", name: "Accuracy on val", tags: /^(classification_accuracy|answer_accuracy)$/ },
  { id: "f1", name: "F1, precision, recall", tags: /^classification_(f1|precision|recall)$/, strip: /^classification_/ },
  { id: "bleu", name: "BLEU", tags: /^generation_bleu[1-4]$/ },
  { id: "rouge", name: "ROUGE", tags: /^generation_rouge/ },
  { id: "perplexity", name: "Perplexity", tags: /^generation_perplexity$/, log: true },
  { id: "calibration", name: "Off by one, calibration", tags: /^classification_(off_by_one|ece)$/ },
  { id: "learning_rate", name: "Learning rate", tags: /^learning_rate_/, strip: /^learning_rate_/, log: true },
  { id: "grad_norm", name: "Gradient norm", tags: /^grad_norm/, strip: /^grad_norm_(?=.)/, log: true },
  { id: "throughput", name: "Throughput, per second", tags: /^(images|questions)_per_second$/, strip: /_per_second$/ },
  { id: "memory", name: "Memory, GB", tags: /^memory_gigabytes$/ },
];
const SILENT = /^(stage|epoch|generation_bleu)$/; // marks, or the same as BLEU-4
const NAMES = { total: "Total", cls: "Counting", lm: "Answers", grad_norm: "All", questions_per_second: "Questions" };
const FIRST = ["train_total_loss", "val_total_loss", "grad_norm", "classification_accuracy"];

const short = (tag, strip) => {
  const cut = strip ? tag.replace(strip, "") : tag;
  return NAMES[cut] ?? (cut === tag ? title(tag) : words(cut));
};

/** Charts for the tags there are: [{id, name, log, tags: [{tag, name}]}]; what is not known gets a chart of its own. */
export function chartsOf(tags) {
  const left = new Set(tags.filter((tag) => !SILENT.test(tag) || (tag === "generation_bleu" && !tags.includes("generation_bleu4"))));
  const known = PARTS.map(({ tags: pattern, strip, ...part }) => {
    const own = [...left].filter((tag) => pattern.test(tag)).sort((a, b) => FIRST.includes(b) - FIRST.includes(a));
    own.forEach((tag) => left.delete(tag));
    return { ...part, tags: own.map((tag) => ({ tag, name: short(tag, strip) })) };
  });
  const others = [...left].map((tag) => ({ id: tag, name: title(tag), tags: [{ tag, name: title(tag) }] }));
  return [...known, ...others].filter((part) => part.tags.length);
}

/** Exponential smoothing with the start's bias taken out, as TensorBoard's. */
export function smoothed(values, weight) {
  if (!weight) return values;
  let [last, count] = [0, 0];
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    last = last * weight + (1 - weight) * value;
    count += 1;
    return last / (1 - weight ** count);
  });
}

export const look = (index) => ({ color: colours[index % colours.length], dash: DASHES[Math.floor(index / colours.length) % DASHES.length] });

/** Traces of one curve: the line, and behind a smoothed one what it was made from. */
export function curve({ name, x, value, index, weight, format = ".5~g", group = name, faint = true }) {
  const line = look(index);
  const lines = value.length > 40 ? "lines" : "lines+markers";
  const shared = { type: "scatter", x, legendgroup: group };
  const behind = weight && faint ? [{ ...shared, y: value, mode: "lines", line: { color: line.color, width: 1 }, opacity: 0.28, hoverinfo: "skip", showlegend: false }] : [];
  return [...behind, {
    ...shared, y: smoothed(value, weight), name: literal(name), mode: lines, customdata: value,
    line: { ...line, width: 2 }, marker: { size: 4 }, connectgaps: false,
    hovertemplate: weight ? `%{customdata:${format}} (smoothed %{y:.4~g})` : `%{y:${format}}`,
  }];
}

export function curveLayout({ tags, log, range, marks = [], date = false, xTitle = "step" }) {
  const share = tags.every(({ tag }) => isShare(tag));
  const shapes = marks.map(({ x }) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: "rgba(138,145,156,.7)", width: 1, dash: "dot" } }));
  const annotations = marks.map(({ x, text }) => ({ x, y: 1, yref: "paper", yanchor: "top", xanchor: "left", xshift: 2, text: literal(text), showarrow: false, quiet: true, font: { size: 10 } }));
  return {
    hovermode: "x unified", showlegend: tags.length > 1, uirevision: "kept", shapes, annotations,
    margin: { l: 8, r: 12, t: 28, b: 8 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    xaxis: { type: date ? "date" : "linear", showgrid: false, title: { text: date ? "" : xTitle, standoff: 2 }, ...(range ? { range, autorange: false } : { autorange: true }) },
    yaxis: { type: log ? "log" : "linear", fixedrange: true, autorange: true, ...(share && !log ? { tickformat: ".0%" } : { exponentformat: "power" }) },
  };
}

/** Rows for CSV and table: every point of every curve. */
export const curveRows = (series) => () => ({
  columns: ["series", "step", ...(series.some(({ time }) => time) ? ["time"] : []), "value"],
  rows: series.flatMap(({ name, step, time, value }) => value.map((found, i) => [name, step[i], ...(time ? [new Date(1000 * time[i]).toISOString()] : []), found])),
});

export const summary = (series) => series.filter(({ value }) => value.length)
  .map(({ name, step, value }) => `${name} ${number(value.at(-1))} at step ${step.at(-1)}, lowest ${number(lowest(value))}, highest ${number(highest(value))}`).join("; ");
const lowest = (values) => values.reduce((least, value) => (value < least ? value : least), Infinity);
const highest = (values) => values.reduce((most, value) => (value > most ? value : most), -Infinity);

/** The charts of a page, by id, in an order; those that are no longer wanted go. */
export class ChartGrid {
  constructor(parent, zoomed) {
    this.parent = parent;
    this.zoomed = zoomed;
    this.charts = new Map();
  }

  show(parts, draw) {
    const wanted = new Set(parts.map(({ id }) => id));
    [...this.charts].filter(([id]) => !wanted.has(id)).forEach(([id, chart]) => { chart.remove(); this.charts.delete(id); });
    parts.forEach((part, place) => {
      let chart = this.charts.get(part.id);
      if (!chart) {
        chart = new Chart(part.name, { height: part.height, file: part.file ?? part.id });
        if (this.zoomed) chart.onZoom(this.zoomed);
        this.charts.set(part.id, chart);
      }
      if (this.parent.children[place] !== chart.card) this.parent.insertBefore(chart.card, this.parent.children[place] ?? null);
      draw(part, chart);
    });
  }
}

export const view = () => ({
  weight: Math.min(0.99, Math.max(0, state.number("smooth", 0))),
  log: state.get("log") === "1",
  time: state.get("x") === "time",
  from: state.number("from", null),
  to: state.number("to", null),
  tags: state.get("tags") ? new Set(state.list("tags")) : null,
});

/** Smoothing, scales, range and the choice of curves; `redraw` needs no new data, `reload` does. */
export function controls(form, { parts, redraw, reload, usual = null, retagged = redraw, time = true, groups = false }) {
  const now = view();
  const set = (changes, then) => { state.set(changes); then(); };
  const check = (key, text, on, change) => h("label", { class: "check" },
    h("input", { type: "checkbox", checked: on, data: { key }, on: { change: ({ target }) => change(target.checked) } }), ` ${text}`);
  const slider = h("input", {
    type: "range", min: "0", max: "0.99", step: "0.01", value: String(now.weight), data: { key: "smooth" }, "aria-label": "Smoothing",
    on: { input: ({ target }) => { byId("smooth-value").textContent = Number(target.value).toFixed(2); set({ smooth: Number(target.value) || null }, redraw); } },
  });
  const axis = h("select", { data: { key: "x" }, "aria-label": "Horizontal axis", on: { change: ({ target }) => set({ x: target.value === "step" ? null : target.value, from: null, to: null }, reload) } },
    h("option", { value: "step", selected: !now.time }, "Step"), h("option", { value: "time", selected: now.time }, "Time"));
  const zoomed = now.from !== null || now.to !== null;
  fill(form,
    h("label", {}, h("span", { text: "Smoothing" }), slider, h("output", { id: "smooth-value", text: now.weight.toFixed(2) })),
    check("log", "Log scale", now.log, (on) => set({ log: on }, redraw)),
    groups ? check("group", "Group seeds", state.get("group") !== "none", (on) => set({ group: on ? null : "none" }, reload)) : null,
    time ? h("label", {}, h("span", { text: "Axis" }), axis) : null,
    picker(parts, usual ?? allOf(parts), (tags) => set({ tags }, retagged)),
    rangeFields(now, (changes) => set(changes, reload)),
    h("button", { type: "button", class: "button", disabled: !zoomed, data: { key: "reset" }, on: { click: () => set({ from: null, to: null }, reload) } }, "Reset zoom"));
  form.onsubmit = (event) => event.preventDefault();
}

function rangeFields({ from, to, time }, choose) {
  if (time) return null; // a range of time is dragged
  const field = (key, name, value) => h("input", {
    type: "text", inputmode: "numeric", size: "6", "aria-label": name, placeholder: name, value: value === null ? "" : String(Math.round(value)), data: { key },
    on: { change: ({ target }) => choose({ [key]: Number.isFinite(Number(target.value)) && target.value !== "" ? target.value : null }) },
  });
  return h("span", { class: "check" }, field("from", "From step", from), "–", field("to", "To step", to));
}

const allOf = (parts) => new Set(parts.flatMap(({ tags }) => tags.map(({ tag }) => tag)));

function picker(parts, usual, choose) {
  const toggle = (tag, on) => {
    const now = new Set(view().tags ?? usual);
    on ? now.add(tag) : now.delete(tag);
    choose(now.size === usual.size && [...now].every((name) => usual.has(name)) ? null : joined(now) || "none");
  };
  const chosen = view().tags ?? usual;
  const box = (tag, name) => h("label", {}, h("input", { type: "checkbox", checked: chosen.has(tag), data: { key: `tag-${tag}` }, on: { change: ({ target }) => toggle(tag, target.checked) } }), ` ${name}`);
  const open = document.querySelector(".picker")?.open;
  return h("details", { class: "picker", open }, h("summary", { class: "button" }, "Curves"),
    h("div", {}, parts.map((part) => h("fieldset", {}, h("legend", { text: part.name }), part.tags.map(({ tag, name }) => box(tag, name))))));
}

/** Parts with the curves that are chosen; all without a choice. A curve keeps its colour whatever else is shown. */
export const shown = (parts, chosen) => parts
  .map((part) => ({ ...part, tags: part.tags.map((entry, index) => ({ ...entry, index })).filter(({ tag }) => !chosen || chosen.has(tag)) }))
  .filter((part) => part.tags.length);
