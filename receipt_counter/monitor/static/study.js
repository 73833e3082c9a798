// One study: how far it is, what it has found, and its figures as trials end.
import { Chart } from "./charts.js";
import { byId, fill, h, reconcile, table } from "./dom.js";
import { deviceHours, duration, figure, moment, plain, title } from "./format.js";
import { follow, get } from "./live.js";
import { errorBox, descriptions, eta, progress, status, tile } from "./parts.js";
import { joined, link, state } from "./state.js";
import { bestText, KINDS, parameterText } from "./study_cards.js";

const id = state.get("id");
const address = `api/studies/${encodeURIComponent(id)}`;
const charts = new Map();
let study = null;

const STATES = { live: "Figures and findings are of the trials so far.", computing: "Figures and findings are of the trials so far; newer ones are on their way.", final: "Figures and findings are those of the finished study.", unavailable: "Figures and findings are of an earlier look." };
const GROUPS = [
  ["Effects", ["forest"]], ["What matters most", ["tornado", "radar"]], ["The search so far, and what matters", ["history", "importance"]], ["Parallel coordinates", ["parallel_coordinates"]],
  ["One parameter at a time", ["sensitivity", "correlations"]], ["Trade-offs", ["pareto"]], ["Metrics", ["bars"]], ["Learning curves", ["curves"]], ["Where it matters", ["slices"]],
  ["Costs", ["cost"]], ["Confirmation on other seeds", ["confirmation_forest", "confirmation_curves"]],
];
const SIZES = { slices: "wide", parallel_coordinates: "wide", history: "double" };

function head() {
  const running = study.status === "running";
  document.title = `${running ? `${Math.round(100 * (study.progress.fraction ?? 0))} % ` : ""}${study.name}`;
  fill(byId("crumbs"), h("a", { href: link("./"), text: "Runs" }), h("span", { "aria-hidden": "true", text: "/" }), h("span", { "aria-current": "page", text: study.id }));
  fill(byId("head"), h("h1", {}, study.name, study.kind === study.name ? null : h("span", { class: "soft", text: ` ${(KINDS[study.kind] ?? "study").toLowerCase()}` })),
    h("span", { role: "status", "aria-live": "polite" }, status(study.status)), progress(study.progress.fraction, study.status),
    h("span", { class: "soft", text: running ? eta(study.eta_seconds) : "" }),
    h("span", { class: "actions" }, h("a", { class: "button", href: link("./", { study: study.id }) }, "Its runs"),
      study.experiments.length > 1 ? h("a", { class: "button", href: link("compare", { ids: joined(study.experiments.slice(0, 20)) }) }, "Compare its runs") : null,
      study.analysis_state === "final" ? h("a", { class: "button primary", href: `report?study=${encodeURIComponent(id)}`, title: "save the report, one HTML file" }, "Report") : null));
  const { done, total, running: now, failed } = study.progress;
  fill(byId("tiles"),
    tile("Trials", `${done} of ${total ?? "?"}`, [now ? `${now} running` : "", failed ? `${failed} failed` : ""].filter(Boolean).join(", ")),
    study.best ? tile(`Best ${title(study.best.metric)}`, figure(study.best.metric, study.best.value), bestText(study.best)) : null,
    tile("Device time", deviceHours(study.device_seconds)), tile("Started", moment(study.started)), tile("Last heard of", moment(study.updated)));
}

function findings() {
  byId("findings-section").hidden = study.findings.length === 0;
  fill(byId("findings"), study.findings.map((sentence) => h("li", { text: sentence })));
  byId("failures-section").hidden = study.failures.length === 0 && !study.error;
  fill(byId("failures"), study.error ? errorBox(study.error) : null, study.failures.map((trial) => h("details", { class: "card trial" },
    h("summary", {}, status(trial.status), ` ${trial.trial} `, h("span", { class: "soft", text: parameterText(trial.parameters) })),
    h("p", { text: trial.message ?? "It left no message." }), runLinks(trial))));
}

const runLinks = ({ experiments }) => h("span", {}, experiments.flatMap((run, i) => [i ? " " : "", h("a", { href: link("run", { id: run }), text: run, class: "mono" })]));

const rounded = (value) => (/^-?\d+\.\d{5,}$/.test(value) ? String(Number(Number(value).toPrecision(4))) : plain(value));

function trials() {
  const metrics = [...new Set(study.trials.flatMap((trial) => Object.keys(trial.metrics)))];
  const parameters = [...new Set(study.trials.flatMap((trial) => Object.keys(trial.parameters)))];
  const heading = (text, number) => h("th", { scope: "col", class: number ? "number" : "", text });
  const shown = byId("trials");
  fill(shown.tHead, h("tr", {}, heading("Trial"), heading("Status"), parameters.map((name) => h("th", { scope: "col", title: name, text: name.split(".").slice(-2).join(".") })), metrics.map((name) => heading(title(name), true)), heading("Took", true), heading("Runs")));
  reconcile(shown.tBodies[0], study.trials, ({ trial }) => trial, (trial) => h("tr", {},
    h("th", { scope: "row", text: trial.trial }), h("td", { title: trial.message }, status(trial.status)),
    parameters.map((name) => h("td", { class: "mono", text: rounded(trial.parameters[name]), title: plain(trial.parameters[name]) })),
    metrics.map((name) => h("td", { class: "number", text: figure(name, trial.metrics[name]) })),
    h("td", { class: "number", text: duration(trial.seconds) }), h("td", {}, runLinks(trial))));
  byId("count").textContent = `${study.trials.length} begun`;
}

