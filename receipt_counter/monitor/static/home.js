// Home: studies and runs, what needs attention first.
import { byId, fill, h, reconcile } from "./dom.js";
import { deviceHours, duration, figure, isLowerBetter, moment, seconds, shortTitle, title } from "./format.js";
import { follow, get } from "./live.js";
import { eta, progress, runName, status, STATUSES, urgency } from "./parts.js";
import { joined, link, state } from "./state.js";
import { studyCards } from "./study_cards.js";

const PAGE = 100; // rows; more at once would make typing slow
const FEW = 8; // changed runs that are asked for one by one
const FIRST_METRICS = ["classification_accuracy", "classification_f1", "answer_accuracy", "generation_bleu", "generation_rouge1_f", "val_total_loss"];
const METRICS_SHOWN = 4;
const NO_METRICS = "none"; // in the link
const SORTS = {
  "": ["What needs attention", (run) => [urgency(run.status), -seconds(run.updated ?? run.started)]],
  name: ["Name", (run) => [runName(run), run.seed]],
  started: ["Newest", (run) => [-seconds(run.started)]],
  updated: ["Last heard of", (run) => [-seconds(run.updated)]],
  progress: ["Progress", (run) => [-(run.progress?.fraction ?? 0)]],
  eta: ["Time left", (run) => [run.eta_seconds ?? Infinity]],
  device: ["Device time", (run) => [-(run.device_seconds ?? 0)]],
  study: ["Study", (run) => [run.study ?? "\uffff", run.trial ?? ""]],
};

const runs = new Map();
let studies = [];
let scanning = null;

const compareKeys = (a, b) => {
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] === b[i]) continue;
    if (typeof a[i] === "string" && typeof b[i] === "string") return a[i].localeCompare(b[i], "en", { numeric: true });
    if (Number.isNaN(a[i]) || a[i] === undefined) return 1;
    if (Number.isNaN(b[i]) || b[i] === undefined) return -1;
    return a[i] < b[i] ? -1 : 1;
  }
  return 0;
};

/** Metrics that runs have, those that are looked at first in front. */
function knownMetrics() {
  const found = new Set([...runs.values()].flatMap((run) => Object.keys(run.metrics ?? {})));
  const others = [...found].filter((name) => !FIRST_METRICS.includes(name)).sort((a, b) => title(a).localeCompare(title(b), "en"));
  return [...FIRST_METRICS.filter((name) => found.has(name)), ...others];
}

const usualMetrics = (known) => FIRST_METRICS.filter((name) => known.includes(name)).slice(0, METRICS_SHOWN);

/** The columns of metrics: those of the link, else the usual ones. */
function shownMetrics(known = knownMetrics()) {
  const asked = state.list("metrics");
  const chosen = asked.filter((name) => known.includes(name));
  return chosen.length || asked.includes(NO_METRICS) ? chosen : usualMetrics(known);
}

function matching() {
  const words = state.get("q").toLowerCase().split(/\s+/).filter(Boolean);
  const study = state.get("study");
  return [...runs.values()].filter((run) => {
    const text = [run.name, run.variant, run.study, run.trial, run.id, `seed ${run.seed}`, run.status].join(" ").toLowerCase();
    return (!study || run.study === study) && words.every((word) => text.includes(word));
  });
}

function sorted(found) {
  const name = state.get("sort");
  const metric = name.startsWith("metric:") ? name.slice(7) : null;
  const better = metric && isLowerBetter(metric) ? 1 : -1;
  const key = metric
    ? (run) => [run.metrics?.[metric] === undefined || run.metrics[metric] === null ? Infinity : better * run.metrics[metric]]
    : (SORTS[name] ?? SORTS[""])[1];
  const grouped = state.get("group") === "study";
  const turn = state.get("order") === "desc" ? -1 : 1;
  return found.map((run) => ({ run, group: [run.study ?? "\uffff"], key: key(run) }))
    .sort((a, b) => (grouped && compareKeys(a.group, b.group)) || turn * compareKeys(a.key, b.key) || compareKeys([a.run.id], [b.run.id]))
    .map(({ run }) => run);
}

function bestOf(found, names) {
  return Object.fromEntries(names.map((name) => {
    const values = found.map((run) => run.metrics?.[name]).filter(Number.isFinite);
    return [name, values.length > 1 ? (isLowerBetter(name) ? Math.min(...values) : Math.max(...values)) : null];
  }));
}

