// A chart in a card: drawn when it is seen, in the page's colours, with its exports and its data as a table.
/* global Plotly */
import { download, fill, h, table } from "./dom.js";
import { onTheme } from "./state.js";
import { template } from "./project.js";

const SETTINGS = { responsive: true, displayModeBar: false, displaylogo: false };
const EXPORT = { width: 1000, height: 520 };
const TABLE_ROWS = 500;
const touch = matchMedia("(pointer: coarse)").matches;

/** Text for a figure: Plotly understands some markup, and names must not be any. */
export const literal = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

let probe = null;
function colours() {
  probe ??= document.body.appendChild(h("span", { hidden: true }));
  const named = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  return { ink: named("--ink"), soft: named("--soft"), card: named("--card"), line: named("--line"), grid: named("--grid") };
}

// Figures carry colours for data only; text and grid follow the page.
function themed(layout) {
  const { ink, soft, card, line, grid } = colours();
  const painted = {
    template: { layout: template.layout }, ...layout,
    font: { ...template.layout.font, ...layout.font, color: soft },
    hoverlabel: { ...layout.hoverlabel, bgcolor: card, bordercolor: line, font: { color: ink } },
    annotations: (layout.annotations ?? []).map((note) => ({ ...note, font: { ...note.font, color: note.quiet ? soft : ink }, ...(note.bgcolor ? { bgcolor: card } : {}) })),
  };
  const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name))]);
  axes.forEach((name) => { painted[name] = { ...layout[name], gridcolor: grid }; });
  if (layout.polar) {
    painted.polar = { ...layout.polar, bgcolor: "rgba(0,0,0,0)" };
    for (const name of ["radialaxis", "angularaxis"]) painted.polar[name] = { ...layout.polar[name], gridcolor: grid, linecolor: grid };
  }
  return painted;
}

const csvCell = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  const inert = typeof value === "string" && /^[=+@\t\r-]/.test(text) ? `'${text}` : text; // a spreadsheet runs what looks like a formula
  return /[",\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
};

/** Columns and rows of any figure's traces: what is drawn, as data. */
export function traceRows(data) {
  const rows = [];
  for (const trace of data) {
    if (trace.hoverinfo === "skip" || trace.visible === false) continue;
    const name = trace.name ?? "";
    if (Array.isArray(trace.z?.[0])) {
      trace.z.forEach((line, i) => line.forEach((value, j) => {
        if (value !== null) rows.push([name, trace.x?.[j] ?? j, trace.y?.[i] ?? i, value]);
      }));
      continue;
    }
    const [xs, ys] = [list(trace.x ?? trace.theta), list(trace.y ?? trace.r)];
    for (let i = 0; i < Math.max(xs.length, ys.length); i += 1) {
      if (xs[i] !== null || ys[i] !== null) rows.push([name, xs[i] ?? i, ys[i] ?? "", ...errors(trace, i)]);
    }
  }
  return { columns: ["series", "x", "y", ...(rows.some((row) => row.length === 4) ? ["value"] : []), ...(rows.some((row) => row.length === 5) ? ["below", "above"] : [])], rows };
}

const list = (values) => (values === undefined ? [] : Array.isArray(values) ? values : decoded(values));
const errors = (trace, i) => {
  const bars = trace.error_x?.array ? trace.error_x : trace.error_y?.array ? trace.error_y : null;
  return bars ? [list(bars.arrayminus ?? bars.array)[i] ?? "", list(bars.array)[i] ?? ""] : [];
};

const KINDS = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };
// Plotly for Python writes arrays of numbers in base 64.
function decoded({ dtype, bdata } = {}) {
  if (!bdata) return [];
  const bytes = Uint8Array.from(atob(bdata), (letter) => letter.charCodeAt(0));
  return [...new KINDS[dtype](bytes.buffer)];
}

const seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  target.chart.visible = isIntersecting;
  if (isIntersecting) target.chart.paint();
}), { rootMargin: "300px" });

const all = new Set();
onTheme(() => all.forEach((chart) => chart.repaint()));

