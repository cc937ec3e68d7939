// Charts as SVG, by hand: areas that are stacked, and lines. Beside each stands a table of its
// newest, smallest and largest values, so that nothing is told by colour or by a pointer alone.

import {bytes, byteRate, clock, duration, h, known, number, put, whole} from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 152;
const TOP = 14;
const BOTTOM = 18;

// Column of the history, its name, its colour (a class of style.css); "line" lies above the areas.
const stack = (column, name, colour = column) => ({column, name, colour, kind: "stack"});
const line = (column, name, colour = column) => ({column, name, colour, kind: "line"});

export const CHARTS = [
  {title: "Requests per second", note: "by status, stacked", size: "large", format: number, total: "all",
    series: [stack("rps_1xx", "1xx"), stack("rps_2xx", "2xx"), stack("rps_3xx", "3xx"),
      stack("rps_4xx", "4xx"), stack("rps_5xx", "5xx")]},
  {title: "Where the time goes", note: "a request's mean, stacked", size: "large", format: duration,
    total: "together",
    series: [stack("queue", "queue"), stack("app", "app, off CPU"), stack("cpu", "app, on CPU"),
      stack("client", "client")]},
  {title: "Latency", note: "from complete head to response sent", format: duration, peak: true,
    series: [line("p50", "half within"), line("p90", "90 % within"), line("p99", "99 % within")]},
  {title: "Threads and queue", note: "of all processes", format: whole, counted: true,
    series: [stack("busy", "busy"), line("threads", "threads"), line("queued", "queued")]},
  {title: "Connections", note: "open, and requests in flight", format: whole, counted: true,
    series: [stack("connections", "connections"), line("in_flight", "in flight"), line("live", "live")]},
  {title: "Memory", note: "resident, of all processes", format: bytes, base: 1024,
    series: [stack("memory", "memory")]},
  {title: "Bodies", note: "bytes per second, without framing", format: byteRate, base: 1024,
    series: [line("sent", "sent"), line("received", "received")]},
  {title: "Refused and cut", note: "per second", format: number,
    series: [stack("refused", "refused"), stack("cut", "cut")]},
];

// Round steps, and the top of a chart that has room for `value`.
function scale(value, base, counted) {
  let unit = 1;
  while (base === 1024 && value >= unit * 1024) unit *= 1024;
  const wanted = (value || 1) / unit / 3;
  const power = 10 ** Math.floor(Math.log10(wanted));
  let step = [1, 2, 2.5, 5, 10].find(each => each * power >= wanted * 0.999) * power * unit;
  if (counted) step = Math.max(1, Math.ceil(step));
  return {step, top: step * Math.max(1, Math.ceil(value / step * 4 - 1e-9) / 4)};
}