function render() {
  const names = shownMetrics();
  const found = matching();
  const chips = state.list("status");
  const shown = sorted(chips.length ? found.filter((run) => chips.includes(run.status)) : found);
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const page = Math.min(pages, Math.max(1, state.number("page", 1)));
  const rows = shown.slice((page - 1) * PAGE, page * PAGE);
  overview();
  filters(found, chips);
  header(names);
  body(rows, names, bestOf(shown, names));
  pager(page, pages);
  byId("count").textContent = shown.length === runs.size ? `${runs.size} runs` : `${shown.length} of ${runs.size} runs`;
  const none = byId("none");
  none.hidden = shown.length > 0;
  none.textContent = runs.size ? "No run matches." : scanning ? "Reading the runs …" : "There are no runs yet. They appear here as soon as one begins.";
  selection();
  byId("studies-section").hidden = studies.length === 0;
  studyCards(byId("studies"), studies);
}

function overview() {
  const all = [...runs.values()];
  const spent = all.reduce((sum, run) => sum + (run.device_seconds ?? 0), 0);
  const count = (name) => all.filter((run) => run.status === name).length;
  const facts = [
    [studies.length, studies.length === 1 ? "study" : "studies"], [all.length, all.length === 1 ? "run" : "runs"],
    [count("running"), "running"], [count("failed") + count("diverged"), "failed"],
    [deviceHours(spent), "of device time"],
  ];
  if (scanning) facts.push([`${scanning.done} / ${scanning.total}`, "read"]);
  fill(byId("overview"), facts.map(([number, text]) => h("div", {}, h("b", { text: String(number) }), text)));
}

function filters(found, chips) {
  const form = byId("filters");
  const names = [...new Set([...runs.values()].map((run) => run.study).filter(Boolean))].sort();
  fill(form.study, h("option", { value: "", text: "All" }), names.map((name) => h("option", { value: name, text: name })));
  const sorted = state.get("sort").startsWith("metric:") ? [state.get("sort").slice(7)] : [];
  const metrics = [...new Set([...shownMetrics(), ...sorted])].map((name) => [`metric:${name}`, title(name)]);
  const sorts = [...Object.entries(SORTS).map(([name, [text]]) => [name, text]), ...metrics];
  fill(form.sort, sorts.map(([value, text]) => h("option", { value, text })));
  for (const name of ["q", "study", "sort"]) if (document.activeElement !== form[name]) form[name].value = state.get(name);
  form.group.checked = state.get("group") === "study";
  columns();
  fill(byId("chips"), STATUSES.map((name) => {
    const count = found.filter((run) => run.status === name).length;
    return count || chips.includes(name) ? h("button", {
      type: "button", class: "chip", "aria-pressed": String(chips.includes(name)), data: { key: name },
      on: { click: () => change({ status: joined(toggled(state.list("status"), name)) }) },
    }, status(name), h("b", { text: String(count) })) : null;
  }));
}

/** Which metrics have a column. */
function columns() {
  const known = knownMetrics();
  const shown = shownMetrics(known);
  const choose = (name) => {
    const now = toggled(shownMetrics(), name);
    const usual = usualMetrics(known);
    const asUsual = now.length === usual.length && now.every((other, place) => other === usual[place]);
    change({ metrics: asUsual ? null : joined(now) || NO_METRICS });
  };
  byId("columns").hidden = known.length === 0;
  fill(byId("columns-list"), known.map((name) => h("label", {}, h("input", {
    type: "checkbox", checked: shown.includes(name), data: { key: `column-${name}` }, on: { change: () => choose(name) },
  }), ` ${title(name)}`)));
}

const toggled = (list, item) => (list.includes(item) ? list.filter((other) => other !== item) : [...list, item]);

function change(changes) {
  state.set({ page: null, ...changes });
  render();
}

function sortBy(name) {
  const again = state.get("sort") === name;
  change({ sort: name, order: again && state.get("order") !== "desc" ? "desc" : null });
}

function header(names) {
  const heading = (text, sort, number) => h("th", {
    scope: "col", class: number ? "number" : "",
    "aria-sort": state.get("sort") === sort ? (state.get("order") === "desc" ? "descending" : "ascending") : null,
  }, h("button", { type: "button", data: { key: sort }, on: { click: () => sortBy(sort) } }, text));
  fill(byId("runs").tHead, h("tr", {},
    h("th", { scope: "col", class: "select" }, h("span", { class: "sr", text: "Select" })),
    heading("Status", ""), heading("Run", "name"), h("th", { scope: "col", class: "number", text: "Seed" }), heading("Study", "study"),
    heading("Progress", "progress"),
    names.map((name) => heading(shortTitle(name), `metric:${name}`, true)),
    heading("Device time", "device", true), heading("Last heard of", "updated", true)));
}

function body(rows, names, best) {
  const grouped = state.get("group") === "study";
  const chosen = new Set(state.list("sel"));
  const items = rows.flatMap((run, place) => [
    ...(grouped && (place === 0 || rows[place - 1].study !== run.study) ? [{ group: run.study, names: names.length }] : []),
    { run: shownOf(run, names), chosen: chosen.has(run.id), names, best: names.filter((name) => run.metrics?.[name] === best[name] && best[name] !== null) },
  ]);
  reconcile(byId("runs").tBodies[0], items, (item) => (item.run ? `run-${item.run.id}` : `group-${item.group}`), (item) => (item.run ? row(item) : group(item)));
}

