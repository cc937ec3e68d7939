// The dashboard: what comes is put into the page once a second, and what is not seen is not drawn.

import {CHARTS, Chart} from "./charts.js";
import {age, byId, bytes, clock, duration, h, keep, known, mark, moment, number, put, visible, whole} from "./format.js";
import {History} from "./history.js";
import {Live, ask} from "./live.js";
import {Requests, showErrors, showProcesses} from "./tables.js";

const history = new History();
let state = null;
let mode = "wait";
let refusal = "";
let span = 300;

// --- Charts ---

const charts = CHARTS.map(spec => new Chart(spec, point));
byId("charts").append(...charts.map(chart => chart.element));

function point(time) {
  for (const chart of charts) chart.tell(time);
}

function draw() {
  if (document.hidden) return;
  const view = history.view(span);
  for (const chart of charts) chart.draw(view);
}

let asking = false;
let lacking = true;  // rows, that have to be asked for
async function refill() {
  if (asking || !lacking) return;
  asking = true;
  lacking = false;
  try {
    history.replace(await ask("api/history"));
    draw();
    figures();
  } catch {
    lacking = true;  // the next row asks again
  } finally {
    asking = false;
  }
}

// --- Figures, and what is to be noticed ---

function figures() {
  if (!state) return;
  const now = name => history.newest(name);
  const rates = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(status => now(`rps_${status}`));
  const rate = rates.some(known) ? rates.reduce((sum, each) => sum + (each ?? 0), 0) : null;
  const requests = Object.values(state.totals.requests).reduce((sum, each) => sum + (each ?? 0), 0);
  const live = state.processes.reduce((sum, each) => sum + (each.live ?? 0), 0);
  const failed = rate ? rates[4] / rate : rate;
  const said = [
    ["Requests per second", number(rate), `${whole(requests)} in all`],
    ["Failed, 5xx", known(failed) ? `${number(failed * 100)} %` : "–",
      `${whole(state.totals.requests["5xx"])} in all`, failed > 0.05 ? "bad" : failed ? "warn" : ""],
    ["Latency, 99 %", duration(now("p99")), `half within ${duration(now("p50"))}`],
    ["In flight", whole(now("in_flight")), `${live ? `${whole(live)} live, ` : ""}${whole(now("connections"))} connections`],
    ["Threads busy", `${whole(now("busy"))}`, `of ${whole(now("threads"))}`,
      now("threads") && now("busy") >= now("threads") ? "warn" : ""],
    ["Queue", whole(now("queued")), `oldest waits ${duration(now("oldest_wait"))}`, now("queued") ? "warn" : ""],
    ["Memory", bytes(now("memory")), `${whole(now("processes"))} processes`],
    ["Up for", age(state.now - state.started), `since ${moment(state.started, state.now)}`],
  ];
  keep(byId("figures"), said, ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, name), h("dd", {class: "value"}), h("dd")),
    (figure, [, value, more, level]) => {
      put(figure.children[1], value);
      put(figure.children[2], more);
      mark(figure, "level", level ?? "");
    });
}

function notices() {
  const said = [];
  if (mode === "away")
    said.push(["bad", (refusal ? `No figures are given: ${visible(refusal)}. Load the page again. `
      : "Nobody answers: the operations process is away, which disturbs no request, or the server is. ") +
      (state ? `What is shown is of ${clock(state.now)}.` : ""), "away"]);
  if (state) {
    const {fleet, processes} = state;
    if (fleet.reload === "failed")
      said.push(["bad", "The last reload has failed; the code from before serves on. The log says why."]);
    if (fleet.reload === "under_way") said.push(["warn", "A reload is under way."]);
    if (fleet.state === "starting") said.push(["warn", "The server starts: not every process has been ready yet."]);
    if (fleet.state === "stopping") said.push(["warn", "The server stops: it answers what it has taken."]);
    else if (fleet.ready < fleet.wanted && fleet.state === "up")
      said.push([fleet.ready ? "warn" : "bad", `${whole(fleet.ready)} of ${whole(fleet.wanted)} processes are ready.`]);
    for (const each of processes) {
      if (each.heard > 10)
        said.push(["bad", `Process ${each.number} (pid ${each.pid}) was last heard ${age(each.heard)} ago.`, each.pid]);
      if (each.application_loop_blocked)
        said.push(["bad", `Code blocks the application loop of process ${each.number} (pid ${each.pid}), for ` +
          `${age(each.application_loop_blocked)} now: live responses wait, and who calls run().`, `loop ${each.pid}`]);
      if (each.threads?.lost)
        said.push(["warn", `Process ${each.number} has lost threads in the application: ${each.threads.lost}.`]);
    }
    if (!said.length)
      said.push(["good", `All is well: ${whole(fleet.ready)} of ${whole(fleet.wanted)} processes are ready.`]);
  }
  if (!said.length) return;
  keep(byId("notices"), said, ([, text, key]) => key ?? text, () => h("li"),
    (item, [level, text]) => {
      put(item, text);
      mark(item, "level", level);
    });
}

