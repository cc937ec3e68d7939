// What is listed: requests in flight, processes, errors. All text is what a server, or a client of
// it, has said, and stays text.

import {age, byId, bytes, counts, duration, h, inSeconds, keep, known, mark, moment, put, visible, whole, words} from "./format.js";

// A table whose cells carry the name of their column, for a phone shows each row as a card.
class Listing {
  constructor(table, columns) {
    this.columns = columns;
    this.body = h("tbody", {role: "rowgroup"});
    table.append(
      h("thead", {role: "rowgroup"}, h("tr", {role: "row"},
        ...columns.map(([name, kind]) => h("th", {scope: "col", role: "columnheader", class: kind}, name)))),
      this.body);
    this.table = table;
  }

  show(items, key) {
    this.table.hidden = !items.length;
    keep(this.body, items, key,
      () => h("tr", {role: "row"}, ...this.columns.map(([name, kind]) =>
        h("td", {role: "cell", class: kind, "data-name": name}, h("span")))),
      (row, item) => this.columns.forEach(([, , show, level], at) => {
        const cell = row.children[at];
        put(cell.firstChild, show(item));
        if (level) mark(cell, "level", level(item));
      }));
  }
}

const threads = each => each.threads ?? {};
const sum = values => {
  const found = Object.values(values ?? {}).filter(known);
  return found.length ? found.reduce((all, value) => all + value, 0) : null;
};

const processes = new Listing(byId("process-table"), [
  ["process", "num", each => `${each.number}`],
  ["pid", "num", each => `${each.pid ?? "–"}`],
  ["state", "pill", each => words(each.state), each => each.state],
  ["code", "num", each => whole(each.generation)],
  ["age", "num", each => age(each.age)],
  ["restarts", "num", each => whole(each.restarts)],
  ["heard", "num", each => (known(each.heard) ? `${age(each.heard)} ago` : "–"),
    each => (each.heard > 10 ? "bad" : "")],
  ["requests", "num", each => whole(each.requests)],
  ["in flight", "num", each => whole(each.in_flight)],
  ["live", "num", each => whole(each.live)],
  ["threads", "num", each => (known(threads(each).busy)
    ? `${threads(each).busy} of ${threads(each).busy + threads(each).idle}` : "–")],
  ["aside", "num", each => whole(threads(each).aside)],
  ["lost", "num", each => whole(threads(each).lost), each => (threads(each).lost ? "bad" : "")],
  ["queued", "num", each => whole(each.queued) + (each.queued ? `, ${duration(each.oldest_wait)}` : ""),
    each => (each.queued ? "warn" : "")],
  ["connections", "num", each => whole(sum(each.connections))],
  ["memory", "num", each => bytes(each.memory)],
  ["files", "num", each => whole(each.files)],
]);

export function showProcesses({fleet, processes: all}) {
  processes.show(all, each => `${each.number} ${each.pid}`);
  put(byId("fleet"), `${whole(fleet.ready)} of ${whole(fleet.wanted)} ready, code ${whole(fleet.generation)}; ` +
    `reloads: ${whole(fleet.reloads)}, failed: ${whole(fleet.reloads_failed)}`);
  const restarts = Object.entries(fleet.restarts ?? {});
  byId("restarts").parentElement.hidden = !restarts.some(([, count]) => count);
  counts(byId("restarts"), restarts);
}

export function showErrors({totals, errors: all, errors_lost: lost}) {
  const groups = new Map();  // what says the same is there once, with the newest of them
  for (const each of [...(all ?? [])].sort((a, b) => b.at - a.at)) {
    const same = `${each.kind} ${each.text}`;
    groups.set(same, {...(groups.get(same) ?? each), times: (groups.get(same)?.times ?? 0) + 1});
  }
  keep(byId("errors"), [...groups.values()], each => `${each.kind} ${each.text}`,
    each => h("li", {}, h("span", {class: "when"}), h("span", {class: "state", "data-level": each.kind}, words(each.kind)),
      h("span", {class: "of"}), h("code"), h("p", {}, visible(each.text))),
    ({children: [when, , of, id]}, each) => {
      put(when, moment(each.at, Date.now() / 1000));
      put(of, (typeof each.process === "number" ? `process ${each.process}` : each.process ?? "") +
        (each.times > 1 ? `, ${each.times} times` : ""));
      put(id, each.id ? visible(each.id) : "");
    });
  byId("errors-none").hidden = groups.size > 0;
  counts(byId("counts"), [...Object.entries(totals.refused ?? {}), ["responses cut", totals.cut],
    ["given up", totals.given_up], ["log lines dropped", totals.log_dropped], ["entries dropped", lost]]);
}

