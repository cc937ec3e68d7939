// How the page hears of the server: by the event stream, where there is a place for it, and else
// by asking every two seconds. Who hears nothing for a while says so, and goes on asking.

const SILENCE = 4500;
const POLL = 2000;
const TRY_STREAM = 30000;

export async function ask(path, body) {
  const options = body === undefined ? {}
    : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const response = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(12000), ...options});
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const why = answer.error ?? `${path}: ${response.status} ${response.statusText}`;
    throw Object.assign(new Error(why), {status: response.status});
  }
  return answer;
}

export class Live {
  // `heard(state)` is called with each state, and `mode(name, refusal)` with the way that it came,
  // live or polling; away where none came, and with why where that was said.
  constructor(heard, mode) {
    this.heard = heard;
    this.mode = mode;
    this.at = Date.now();
    this.refusedAt = 0;
    this.isRefused = false;
    this.polls = null;
    this.stream();
    setInterval(() => {
      if (Date.now() - this.at <= SILENCE) return;
      this.poll();
      // Not once that has failed: who hangs keeps who asks waiting for long.
      if (!this.isRefused) this.mode("away");
    }, 1000);
  }

  stream() {
    this.source = new EventSource("api/events");
    this.source.addEventListener("state", event => {
      clearInterval(this.polls);
      this.polls = null;
      this.take(JSON.parse(event.data), "live");
    });
    this.source.addEventListener("error", () => {
      if (this.source?.readyState !== EventSource.CLOSED) return;  // the browser connects again
      this.refusedAt = Date.now();
      this.poll();
    });
  }

  take(state, mode) {
    this.at = Date.now();
    this.isRefused = false;
    this.mode(mode);
    this.heard(state);
  }

  poll() {
    if (this.polls !== null) return;
    this.source.close();
    const once = async () => {
      try {
        const state = await ask("api/state");
        if (this.polls === null) return;
        this.take(state, "polling");
      } catch (error) {
        this.isRefused = error.status >= 400 && error.status < 500;
        if (this.polls !== null && this.isRefused) this.mode("away", error.message);
        return;
      }
      if (Date.now() - this.refusedAt > TRY_STREAM && this.source.readyState === EventSource.CLOSED)
        this.stream();
    };
    this.polls = setInterval(once, POLL);
    once();
  }
}
