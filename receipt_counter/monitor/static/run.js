// One run: its curves while it trains, and everything known of it.
import { byId, fill, h, table } from "./dom.js";
import { chartsOf, ChartGrid, controls, curve, curveLayout, curveRows, shown, summary, view } from "./curves.js";
import { Evaluation } from "./evaluation.js";
import { duration, figure, isShare, moment, plain, shortTitle } from "./format.js";
import { follow, get } from "./live.js";
import { descriptions, errorBox, eta, progress, runName, status, tile } from "./parts.js";
import { link, state } from "./state.js";

const [POINTS, FEWEST] = [1000, 4]; // of a curve
const LOG_LINES = 200;
const [NONE, LITTLE] = [0.05, 0.15]; // shares of the axis: room for nothing, and for a stage's number only
const TILES = ["classification_accuracy", "classification_f1", "answer_accuracy", "generation_bleu", "generation_rouge1_f", "val_total_loss", "images_per_second", "memory_gigabytes"];

const id = state.get("id");
const address = `api/experiments/${encodeURIComponent(id)}`;
let run = null;
let tags = {};
let latest = {}; // the same, to the last point even where the curves are zoomed
let drawnControls = "";

const local = (time) => {
  const date = new Date(1000 * time);
  return new Date(date.getTime() - 60000 * date.getTimezoneOffset()).toISOString().slice(0, -1);
};
const fromLocal = (text) => (typeof text === "number" ? text : new Date(String(text).replace(" ", "T"))).valueOf() / 1000;

function zoomed(range) {
  const time = view().time;
  const [from, to] = range ?? [null, null];
  const rounded = (value) => (value === null ? null : time ? fromLocal(value).toFixed(3) : Number(Number(value).toFixed(2)));
  state.set({ from: rounded(from), to: rounded(to) });
  reload();
}

const grid = new ChartGrid(byId("charts"), zoomed);
const evaluation = new Evaluation(address);

/** Where stages begin, on the axis that is shown. */
function marks(time) {
  const stages = run.stages;
  if (stages.length < 2) return [];
  const known = Object.values(tags).reduce((longest, series) => (series.step.length > (longest?.step.length ?? 0) ? series : longest), null);
  if (!known) return [];
  return stages.map(({ stage, step }, i) => {
    const room = ((stages[i + 1]?.step ?? Infinity) - step) / known.step.at(-1);
    const place = known.step.findIndex((other) => other >= step);
    const isBefore = time && place === 0 && view().from !== null; // times are known of the zoomed range alone
    return place < 0 || isBefore ? null : { x: time ? local(known.time[place]) : step, text: room < NONE ? "" : room < LITTLE ? `${stage}` : `stage ${stage}` };
  }).filter(Boolean);
}

function draw() {
  const now = view();
  const parts = chartsOf(Object.keys(tags));
  const range = now.from !== null && now.to !== null ? [now.from, now.to].map((value) => (now.time ? local(value) : value)) : null;
  const stageMarks = marks(now.time);
  grid.show(shown(parts, now.tags), (part, chart) => {
    const series = part.tags.map((entry) => ({ ...entry, ...tags[entry.tag] }));
    const traces = series.flatMap(({ tag, name, index, step, time, value }) => curve({
      name, index, value, x: now.time ? time.map(local) : step, weight: now.weight, format: isShare(tag) ? ".2%" : ".5~g",
    }));
    chart.draw(traces, curveLayout({ ...part, log: now.log && part.log, range, marks: stageMarks, date: now.time }), { rows: curveRows(series), summary: summary(series) });
  });
  byId("no-curves").hidden = parts.length > 0;
  const asked = JSON.stringify([parts, now.from, now.to, now.time]);
  if (asked !== drawnControls) {
    drawnControls = asked;
    controls(byId("controls"), { parts, redraw: draw, reload });
  }
}

function points() {
  const { from, to, time } = view();
  return get(`${address}/metrics`, { points: POINTS, from, to, x: time ? "time" : "step" });
}

async function reload() {
  try {
    ({ tags } = await points());
    draw();
  } catch (problem) {
    console.info(problem.message); // the banner tells what is wrong
  }
}

