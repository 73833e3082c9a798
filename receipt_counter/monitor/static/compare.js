// Runs side by side.
import { literal } from "./charts.js";
import { chartsOf, ChartGrid, controls, curve, curveLayout, curveRows, look, shown, smoothed, summary, view } from "./curves.js";
import { byId, fill, h, table } from "./dom.js";
import { figure, interval, isShare, plain, shortTitle, title } from "./format.js";
import { follow, get } from "./live.js";
import { runName, runTitle, status } from "./parts.js";
import { joined, link, state } from "./state.js";

const POINTS = 300;
const BARS = ["classification_accuracy", "classification_f1", "answer_accuracy", "generation_bleu", "generation_rouge1_f"];
const RADAR = ["classification_accuracy", "classification_f1", "answer_accuracy", "generation_bleu", "generation_rouge1_f", "generation_rougeL_f"];
const USUAL = new Set(["train_total_loss", "train_cls_loss", "train_lm_loss", "val_total_loss", "classification_accuracy", "classification_f1", "answer_accuracy", "generation_bleu4", "generation_rouge1_f"]);
const [HEIGHT, ROW, LEAST] = [290, 26, 330]; // pixels
const BAND = "26"; // transparency of a band, as hex digits

let found = null;
let turns = 0; // questions asked so far
let drawnControls = "";
const grid = new ChartGrid(byId("charts"), (range) => {
  const [from, to] = (range ?? [null, null]).map((end) => (end === null ? null : Number(Number(end).toFixed(2))));
  state.set({ from, to });
  reload();
});
const sides = new ChartGrid(byId("bars"), null);

const grouped = () => state.get("group") !== "none";

/** What the seeds of a variant share: variants of two studies may have one name. */
const groupOf = (run) => JSON.stringify([run.study, runName(run)]);

/** The baseline first, then groups as they were chosen, seeds in order. */
function byGroup(runs) {
  const baselines = new Set(runs.filter((run) => runName(run) === "baseline").map(groupOf));
  const groups = [...new Set(runs.map(groupOf))].sort((a, b) => baselines.has(b) - baselines.has(a));
  return (a, b) => groups.indexOf(groupOf(a)) - groups.indexOf(groupOf(b)) || (a.seed ?? 0) - (b.seed ?? 0);
}

/** The head of a run's column, in two lines. */
const heading = (run, note) => h("span", {}, runName(run), h("br"), h("span", { class: "soft", text: note ? `seed ${run.seed ?? "–"}, ${note}` : `seed ${run.seed ?? "–"}` }));

/** What has a colour of its own: a run, or the seeds of a variant together. */
function looks() {
  const groups = [...new Set(found.experiments.map(groupOf))];
  return new Map(found.experiments.map((run, place) => [run.id, grouped() ? groups.indexOf(groupOf(run)) : place]));
}

function chosen() {
  const index = looks();
  fill(byId("chosen"), found.experiments.map((run) => {
    const { color, dash } = look(index.get(run.id));
    return h("span", { class: "pill" }, h("span", { class: "swatch", "aria-hidden": "true", style: { borderTopColor: color, borderTopStyle: dash === "solid" ? "solid" : "dashed" } }),
      h("a", { href: link("run", { id: run.id }), text: runTitle(run) }), status(run.status),
      h("button", { type: "button", class: "tool", "aria-label": `Remove ${runTitle(run)}`, data: { key: `remove-${run.id}` }, on: { click: () => remove(run.id) } }, "✕"));
  }));
  const gone = found.missing.length ? ` (${found.missing.length} not found: ${found.missing.join(", ")})` : "";
  byId("count").textContent = `${found.experiments.length} runs${gone}`;
}

function remove(id) {
  state.set({ ids: joined(state.list("ids").filter((other) => other !== id)) });
  reload();
}