function node(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export class Chart {
  // `point(time)` is called with the moment that somebody points at, and null when nobody does.
  constructor(spec, point) {
    this.spec = spec;
    this.point = point;
    this.width = 0;
    this.cursor = null;
    const shown = [...spec.series].reverse();
    this.cells = new Map();
    const rows = (spec.total ? [{column: "total", name: spec.total, colour: "none"}] : []).concat(shown);
    this.head = h("th", {scope: "col"}, "now");
    const body = h("tbody");
    for (const {column, name, colour} of rows) {
      const cells = [h("td"), h("td"), h("td")];
      this.cells.set(column, cells);
      body.append(h("tr", {}, h("th", {scope: "row"}, h("i", {class: `key ${colour}`}), name), ...cells));
    }
    this.legend = h("table", {class: "legend"},
      h("caption", {class: "unseen"}, `${spec.title}: newest, smallest and largest values`),
      h("thead", {}, h("tr", {}, h("td"), this.head, h("th", {scope: "col"}, "min"),
        h("th", {scope: "col"}, "max"))), body);
    this.svg = node("svg", {height: HEIGHT, "aria-hidden": "true", focusable: "false"});
    this.grid = node("g", {});
    this.svg.append(this.grid);
    this.paths = new Map();
    for (const series of [...shown.filter(s => s.kind === "stack"), ...shown.filter(s => s.kind === "line")]) {
      const area = series.kind === "stack" ? node("path", {class: `area ${series.colour}`}) : null;
      const edge = node("path", {class: `line ${series.kind} ${series.colour}`});
      if (area) this.svg.append(area);
      this.svg.append(edge);
      this.paths.set(series, {area, edge});
    }
    this.cross = node("path", {class: "cross"});
    this.labels = node("g", {});
    this.svg.append(this.labels, this.cross);
    this.plot = h("div", {class: "plot", tabindex: "0", role: "slider", "aria-label": `${spec.title}: a moment`,
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0"}, this.svg);
    this.table = h("table", {class: "data"});
    this.details = h("details", {class: "values"}, h("summary", {}, "Table", h("span", {class: "unseen"}, ` of ${spec.title}`)),
      h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": `${spec.title}: values`}, this.table));
    this.element = h("article", {class: `panel chart ${spec.size ?? ""}`},
      h("div", {class: "bar"}, h("h3", {}, spec.title), h("p", {}, spec.note)),
      h("div", {class: "body"}, this.plot, this.legend), this.details);
    this.plot.addEventListener("pointermove", event => this.pointed(event));
    this.plot.addEventListener("pointerdown", event => this.pointed(event));
    this.plot.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") this.point(null); });
    this.plot.addEventListener("keydown", event => this.pressed(event));
    this.plot.addEventListener("blur", () => this.point(null));
    this.details.addEventListener("toggle", () => this.draw(this.view));
    new ResizeObserver(([entry]) => {
      this.width = Math.floor(entry.contentRect.width);
      this.svg.setAttribute("width", this.width);
      this.draw(this.view);
    }).observe(this.plot);
  }

  pointed(event) {
    if (!this.view) return;
    const {from, step, times} = this.view;
    const at = event.clientX - this.plot.getBoundingClientRect().left;
    const index = Math.round(at / this.width * (times.length - 1));
    this.point(from + step * Math.min(times.length - 1, Math.max(0, index)));
  }

  pressed(event) {
    if (!this.view) return;
    const {from, to, step} = this.view;
    const at = this.cursor ?? to;
    const moves = {ArrowLeft: at - step, ArrowRight: at + step, PageUp: at + 10 * step,
      PageDown: at - 10 * step, Home: from, End: to, Escape: null};
    if (!(event.key in moves)) return;
    event.preventDefault();
    const moved = moves[event.key];
    this.point(moved === null ? null : Math.min(to, Math.max(from, moved)));
  }

  // Draws `view`, which history.js has made.
  draw(view) {
    this.view = view;
    if (!view || !this.width) return;
    const {spec} = this;
    const stacks = spec.series.filter(series => series.kind === "stack");
    const sums = this.sums = view.times.map(() => null);
    const bands = new Map();
    for (const series of stacks) {
      const values = view.values(series.column, false);
      const lower = sums.map(sum => sum ?? 0);
      values.forEach((value, i) => { if (known(value)) sums[i] = (sums[i] ?? 0) + value; });
      bands.set(series, {lower, upper: values.map((value, i) => (known(value) ? lower[i] + value : null))});
    }
    for (const series of spec.series)
      if (series.kind === "line") bands.set(series, {upper: view.values(series.column, spec.peak)});
    let most = 0;
    for (const {upper} of bands.values()) for (const value of upper) if (value > most) most = value;
    const {top, step} = scale(most, spec.base, spec.counted);
    const last = view.times.length - 1;
    const x = i => Math.round(i / last * this.width * 10) / 10;
    const y = value => Math.round((HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)) * 10) / 10;
    this.rule(view, top, step, x, y);
    for (const [series, {area, edge}] of this.paths) {
      const {lower, upper} = bands.get(series);
      let outline = "", filled = "";
      for (const run of runs(upper)) {
        const points = run.map(i => `${x(i)} ${y(upper[i])}`);
        outline += `M${points.join("L")}${run.length === 1 ? "h.01" : ""}`;
        if (area) filled += `M${points.join("L")}L${run.reverse().map(i => `${x(i)} ${y(lower[i])}`).join("L")}Z`;
      }
      edge.setAttribute("d", outline);
      if (area) area.setAttribute("d", filled);
    }
    this.tell(this.cursor);
    if (this.details.open) this.list(view);
  }

  rule(view, top, step, x, y) {
    const lines = [], labels = [];
    for (let value = 0; value <= top * 1.001; value += step) {
      lines.push(node("path", {class: value ? "rule" : "rule base", d: `M0 ${y(value)}H${this.width}`}));
      if (value) labels.push(label(this.spec.format(value).replace(/\.0+(?!\d)/, ""), 2, y(value) - 3, "start"));
    }
    const every = [60, 120, 300, 600, 900, 1800].find(each => each / (view.to - view.from) * this.width > 66);
    for (let time = Math.ceil(view.from / every) * every; time < view.to; time += every) {
      const at = x((time - view.from) / view.step);
      if (at > 18 && at < this.width - 18)
        labels.push(label(clock(time).slice(0, 5), at, HEIGHT - 4, "middle"));
    }
    this.grid.replaceChildren(...lines);
    this.labels.replaceChildren(...labels);
  }

  // Tells the values of the moment `cursor` beside the chart; null: the newest ones.
  tell(cursor) {
    const {spec, view, sums} = this;
    if (view && cursor !== null) cursor = Math.max(view.from, cursor);
    this.cursor = cursor;
    if (!view || !this.width) return;
    const last = view.times.length - 1;
    const index = cursor === null ? last : Math.round((cursor - view.from) / view.step);
    const told = [];
    for (const [column, [now, min, max]] of this.cells) {
      const columns = column === "total" ? spec.series.map(series => series.column) : [column];
      const [least, most] = view.extent(columns);
      put(now, spec.format(cursor === null ? view.newest(columns)
        : column === "total" ? sums[index] : view.values(column, spec.peak)[index]));
      put(min, spec.format(least));
      put(max, spec.format(most));
      told.push(`${now.closest("tr").firstChild.textContent} ${now.textContent}`);
    }
    put(this.head, cursor === null ? "now" : clock(cursor));
    const x = Math.round(index / last * this.width);
    this.cross.setAttribute("d", cursor === null ? "" : `M${x} ${TOP - 6}V${HEIGHT - BOTTOM}`);
    if (this.plot.matches(":focus")) {  // nobody else hears it
      this.plot.setAttribute("aria-valuemax", last);
      this.plot.setAttribute("aria-valuenow", index);
      this.plot.setAttribute("aria-valuetext", `${clock(cursor ?? view.to)}: ${told.join(", ")}`);
    }
  }

  // Twelve moments as a table, the newest first.
  list(view) {
    const {spec} = this;
    const every = Math.max(1, Math.floor(view.times.length / 12));
    const rows = [];
    for (let i = view.times.length - 1; i >= 0 && rows.length < 12; i -= every)
      rows.push(h("tr", {}, h("th", {scope: "row"}, clock(view.times[i])),
        ...spec.series.map(({column}) => h("td", {}, spec.format(view.values(column, spec.peak)[i])))));
    this.table.replaceChildren(
      h("caption", {class: "unseen"}, `${spec.title}: values of twelve moments`),
      h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "time"),
        ...spec.series.map(series => h("th", {scope: "col"}, series.name)))),
      h("tbody", {}, ...rows));
  }
}

function label(text, x, y, anchor) {
  const element = node("text", {x, y, "text-anchor": anchor});
  element.textContent = text;
  return element;
}

// Where there are values, one after another; a line is broken where some are missing.
function runs(values) {
  const found = [];
  let run = [];
  for (let i = 0; i <= values.length; i++) {
    if (known(values[i])) run.push(i);
    else if (run.length) {
      found.push(run);
      run = [];
    }
  }
  return found;
}