/** Effects with intervals, bold where they are significant after correction: variations crossed with each other, and the steps of a path. */
function designs() {
  const { factorial, path, priority_metrics: metrics = [] } = study.analysis ?? {};
  const effect = (found) => (found ? h("span", { class: ["better", "worse"].includes(found.verdict) ? "decided" : "" }, signed(found.effect), h("span", { class: "interval", text: ` ${signed(found.low)} to ${signed(found.high)}` })) : "–");
  const columns = (name) => [{ name }, { name: "Kind" }, ...metrics.map((metric) => ({ name: `${title(metric)}, points`, number: true }))];
  const crossed = [["main_effects", "averaged over the other factors"], ["interactions", "beyond the sum of both"]].flatMap(([part, kind]) => Object.values(factorial?.[part] ?? {}).map((entry) => ({
    cells: [Object.values(entry.levels).join(" and "), kind, ...metrics.map((metric) => effect(entry.effects[metric]))],
  })));
  const steps = (path ?? []).flatMap((step) => [["effect", "this step"], ["cumulative", "all steps so far"]].map(([part, kind]) => ({ cells: [`${step.step}. ${step.changes}`, kind, ...metrics.map((metric) => effect(step[part][metric]))] })));
  const shown = [["Variations together", "Effect", crossed], ["The path to another config", "Step", steps]].filter(([, , rows]) => rows.length);
  fill(byId("designs"), shown.map(([heading, name, rows]) => h("section", { "aria-label": heading }, h("h2", { text: heading }), h("div", { class: "card flush" },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${heading}, scrollable` }, table(heading, columns(name), rows))))));
}

const signed = (effect) => `${effect < 0 ? "−" : "+"}${Math.abs(100 * effect).toFixed(1)}`;

function plan() {
  const { plan: planned } = study;
  if (!planned) return fill(byId("plan"), h("p", { class: "soft", text: "Its plan cannot be read." }));
  return fill(byId("plan"), descriptions({
    Algorithm: planned.algorithm, Objective: planned.objective ? `${title(planned.objective)}, ${planned.higher_is_better ? "higher" : "lower"} is better${planned.goal === null ? "" : `, until ${planned.goal}`}` : null,
    "Looks first at": planned.priority_metrics.map(title).join(", "), Seeds: planned.seeds.join(", "), Split: planned.split,
    "Trials at most": planned.max_trials, "At a time": planned.parallel_trials, "Not understood": planned.problem,
  }), h("ul", { class: "findings" }, planned.variants.map(({ name, changes }) => h("li", {}, h("strong", { text: name }), " ", h("span", { class: "mono soft", text: changes }))),
    planned.variants.length ? null : planned.parameters.map(({ name, values, low, high }) => h("li", {}, h("strong", { class: "mono", text: name }), " ", h("span", { class: "soft", text: values.length ? values.join(", ") : `${low} to ${high}` })))));
}

/** The group's place on the page, made when its first figure comes. */
function groupOf(name) {
  const kind = name.split(":")[0];
  const place = GROUPS.findIndex(([, kinds]) => kinds.includes(kind));
  const [heading] = GROUPS[place] ?? ["Others"];
  const order = place < 0 ? GROUPS.length : place;
  const parent = byId("figures");
  const known = [...parent.children].find((section) => section.dataset.place === String(order));
  if (known) return known.lastElementChild;
  const section = h("section", { "aria-label": heading, data: { place: String(order) } }, h("h2", { text: heading }), h("div", { class: "charts" }));
  parent.insertBefore(section, [...parent.children].find((other) => Number(other.dataset.place) > order) ?? null);
  return section.lastElementChild;
}

function draw({ state: kind, problem, figures }) {
  const entries = Object.entries(figures).filter(([, { data }]) => data.length);
  const note = byId("figures-note");
  note.textContent = entries.length ? [STATES[kind], problem].filter(Boolean).join(" ") : problem ?? (kind === "computing" ? "Figures are being computed …" : "Figures appear once trials have ended.");
  note.className = entries.length ? "soft" : "empty";
  const wanted = new Set(entries.map(([name]) => name));
  [...charts].filter(([name]) => !wanted.has(name)).forEach(([name, chart]) => { chart.remove(); charts.delete(name); });
  const places = new Map();
  entries.forEach(([name, { data, layout }]) => {
    if (!charts.has(name)) charts.set(name, new Chart(layout.title?.text ?? name, { size: SIZES[name.split(":")[0]], file: name }));
    const chart = charts.get(name);
    const parent = groupOf(name);
    const place = places.get(parent) ?? 0;
    places.set(parent, place + 1);
    if (parent.children[place] !== chart.card) parent.insertBefore(chart.card, parent.children[place] ?? null);
    const legend = data.length > 1 && layout.showlegend !== false;
    const { title: _, ...rest } = layout;
    chart.draw(data, { ...rest, uirevision: "kept", margin: { ...layout.margin, t: legend ? 36 : Math.max(10, layout.margin?.t ?? 0) } });
  });
  [...byId("figures").children].forEach((section) => { section.hidden = section.lastElementChild.childElementCount === 0; });
}

async function load(change) {
  if (!change.all && !change.studies.has(id)) return;
  try {
    study = await get(address);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    fill(byId("main"), h("h1", { text: "There is no such study" }), h("p", { class: "empty" }, `${id}: ${problem.message}. `, h("a", { href: link("./"), text: "All studies and runs" })));
    return;
  }
  head();
  findings();
  trials();
  designs();
  plan();
  draw(await get(`${address}/figures`));
}

follow(load);
