// How figures, durations and moments are written; names and shares are those of the reports.
import { lowerIsBetter, shares, titles } from "./project.js";

const MINUS = "−";
const lower = new Set(lowerIsBetter);
const shared = new Set(shares);

/** An exact tie goes to the even digit, as in the reports. */
const percent = (share) => (Math.abs(100 * share) % 1 === 0.25 ? 100 * share - 0.05 * Math.sign(share) : 100 * share).toFixed(1);

export const isShare = (name) => shared.has(name);
export const isLowerBetter = (name) => lower.has(name) || /loss|perplexity|off_by_one|ece$|seconds|memory|gigabytes/.test(name);
const OTHERS = { train_total_loss: "Loss in training", images_per_second: "Images a second", memory_gigabytes: "Memory", grad_norm: "Gradient norm" };
export const title = (name) => titles[name] ?? OTHERS[name] ?? words(name);
/** A title for a narrow column. */
export const shortTitle = (name) => title(name).replace(/ \(macro\)$/, "");
export const words = (name) => {
  const text = name.replaceAll("_", " ").replace(/\bcls\b/, "counting").replace(/\blm\b/, "answer");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3)) return value.toExponential(digits - 2).replace("-", MINUS).replace("e−", "e-");
  const written = Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(digits);
  return written.replace("-", MINUS);
}

export function figure(name, value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (isShare(name)) return `${percent(value)} %`;
  if (name === "seconds_per_image") return value < 1 ? `${Number((1000 * value).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`;
  if (name.endsWith("_per_second")) return number(value, 3);
  if (name.endsWith("_gigabytes")) return value < 1 ? `${Number((1000 * value).toPrecision(3))} MB` : `${Number(value.toPrecision(3))} GB`;
  return Math.abs(value) < 1e4 && Math.abs(value) >= 1e-3 ? value.toFixed(3).replace("-", MINUS) : number(value);
}

export function interval(name, { low, high } = {}) {
  if (low === null || low === undefined || high === null || high === undefined || low === high) return "";
  const [from, unit] = figure(name, low).split(" ");
  const to = figure(name, high);
  return !unit || to.endsWith(unit) ? `${from}–${to}` : `${figure(name, low)} – ${to}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A duration that is only guessed, without false precision. */
export function roughly(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : duration(seconds);
}

export const deviceHours = (seconds) => `${(seconds / 3600).toFixed(seconds < 36000 ? 2 : 0)} h`;

const toDate = (moment) => (moment === null || moment === undefined ? null : new Date(typeof moment === "number" ? moment * 1000 : moment));

export function moment(value) {
  const date = toDate(value);
  if (!date || Number.isNaN(date.getTime())) return "–";
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString("en-GB");
  return today ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time.slice(0, 5)}`;
}

export const seconds = (value) => (toDate(value)?.getTime() ?? NaN) / 1000;

export function plain(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
