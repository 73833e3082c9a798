// What the server knows, and word of its changes: a stream of events, asking again and again where none gets through.
import { byId } from "./dom.js";
import { moment } from "./format.js";
import { onTheme, themeSwitch } from "./state.js";

const POLL = 3000; // ms between questions while the stream is down
const CHECK = 15000; // ms between looks at a stream that is silent
const RETRY = 4000; // ms after an answer that did not come
const PATIENCE_FIRST = 1000; // ms after which a page is filled although the stream is not open
const GATHER = 250; // ms in which changes are gathered into one
const PATIENCE = 10000; // ms that an answer may take while the connection is doubted

let lastAnswer = null;

/** The JSON at an address of the API; arguments that are empty are left out. */
export async function get(path, parameters = {}, options = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  const response = await fetch(query ? `${path}?${query}` : path, { headers: { Accept: "application/json" }, ...options });
  lastAnswer = new Date();
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    const detail = typeof problem.detail === "string" ? problem.detail : response.statusText;
    throw Object.assign(new Error(detail || `HTTP ${response.status}`), { status: response.status });
  }
  return response.json();
}

/**
 * Call `load` as soon as the stream is open, so that no change falls between, and after every change; never twice at
 * once. It is given {all, experiments, studies}. Returns what asks for everything again.
 */
export function follow(load) {
  themeSwitch(byId("theme"));
  const nothing = () => ({ all: false, experiments: new Set(), studies: new Set() });
  let waiting = { ...nothing(), all: true };
  let busy = false;
  let timer = null;

  const soon = (after = GATHER) => { timer ??= setTimeout(run, after); };
  const run = async () => {
    clearTimeout(timer);
    timer = null;
    if (busy) return;
    busy = true;
    let again = GATHER;
    const change = waiting;
    waiting = nothing();
    try {
      await load(change);
      document.documentElement.dataset.ready = String(Number(document.documentElement.dataset.ready ?? 0) + 1);
    } catch (problem) {
      console.info(`Asking again: ${problem.message}`);
      waiting.all = true;
      again = RETRY;
    }
    busy = false;
    if (waiting.all || waiting.experiments.size || waiting.studies.size) soon(again);
  };
  const everything = () => { waiting.all = true; run(); };
  connect((change) => {
    waiting.all ||= change.all;
    change.experiments.forEach((id) => waiting.experiments.add(id));
    change.studies.forEach((id) => waiting.studies.add(id));
    soon();
  }, everything);
  soon(PATIENCE_FIRST);
  onTheme(everything);
  return everything;
}

/** Why the monitor cannot see its folder; null: it can. Fails where the monitor itself gives no answer. */
async function trouble() {
  const response = await fetch("healthz", { signal: AbortSignal.timeout(PATIENCE) });
  const { status, problem } = await response.json();
  lastAnswer = new Date();
  return status === "failing" ? problem ?? "The monitor has not looked at its folder for a while" : null;
}

function connect(changed, everything) {
  let source = null;
  let poll = null;
  const up = () => {
    clearInterval(poll);
    poll = null;
    say("live");
    everything();
    check();
  };
  const down = () => {
    if (poll !== null || document.hidden) return;
    say("lost");
    poll = setInterval(ask, POLL);
  };
  const ask = async () => {
    try {
      await trouble();
      if (poll === null) return;
      say("polling");
      everything();
      if (source.readyState === EventSource.CLOSED) open();
    } catch {
      if (poll !== null) say("lost");
    }
  };
  // A stream can be dead without a word, as after a laptop's sleep; and what it tells of may be out of sight.
  const check = async () => {
    if (poll !== null || document.hidden) return;
    try {
      const problem = await trouble();
      if (poll === null) say(problem ? "failing" : "live", problem);
    } catch {
      source.close();
      down();
    }
  };
  const open = () => {
    source?.close();
    source = new EventSource("api/stream");
    source.addEventListener("open", up);
    source.addEventListener("error", down);
    source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
  };
  // A browser has few connections for a server: tabs out of sight give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source.close();
      clearInterval(poll);
      poll = null;
    } else {
      open();
    }
  });
  setInterval(check, CHECK);
  addEventListener("offline", down);
  addEventListener("online", open);
  open();
}

const WORDS = { live: "Live", failing: "Folder out of sight", polling: "Polling", lost: "Disconnected" };

function say(what, problem = null) {
  const connection = byId("connection");
  const banner = byId("banner");
  connection.dataset.state = what;
  connection.textContent = WORDS[what];
  banner.hidden = what === "live";
  banner.dataset.tone = what === "polling" ? "fair" : "bad";
  const told = {
    live: "",
    failing: `${problem}. What is shown may be older.`,
    polling: `Live updates do not get through; asking every ${POLL / 1000} seconds instead.`,
    lost: `The connection to the monitor is lost; this is as of ${moment(lastAnswer ?? Date.now() / 1000)}. Trying again …`,
  }[what];
  if (banner.textContent !== told) banner.textContent = told;
}