function head() {
  const name = runName(run);
  const running = run.status === "running";
  const { epoch, epochs, fraction, step } = run.progress ?? {};
  document.title = `${running ? `${Math.round(100 * (fraction ?? 0))} % ` : ""}${name} · seed ${run.seed}`;
  fill(byId("crumbs"), h("a", { href: link("./"), text: "Runs" }), h("span", { "aria-hidden": "true", text: "/" }),
    run.study ? [h("a", { href: link("study", { id: run.study }), text: run.study }), h("span", { "aria-hidden": "true", text: "/" })] : null,
    h("span", { class: "mono", "aria-current": "page", text: run.id }));
  const where = [epochs ? `epoch ${epoch ?? 0} of ${epochs}` : null, step !== null && step !== undefined ? `step ${step.toLocaleString("en")}` : null].filter(Boolean).join(", ");
  fill(byId("head"), h("h1", {}, name, h("span", { class: "soft", text: ` seed ${run.seed ?? "–"}` })), h("span", { role: "status", "aria-live": "polite" }, status(run.status)),
    run.status === "finished" ? null : progress(fraction, run.status), h("span", { class: "soft", text: [where, running ? eta(run.eta_seconds) : ""].filter(Boolean).join(" · ") }),
    h("span", { class: "actions" }, h("a", { class: "button", href: link("compare", { ids: encodeURIComponent(run.id) }) }, "Compare"), run.study ? h("a", { class: "button", href: link("./", { study: run.study }) }, "Runs of this study") : null));
  const error = byId("error");
  error.hidden = !run.error && !run.failure;
  fill(error, errorBox(run.failure?.message ?? run.error, run.failure?.log));
}

function tiles() {
  const last = (name) => latest[name]?.value.at(-1);
  const measured = TILES.map((name) => {
    const judged = run.metrics?.[name];
    const value = judged ?? last(name);
    return value === undefined || value === null ? null : tile(shortTitle(name), figure(name, value), judged === undefined ? `step ${latest[name].step.at(-1)}` : "");
  });
  fill(byId("tiles"), measured, tile("Device time", duration(run.device_seconds), `since ${moment(run.started)}`));
}

function config() {
  const only = state.get("differing") === "1";
  byId("differing").checked = only;
  const entries = run.config.filter(({ differs }) => !only || differs).sort((a, b) => Number(b.differs) - Number(a.differs));
  const against = entries.some(({ baseline }) => baseline !== undefined && baseline !== null) ? "Baseline" : "Default";
  const rows = entries.map(({ key, value, default: usual, baseline, differs }) => ({
    class: differs ? "differs" : "",
    cells: [h("span", { class: "mono", text: key }), h("span", { class: "mono value", text: plain(value) }), h("span", { class: "mono soft", text: plain(against === "Baseline" ? baseline : usual) })],
  }));
  fill(byId("config-table"), rows.length
    ? h("div", { class: "card flush" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Config, scrollable" }, table("Config", [{ name: "Key" }, { name: "Value" }, { name: against }], rows, { class: "config" })))
    : h("p", { class: "empty", text: only ? "Nothing differs." : run.config_problem ?? "There is no config." }));
}

function lineage() {
  const found = run.lineage ?? {};
  const versions = Object.entries(found.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  fill(byId("lineage-list"), descriptions({
    Run: run.id, Experiment: run.name, Study: found.study ?? run.study, Trial: found.trial ?? run.trial, Variant: run.variant, Seed: run.seed,
    Started: moment(run.started), Ended: run.ended ? moment(run.ended) : null, "Code version": found.code_version,
    Data: found.data_name, "Data fingerprint": found.data_fingerprint, Image: found.image, Device: found.device,
    Processes: found.processes, Threads: found.threads, Versions: versions, Preset: run.preset, Notes: run.notes.join(" "),
  }));
}

async function log() {
  const { lines } = await get(`${address}/log`, { lines: LOG_LINES });
  const element = byId("log-text");
  const content = lines.join("\n") || "There is no log.";
  if (element.textContent !== content) element.textContent = content;
  if (byId("follow").checked) element.scrollTop = element.scrollHeight;
}

async function load(change) {
  if (!change.all && !change.experiments.has(id)) return;
  try {
    const { from, to } = view();
    const last = from === null && to === null ? null : get(`${address}/metrics`, { points: FEWEST, tags: TILES.join(",") });
    let whole;
    [run, { tags }, whole] = await Promise.all([get(address), points(), last]);
    latest = whole?.tags ?? tags;
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    fill(byId("main"), h("h1", { text: "There is no such run" }), h("p", { class: "empty" }, `${id}: ${problem.message}. `, h("a", { href: link("./"), text: "All runs" })));
    return;
  }
  head();
  lineage();
  config();
  draw();
  tiles();
  await Promise.all([evaluation.load(run), log()]);
}

byId("differing").addEventListener("change", ({ target }) => { state.set({ differing: target.checked }); config(); });
follow(load);