function metrics() {
  const runs = found.experiments;
  const splits = new Set(Object.values(found.split).filter(Boolean));
  const rows = Object.entries(found.metrics).filter(([name]) => name !== "generation_bleu4" || !("generation_bleu" in found.metrics)).map(([name, values]) => {
    const distinct = new Set(Object.values(values).map(({ value }) => value)).size > 1;
    const cell = ({ id }) => (values[id] ? h("span", {}, h("span", { class: distinct && found.best[name] === id ? "best" : "", text: figure(name, values[id].value) }), " ", h("span", { class: "interval", text: interval(name, values[id]) })) : "–");
    const higher = found.higher_is_better[name];
    return { cells: [h("span", {}, title(name), h("span", { class: "soft", "aria-label": higher ? "higher is better" : "lower is better", role: "img", text: higher ? " ↑" : " ↓" })), ...runs.map(cell)] };
  });
  const columns = [{ name: "Metric" }, ...runs.map((run) => ({ name: heading(run, splits.size > 1 ? found.split[run.id] ?? "not judged" : ""), number: true }))];
  fill(byId("metrics"), rows.length ? h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Metrics, scrollable" }, table("Metrics", columns, rows, { class: "compare-table" })))
    : h("p", { class: "empty", text: "None of them has been judged yet." }));
}

function band(name, { step, mean, low, high, n }, index, weight) {
  const { color } = look(index);
  const edge = { type: "scatter", mode: "lines", x: step, line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: name };
  const edges = n > 1 ? [{ ...edge, y: smoothed(low, weight) }, { ...edge, y: smoothed(high, weight), fill: "tonexty", fillcolor: `${color}${BAND}` }] : [];
  return [...edges, ...curve({ name: n > 1 ? `${name} (${n} seeds)` : name, x: step, value: mean, index, weight, group: name, faint: false })];
}

function curvesOf(tag, index, weight) {
  const groups = found.groups[tag];
  if (grouped() && groups && Object.keys(groups).length) {
    const first = new Map(found.experiments.map((run) => [run.id, index.get(run.id)]));
    const ordered = Object.entries(groups).map(([name, group]) => ({ name, group, index: first.get(group.experiments[0]) ?? 0 })).sort((a, b) => a.index - b.index);
    return {
      traces: ordered.flatMap(({ name, group, index: place }) => band(name, group, place, weight)),
      series: ordered.map(({ name, group: { step, mean } }) => ({ name, step, value: mean })),
    };
  }
  const series = found.experiments.filter(({ id }) => found.curves[tag]?.[id]).map((run) => ({ name: runTitle(run), index: index.get(run.id), ...found.curves[tag][run.id] }));
  const format = isShare(tag) ? ".2%" : ".5~g";
  return { series, traces: series.flatMap((one) => curve({ name: one.name, x: one.step, value: one.value, index: one.index, weight, format })) };
}

function draw() {
  const now = view();
  const index = looks();
  const all = chartsOf(found.tags);
  // Overlaid, every tag needs a chart of its own.
  const parts = shown(all, now.tags ?? USUAL).flatMap((part) => part.tags.map(({ tag, name }) => ({
    id: tag, name: part.tags.length === 1 || name === title(tag) ? title(tag) : `${part.name}: ${name.toLowerCase()}`, log: part.log, height: HEIGHT, tags: [{ tag }],
  })));
  const range = now.from !== null && now.to !== null ? [now.from, now.to] : null;
  grid.show(parts, (part, chart) => {
    const { traces, series } = curvesOf(part.id, index, now.weight);
    chart.draw(traces, { ...curveLayout({ ...part, log: now.log && part.log, range }), showlegend: true }, { rows: curveRows(series), summary: summary(series) });
  });
  const asked = JSON.stringify([all, now.from, now.to, grouped()]);
  if (asked !== drawnControls) {
    drawnControls = asked;
    controls(byId("controls"), { parts: all, redraw: draw, reload, retagged: reload, usual: USUAL, time: false, groups: true });
  }
}

function barChart(chart, name) {
  const index = looks();
  const runs = found.experiments.filter(({ id }) => Number.isFinite(found.metrics[name][id]?.value));
  const values = runs.map(({ id }) => found.metrics[name][id]);
  const errors = { array: values.map(({ value, high }) => (high ?? value) - value), arrayminus: values.map(({ value, low }) => value - (low ?? value)) };
  chart.draw([{
    type: "bar", orientation: "h", y: runs.map((run) => literal(runTitle(run))), x: values.map(({ value }) => value), name: title(name),
    marker: { color: runs.map((run) => look(index.get(run.id)).color) }, error_x: { type: "data", symmetric: false, ...errors, thickness: 1.3, width: 4 },
    hovertemplate: isShare(name) ? "%{y}: %{x:.2%}<extra></extra>" : "%{y}: %{x:.4~g}<extra></extra>",
  }], {
    height: Math.max(LEAST, ROW * runs.length + 60), showlegend: false, bargap: 0.35, margin: { l: 8, r: 12, t: 8, b: 8 },
    xaxis: { rangemode: "tozero", fixedrange: true, ...(isShare(name) ? { tickformat: ".0%" } : {}) }, yaxis: { type: "category", autorange: "reversed", showgrid: false, fixedrange: true },
  }, { summary: runs.map((run, i) => `${runTitle(run)} ${figure(name, values[i].value)}`).join(", ") });
}

