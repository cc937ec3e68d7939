// Figures as text, and elements made of text. Nothing here is ever read as HTML: what clients sent
// gets into the page by textContent alone.

// Control characters, and those that turn the direction of text: they are shown by their number.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNKNOWN = "–";

export const known = value => value !== null && value !== undefined && !Number.isNaN(value);

export const visible = text =>
  String(text ?? UNKNOWN).replace(HIDDEN, c => `\\u{${c.codePointAt(0).toString(16)}}`);

// Three digits that count, so that a column keeps its width.
function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size < 0.005 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

function scaled(units, base) {
  return value => {
    if (!known(value)) return UNKNOWN;
    let at = 0;
    while (Math.abs(value) >= base * 0.9995 && at < units.length - 1) {
      value /= base;
      at += 1;
    }
    return `${digits(value)}${units[at] && "\u00a0" + units[at]}`;
  };
}

export const number = scaled(["", "k", "M", "G"], 1000);
export const bytes = scaled(["B", "KiB", "MiB", "GiB", "TiB"], 1024);
export const byteRate = value => (known(value) ? `${bytes(value)}/s` : UNKNOWN);
export const whole = value =>
  known(value) ? Math.round(value).toLocaleString("en").replaceAll(",", "\u202f") : UNKNOWN;

export function duration(seconds) {
  if (!known(seconds) || seconds === 0) return known(seconds) ? "0" : UNKNOWN;
  return seconds < 0.9995 ? `${digits(seconds * 1000)}\u00a0ms` : inSeconds(seconds);
}

export const inSeconds = seconds => (seconds < 120 ? `${digits(seconds)}\u00a0s` : age(seconds));

export function age(seconds) {
  if (!known(seconds)) return UNKNOWN;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  let at = parts.findIndex(([size]) => seconds >= size);
  if (at < 0 || at === 3) return `${Math.max(0, Math.floor(seconds))}\u00a0s`;
  const [size, unit] = parts[at];
  const [less, lower] = parts[at + 1];
  const rest = Math.floor((seconds % size) / less);
  return `${Math.floor(seconds / size)}\u00a0${unit}${rest ? ` ${rest}\u00a0${lower}` : ""}`;
}

const TIME = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const DAY = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"});
export const clock = seconds => TIME.format(seconds * 1000);
export const moment = (seconds, now) => (now - seconds < 72000 ? clock(seconds) : DAY.format(seconds * 1000));
export const words = name => String(name).replaceAll("_", " ");

// An element with attributes and children; a child that is no element becomes text.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map(child => (child instanceof Node ? child : String(child))));
  return element;
}

export const byId = id => document.getElementById(id);

// Only what has changed is touched: a selection stays, and a screen reader hears nothing twice.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

// Keeps one child for each item, by its key, in the order of the items: what has the focus, or
// stands open, stays so while its values change. Of those with the same key the second one has
// another, for clients name their requests as they like.
export function keep(parent, items, key, make, update) {
  const old = new Map([...parent.children].map(child => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  const seen = new Map();
  for (const item of items) {
    const same = seen.get(String(key(item))) ?? 0;
    seen.set(String(key(item)), same + 1);
    const name = `${key(item)} ${same}`;
    let child = old.get(name);
    old.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  for (const child of old.values()) child.remove();
}

// Names and numbers, side by side: only those that are not zero.
export function counts(list, entries) {
  keep(list, entries.filter(([, count]) => count), ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, words(name)), h("dd")),
    (child, [, count]) => put(child.lastChild, whole(count)));
}