function show() {
  if (!state || document.hidden) return;
  put(byId("name"), visible(state.name || "wsgi_async"));
  put(byId("where"), visible(state.addresses?.join(", ") || " "));
  put(byId("version"), `wsgi_async ${visible(state.version)}, parent process ${state.pid}`);
  document.title = `${visible(state.name || "wsgi_async")}: ${state.fleet.ready} of ${state.fleet.wanted} ready`;
  figures();
  notices();
  showProcesses(state);
  showErrors(state);
  byId("actions").hidden = !state.actions;
  requests.mayInterrupt = Boolean(state.actions);
  const wanted = byId("processes");
  if (wanted !== document.activeElement && wanted.dataset.of !== `${state.fleet.wanted}`) {
    wanted.dataset.of = wanted.value = state.fleet.wanted;
  }
  draw();
}

// --- Requests in flight: asked for while the page is seen ---

const requests = new Requests(async id => {
  try {
    const answer = await ask("api/interrupt", {id});
    return answer.interrupted ? "Interrupted." : `Not interrupted: ${visible(answer.why)}`;
  } catch (error) {
    return visible(error.message);
  }
});
let timer = null;
async function askRequests() {
  clearTimeout(timer);
  try {
    if (!document.hidden && mode !== "away")
      requests.show(await ask(`api/requests?stacks=${requests.wantsStacks ? 1 : 0}`));
  } catch (error) {
    put(byId("flight-sum"), visible(error.message));
  }
  clearTimeout(timer);
  timer = setTimeout(askRequests, 2000);
}
byId("requests").addEventListener("ask", askRequests);

// --- Actions ---

byId("actions").addEventListener("submit", async event => {
  event.preventDefault();
  const action = event.submitter?.value ?? "reload";
  const body = action === "scale" ? {processes: byId("processes").valueAsNumber} : {};
  const outcome = byId("outcome");
  put(outcome, "Asked.");
  try {
    await ask(`api/${action}`, body);
    put(outcome, action === "scale" ? `${body.processes} processes are wanted.` : "The reload has been asked for.");
  } catch (error) {
    put(outcome, visible(error.message));
  }
  setTimeout(() => put(outcome, ""), 20000);
});

byId("span").addEventListener("change", event => {
  span = Number(event.target.value);
  point(null);
  draw();
});

// --- Theme: the system's, unless somebody chooses ---

const THEMES = ["auto", "dark", "light"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  put(byId("theme"), `◐ ${name}`);
  byId("theme").setAttribute("aria-label", `Theme: ${name}`);
  try { localStorage.setItem("theme", name); } catch { /* then for this visit */ }
}
byId("theme").addEventListener("click", () => {
  theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});
try { theme(THEMES.find(name => name === localStorage.getItem("theme")) ?? "auto"); } catch { theme("auto"); }

// --- What comes ---

const MODES = {live: "Live", polling: "Every 2 s", away: "Away", wait: "Waiting"};

document.addEventListener("visibilitychange", show);
refill();
askRequests();
new Live(
  heard => {
    state = heard;
    if (!history.add(heard.now_row, mode === "polling" ? 6 : 2.5)) lacking = true;
    refill();
    show();
  },
  (name, why) => {
    refusal = why ?? "";
    if (name === "live" && mode !== "live") lacking = true;
    mode = name;
    mark(byId("mode"), "mode", name);
    put(byId("mode").lastElementChild, MODES[name]);
    if (name === "away") notices();
  });