// Only what a row shows makes it be built again.
const shownOf = ({ id, name, variant, seed, study, status: state_, progress: done, eta_seconds, metrics = {}, device_seconds, updated, error }, names) => ({
  id, name, variant, seed, study, status: state_, fraction: done?.fraction, step: done?.step, epoch: done?.epoch, epochs: done?.epochs,
  eta_seconds, device_seconds, updated, error,
  metrics: Object.fromEntries(names.map((metric) => [metric, metrics?.[metric]])),
});

function row({ run, chosen, names, best }) {
  const name = runName(run);
  const where = run.epochs ? `epoch ${run.epoch ?? 0} of ${run.epochs}, step ${run.step ?? 0}` : `step ${run.step ?? 0}`;
  const box = h("input", {
    type: "checkbox", "aria-label": `Select ${name} seed ${run.seed}`, data: { key: `select-${run.id}` }, checked: chosen,
    on: { change: ({ target }) => select(run.id, target.checked) },
  });
  return h("tr", { class: chosen ? "chosen" : "" },
    h("td", { class: "select" }, box), h("td", { title: run.error }, status(run.status)),
    h("th", { scope: "row", class: "name", title: name }, h("a", { href: link("run", { id: run.id }), data: { key: `open-${run.id}` }, text: name }), !run.study && run.variant && run.variant !== run.name ? h("span", { class: "soft", text: ` ${run.name}` }) : null),
    h("td", { class: "number", text: run.seed ?? "–" }),
    h("td", { class: "wide", title: run.study }, run.study ? h("a", { href: link("study", { id: run.study }), text: run.study }) : "–"),
    h("td", { title: where }, progress(run.fraction, run.status, `Progress of ${name}`, run.status === "running" && run.eta_seconds !== null ? eta(run.eta_seconds) : "")),
    names.map((metric) => h("td", { class: "number" }, h("span", { class: best.includes(metric) ? "best" : "", text: figure(metric, run.metrics[metric]) }))),
    h("td", { class: "number", text: duration(run.device_seconds) }), h("td", { class: "number", text: moment(run.updated) }));
}

const group = ({ group: name, names }) => h("tr", { class: "group" },
  h("th", { colspan: String(8 + names), scope: "rowgroup" }, name ? h("a", { href: link("study", { id: name }), text: name }) : "Runs of no study"));

function select(id, on) {
  const chosen = new Set(state.list("sel"));
  on ? chosen.add(id) : chosen.delete(id);
  state.set({ sel: joined(chosen) });
  render();
}

function selection() {
  const chosen = state.list("sel");
  const button = byId("compare-selected");
  const enough = chosen.length > 1;
  button.textContent = chosen.length ? `Compare ${chosen.length}` : "Compare";
  button.setAttribute("aria-disabled", String(!enough));
  if (enough) button.href = link("compare", { ids: joined(chosen) });
  else button.removeAttribute("href");
  byId("compare-link").href = link("compare", { ids: joined(chosen) });
  byId("clear").hidden = chosen.length === 0;
}

function pager(page, pages) {
  const nav = byId("pager");
  nav.hidden = pages === 1;
  const turn = (to, text) => h("button", { type: "button", class: "button", disabled: to < 1 || to > pages, data: { key: text }, on: { click: () => change({ page: to === 1 ? null : to }) } }, text);
  fill(nav, turn(page - 1, "Previous"), h("span", { text: `Page ${page} of ${pages}` }), turn(page + 1, "Next"));
}

async function load(changes) {
  const few = !changes.all && !scanning && changes.experiments.size <= FEW; // the list tells how far reading is
  const asked = few
    ? Promise.all([...changes.experiments].map((id) => get(`api/experiments/${encodeURIComponent(id)}`).catch((problem) => {
      if (problem.status !== 404) throw problem;
      return { id, gone: true };
    })))
    : get("api/experiments");
  const [answer, listed] = await Promise.all([asked, changes.all || changes.studies.size ? get("api/studies") : null]);
  if (listed) studies = listed.studies.sort((a, b) => Number(b.status !== "finished") - Number(a.status !== "finished"));
  if (few) answer.forEach((run) => (run.gone ? runs.delete(run.id) : runs.set(run.id, run)));
  else {
    runs.clear();
    answer.experiments.forEach((run) => runs.set(run.id, run));
    scanning = answer.scanning;
  }
  render();
}

const form = byId("filters");
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  if (target.name === "group") change({ group: target.checked ? "study" : null });
  else if (target.name === "sort") change({ sort: target.value, order: null });
  else if (target.name) change({ [target.name]: target.value });
});
byId("clear").addEventListener("click", () => { state.set({ sel: null }); render(); });
follow(load);