/** The metrics of the radar, and the runs that have all of them. */
function complete() {
  const names = RADAR.filter((name) => name in found.metrics);
  return { names, runs: found.experiments.filter(({ id }) => names.every((name) => Number.isFinite(found.metrics[name][id]?.value))) };
}

function radar(chart) {
  const index = looks();
  const { names, runs } = complete();
  const round = (list) => [...list, list[0]];
  const lowest = Math.min(...runs.flatMap(({ id }) => names.map((name) => found.metrics[name][id].value)));
  chart.draw(runs.map((run) => ({
    type: "scatterpolar", mode: "lines+markers", name: literal(runTitle(run)), theta: round(names.map((name) => shortTitle(name).replace(" ", "<br>"))), r: round(names.map((name) => found.metrics[name][run.id].value)),
    line: { ...look(index.get(run.id)), width: 2 }, marker: { size: 4 }, hovertemplate: "%{theta}: %{r:.3f}",
  })), {
    height: Math.max(LEAST, ROW * found.experiments.length + 60), showlegend: false, margin: { l: 70, r: 70, t: 30, b: 30 }, polar: { radialaxis: { range: [Math.max(0, Math.floor(10 * lowest - 0.5) / 10), 1], tickfont: { size: 10 }, nticks: 5 }, angularaxis: {} },
  }, { summary: `${runs.length} runs on ${names.length} metrics` });
}

function sideBySide() {
  const names = BARS.filter((name) => name in found.metrics);
  const parts = names.map((name) => ({ id: name, file: `bars_${name}`, name: title(name) }));
  const { names: spokes, runs } = complete();
  const radial = spokes.length > 2 && runs.length ? [{ id: "radar", name: "All together" }] : [];
  sides.show([...parts, ...radial], ({ id }, chart) => (id === "radar" ? radar(chart) : barChart(chart, id)));
}

function differences() {
  const rows = found.config_diff.map(({ key, values }) => ({ cells: [h("span", { class: "mono", text: key }), ...found.experiments.map(({ id }) => h("span", { class: "mono", text: plain(values[id]) }))] }));
  fill(byId("diff"), rows.length ? h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Config, scrollable" },
    table("Config", [{ name: "Key" }, ...found.experiments.map((run) => ({ name: heading(run, "") }))], rows, { class: "compare-table" }))) : h("p", { class: "empty", text: "Nothing but the seed, at most." }));
}

function show() {
  document.title = `Compare ${found.experiments.length} runs`;
  chosen();
  metrics();
  draw();
  sideBySide();
  differences();
}

/** Everything as the link says it now; of two questions in a row the later one counts. */
async function compare() {
  const ids = state.list("ids");
  const turn = (turns += 1);
  byId("none").hidden = ids.length > 0;
  byId("content").hidden = ids.length === 0;
  if (!ids.length) {
    fill(byId("chosen"));
    byId("count").textContent = "";
    return;
  }
  const { tags, from, to } = view();
  const list = (names) => [...names].map((name) => name.replaceAll(",", "%2C")).join(",");
  const answer = await get("api/compare", { ids: list(ids), tags: list(tags ?? USUAL), points: POINTS, from, to, group: grouped() ? "variant" : "none" });
  if (turn !== turns) return;
  found = answer;
  found.experiments.sort(byGroup(found.experiments));
  show();
}

// What went wrong when a reader asked is told by the banner.
const reload = () => compare().catch((problem) => console.info(problem.message));

follow(async (change) => {
  if (change.all || state.list("ids").some((id) => change.experiments.has(id))) await compare();
});