const MOST = 100;

// Requests in flight, the oldest first; each opens to its stack.
export class Requests {
  // `interrupt(id)` resolves to what came of it.
  constructor(interrupt) {
    this.interrupt = interrupt;
    this.list = byId("requests");
    this.mayInterrupt = false;
  }

  get wantsStacks() {
    return this.list.querySelector("details[open]") !== null;
  }

  show({processes: all, missing}) {
    const rows = all.flatMap(process => process.requests.map(request => ({...request, process})));
    rows.sort((a, b) => b.age - a.age);
    const more = all.reduce((count, process) => count + (process.more ?? 0), 0) + Math.max(0, rows.length - MOST);
    const states = {};
    for (const {state} of rows) states[state] = (states[state] ?? 0) + 1;
    put(byId("flight-sum"), Object.entries(states).map(([state, count]) => `${count} ${state}`)
      .concat(more ? [`${more} more that are not shown`] : []).join(", ") || "\u00a0");
    byId("requests-none").hidden = rows.length > 0;
    // Those that are live are meant to be old, and there may be thousands: they come last.
    const shown = [false, true].flatMap(live => rows.filter(({state}) => (state === "live") === live)).slice(0, MOST);
    keep(this.list, shown, each => `${each.process.pid} ${each.id}`,
      each => this.make(each), (element, each) => this.update(element, each));
    const silent = Object.entries({loop: "loop", application_loop: "application loop"}).flatMap(([name, what]) =>
      all.filter(each => each[name]?.blocked).map(each => ({key: `${name} ${each.pid}`, stack: each[name].stack,
        text: `The ${what} of process ${each.number} (pid ${each.pid}) is blocked:`})))
      .concat((missing ?? []).map(each => ({key: each.pid, stack: null,
        text: `Process ${each.number} (pid ${each.pid}) does not answer; last heard ${age(each.heard)} ago.`})));
    keep(byId("silent"), silent, each => each.key, () => h("li", {}, h("span"), h("pre", {tabindex: "0"})),
      (item, each) => {
        put(item.firstChild, each.text);
        item.lastChild.hidden = !each.stack;
        put(item.lastChild, (each.stack ?? []).map(visible).join("\n"));
      });
  }

  make({id}) {
    const [method, target] = [h("b"), h("bdi")];
    const outcome = h("output");
    const button = h("button", {type: "button"}, "Interrupt");
    button.addEventListener("click", async () => {
      button.disabled = true;
      put(outcome, "Asked.");
      put(outcome, await this.interrupt(id));
      button.disabled = false;
    });
    const details = h("details", {class: "request"},
      h("summary", {}, h("span", {class: "age"}), h("span", {class: "state"}), h("span", {class: "target"},
        method, " ", target), h("span", {class: "of"})),
      h("div", {class: "inside"}, h("dl", {class: "counts"}), h("pre", {tabindex: "0", "aria-label": "Stack"}),
        h("p", {class: "actions"}, button, outcome)));
    details.addEventListener("toggle", () => details.dispatchEvent(new Event("ask", {bubbles: true})));
    return details;
  }

  update(details, each) {
    const [when, state, target, of] = details.firstChild.children;
    const [facts, stack, actions] = details.lastChild.children;
    put(when, inSeconds(each.age));
    mark(when, "level", each.state === "live" ? "" : each.age > 30 ? "bad" : each.age > 5 ? "warn" : "");
    put(state, each.state);
    mark(state, "level", each.state);
    put(target.firstChild, visible(each.method));
    put(target.lastChild, visible(each.target));
    put(of, `process ${each.process.number}`);
    if (!details.open) return;
    const said = {client: visible(each.client), id: visible(each.id), thread: each.thread ?? "none",
      received: bytes(each.received), sent: bytes(each.sent)};
    keep(facts, Object.entries(said), ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
      (fact, [, text]) => put(fact.lastChild, text));
    put(stack, each.stack ? each.stack.map(visible).join("\n")
      : each.thread || each.state === "live" ? "Its stack is asked for."
      : "No thread works on it at this moment.");
    actions.hidden = !this.mayInterrupt;
  }
}