export class Chart {
  /** A card with a heading and tools; its size is "", "double" or "wide". `rows` of draw() is what CSV and the table hold; by default what is drawn. */
  constructor(name, { size = "", height = null, file = name } = {}) {
    this.name = name;
    this.file = file;
    this.visible = false;
    this.pending = null;
    this.listeners = [];
    this.heading = h("h3", { text: name });
    this.plot = h("div", { class: "plot", role: "img", "aria-label": name, style: height ? { height: `${height}px` } : {} });
    this.note = h("p", { class: "plot-note", hidden: true });
    this.data = h("div", { class: "data", tabindex: "0", role: "region", "aria-label": `${name}: data`, hidden: true });
    this.toggle = this.tool("Table", "data as a table", () => this.showTable(this.data.hidden));
    this.toggle.setAttribute("aria-expanded", "false");
    const tools = h("div", { class: "tools" }, this.toggle,
      this.tool("CSV", "save as CSV", () => this.saveCsv()),
      this.tool("PNG", "save as PNG", () => this.saveImage("png")),
      this.tool("SVG", "save as SVG", () => this.saveImage("svg")));
    this.card = h("article", { class: `card chart ${size}` },
      h("div", { class: "chart-head" }, this.heading, tools), h("div", { class: "plot-box" }, this.plot), this.note, this.data);
    this.card.chart = this;
    all.add(this);
    seen.observe(this.card);
  }

  tool(text, what, click) {
    return h("button", { type: "button", class: "tool", "aria-label": `${this.name}: ${what}`, title: what, on: { click } }, text);
  }

  /** Called with [from, to], or null for everything, when a reader zooms along x. */
  onZoom(listener) {
    this.listeners.push(listener);
  }

  draw(data, layout, { rows = null, summary = "", note = "" } = {}) {
    this.pending = { data, layout };
    this.rows = rows;
    this.plot.setAttribute("aria-label", summary ? `${this.name}: ${summary}` : this.name);
    this.note.textContent = note;
    this.note.hidden = !note;
    if (!this.data.hidden) this.showTable(true);
    if (this.visible) this.paint();
  }

  paint() {
    if (!this.pending) return;
    this.last = this.pending;
    this.pending = null;
    const { data, layout } = this.last;
    const first = !this.plot.classList.contains("js-plotly-plot");
    if (layout.height) this.plot.style.height = `${layout.height}px`;
    if (layout.meta?.least_width) this.plot.style.minWidth = `${layout.meta.least_width}px`;
    Plotly.react(this.plot, data, { ...themed(layout), dragmode: touch ? false : layout.dragmode ?? "zoom" }, { ...SETTINGS, doubleClick: this.listeners.length ? false : "reset+autosize" });
    this.card.dataset.drawn = String(Number(this.card.dataset.drawn ?? 0) + 1);
    if (first) {
      this.plot.on("plotly_relayout", (changes) => this.relaid(changes));
      this.plot.on("plotly_doubleclick", () => this.listeners.forEach((listener) => listener(null)));
    }
  }

  repaint() {
    this.pending ??= this.last;
    if (this.visible) this.paint();
  }

  relaid(changes) {
    const from = changes["xaxis.range[0]"] ?? changes["xaxis.range"]?.[0];
    const to = changes["xaxis.range[1]"] ?? changes["xaxis.range"]?.[1];
    if (from !== undefined && to !== undefined) this.listeners.forEach((listener) => listener([from, to]));
  }

  content() {
    return this.rows?.() ?? traceRows((this.last ?? this.pending)?.data ?? []);
  }

  showTable(shown) {
    this.data.hidden = !shown;
    this.toggle.setAttribute("aria-expanded", String(shown));
    if (!shown) return;
    const { columns, rows } = this.content();
    const kept = rows.slice(0, TABLE_ROWS).map((row) => ({ cells: row.map((cell) => (typeof cell === "number" ? String(Number(cell.toPrecision(6))) : cell)) }));
    const more = rows.length > TABLE_ROWS ? h("p", { class: "plot-note", text: `${rows.length - TABLE_ROWS} more rows are in the CSV.` }) : null;
    fill(this.data, table(this.name, columns.map((name) => ({ name })), kept), more);
  }

  saveCsv() {
    const { columns, rows } = this.content();
    download(`${this.file}.csv`, `${[columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\n")}\n`, "text/csv");
  }

  async saveImage(format) {
    if (this.pending) this.paint();
    const { data, layout } = this.last;
    const size = { width: EXPORT.width, height: layout.height ?? EXPORT.height };
    const figure = { data, layout: { ...themed(layout), ...size, title: { text: literal(this.name) }, margin: { ...layout.margin, t: 72 }, paper_bgcolor: colours().card } };
    const address = await Plotly.toImage(figure, { format, ...size, scale: format === "png" ? 2 : 1 });
    const svg = format === "svg" ? decodeURIComponent(address.slice(address.indexOf(",") + 1)) : address;
    download(`${this.file}.${format}`, svg, "image/svg+xml");
  }

  remove() {
    all.delete(this);
    seen.unobserve(this.card);
    if (this.plot.classList.contains("js-plotly-plot")) Plotly.purge(this.plot);
    this.card.remove();
  }
}
