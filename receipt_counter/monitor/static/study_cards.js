// A study in a few lines, on the home page.
import { h, reconcile } from "./dom.js";
import { deviceHours, figure, title } from "./format.js";
import { eta, progress, status } from "./parts.js";
import { link } from "./state.js";

export const KINDS = { ablation: "Ablation", hyperparameter: "Hyperparameter search" };

const fact = (number, text, kind = "") => h("span", {}, h("b", { class: kind, text: number }), ` ${text}`);

/** Values are texts; a sampler's have 17 digits. */
const rounded = (value) => (value !== "" && Number.isFinite(Number(value)) ? String(Number(Number(value).toPrecision(3))) : value);
export const parameterText = (parameters) => Object.entries(parameters).map(([name, value]) => `${name} ${rounded(value)}`).join(", ");

/** What the best trial so far reached, and with what. */
export const bestText = ({ trial, parameters }) => parameters.variant ?? (parameterText(parameters) || trial);

function card({ id, kind, status: state, progress: done, eta_seconds: left, best, device_seconds: spent, error }) {
  return h("article", { class: "card study" },
    h("div", { class: "top" }, h("a", { class: "name", href: link("study", { id }), text: id }), status(state)),
    progress(done.fraction, state, `Progress of ${id}`),
    h("div", { class: "facts" },
      h("span", { text: KINDS[kind] ?? "Study" }), fact(`${done.done} of ${done.total ?? "?"}`, "trials"),
      done.failed ? fact(String(done.failed), "failed", "bad") : null,
      state === "running" && left !== null ? h("span", { text: eta(left) }) : null,
      spent ? fact(deviceHours(spent), "of device time") : null),
    best ? h("div", { class: "facts" }, h("span", {}, "Best so far ", h("b", { text: figure(best.metric, best.value) }), ` ${title(best.metric)}: ${best.parameters.variant ?? best.trial}`)) : null,
    error ? h("p", { class: "wrong", text: error }) : null);
}

export const studyCards = (parent, studies) => reconcile(parent, studies, ({ id }) => id, card);
