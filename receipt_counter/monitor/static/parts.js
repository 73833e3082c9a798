// What several pages show: states, progress, tiles.
import { h } from "./dom.js";
import { roughly } from "./format.js";

const ICONS = { running: "▶", stale: "◌", interrupted: "‖", failed: "✕", diverged: "≈", finished: "✓", succeeded: "✓", killed: "‖", pending: "·", target: "✓", minimum: "●", unknown: "?", unreadable: "!" };
const ORDER = ["failed", "diverged", "unreadable", "stale", "interrupted", "running", "finished"];

export const STATUSES = ORDER;
/** Failures come first. */
export const urgency = (status) => (ORDER.indexOf(status) + 1 || ORDER.length + 1);

export const status = (name, text = name) => h("span", { class: `status ${name}` },
  h("span", { class: "icon", "aria-hidden": "true", text: ICONS[name] ?? "·" }), text);

export function progress(fraction, kind, label = "Progress", note = "") {
  const percent = Math.round(100 * Math.min(1, Math.max(0, fraction ?? 0)));
  return h("div", { class: "progress" },
    h("div", { class: "track", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent) },
      h("span", { class: `fill ${kind}`, style: { width: `${percent}%` } })),
    h("span", { class: "number", text: fraction === null ? "" : `${percent} %` }), note ? h("span", { class: "soft", text: note }) : null);
}

export const eta = (seconds) => (seconds === null || seconds === undefined ? "–" : `${roughly(seconds)} left`);

export const tile = (name, value, note = "") => h("div", { class: "tile" },
  h("dt", { text: name, title: name }), h("dd", {}, value, note ? h("small", { text: note, title: note }) : null));

export const descriptions = (pairs) => h("dl", {}, Object.entries(pairs)
  .filter(([, text]) => text !== null && text !== undefined && text !== "")
  .map(([name, text]) => [h("dt", { text: name }), h("dd", {}, text instanceof Node ? text : String(text))]));

/** Buttons of which one is pressed. */
export const choices = (names, chosen, choose, text = (name) => name) => names.map((name) => h("button", {
  type: "button", class: "chip", "aria-pressed": String(name === chosen), data: { key: name }, on: { click: () => choose(name) },
}, text(name)));

/** What went wrong, with the end of the log. */
export const errorBox = (message, log = []) => h("div", { class: "error" }, h("h2", { text: message || "It failed without a message." }),
  log.length ? h("pre", { text: log.join("\n"), tabindex: "0" }) : null);

/** What tells a run from its neighbours: its variant where it has one. */
export const runName = (run) => run.variant ?? run.name;
export const runTitle = (run) => `${runName(run)} · seed ${run.seed ?? "–"}`;
