// The rows of the last hour, and views of them: as many moments as a chart can show.

import {known} from "./format.js";

const MOST = 3600;
const STEPS = {300: 1, 900: 3, 3600: 12};

export class History {
  constructor() {
    this.columns = {};  // by name; the first is the time
    this.rows = [];
  }

  replace({columns, rows}) {
    const newest = rows.length ? rows.at(-1)[0] : -Infinity;
    this.columns = Object.fromEntries(columns.map((name, index) => [name, index]));
    this.rows = rows.concat(this.rows.filter(row => row[0] > newest)).slice(-MOST);
  }

  get last() {
    return this.rows.length ? this.rows.at(-1)[0] : null;
  }

  // Whether a row that follows directly was added; where some are missing, the whole is to be
  // asked for again.
  add(row, distance) {
    if (!row) return true;
    const later = this.last === null ? Infinity : row[0] - this.last;
    if (later <= 0 && later > -distance) return true;
    if (later <= 0) this.rows = [];  // somebody has set the clock
    this.rows.push(row);
    if (this.rows.length > MOST) this.rows.shift();
    return later > 0 && later < distance;
  }

  newest(name) {
    return this.rows.length ? this.rows.at(-1)[this.columns[name]] ?? null : null;
  }

  // The last `seconds` in steps that stand still: a moment has the same values until it leaves.
  view(seconds) {
    return this.last === null ? null : new View(this, seconds);
  }
}

class View {
  constructor(history, seconds) {
    this.step = STEPS[seconds];
    this.to = Math.floor(history.last / this.step) * this.step;
    this.from = this.to - seconds;
    this.times = Array.from({length: seconds / this.step + 1}, (_, i) => this.from + i * this.step);
    this.columns = history.columns;
    this.rows = history.rows.filter(row => row[0] >= this.from);
    this.there = this.times.map(() => false);  // whether there is anything of that moment
    for (const row of this.rows)
      if (row.some((value, i) => i > 0 && known(value))) this.there[Math.floor((row[0] - this.from) / this.step)] = true;
    this.made = new Map();
  }

  // The mean of each step, or the largest: of a percentile there is no mean. null where none is.
  values(name, peak) {
    const key = `${name} ${Boolean(peak)}`;
    if (!this.made.has(key)) this.made.set(key, this.make(name, peak));
    return this.made.get(key);
  }

  make(name, peak) {
    const column = this.columns[name];
    const found = this.times.map(() => []);
    for (const row of this.rows) {
      const at = found[Math.floor((row[0] - this.from) / this.step)];
      if (at && known(row[column])) at.push(row[column]);
    }
    const values = found.map(each => (!each.length ? null
      : peak ? Math.max(...each) : each.reduce((sum, value) => sum + value, 0) / each.length));
    // One or two seconds without a row are a clock's doing: the next row has what was in them.
    const {there} = this;
    for (let i = values.length - 2; i > 0 && this.step === 1; i--)
      if (!there[i] && (there[i - 1] || there[i - 2]) && (there[i + 1] || there[i + 2])) values[i] = values[i + 1];
    return values;
  }

  // The newest sum of these columns.
  newest(names) {
    return this.rows.length ? this.sum(this.rows.at(-1), names) : null;
  }

  // The smallest and the largest sum of these columns, of each second.
  extent(names) {
    let least = null, most = null;
    for (const row of this.rows) {
      const sum = this.sum(row, names);
      if (sum === null) continue;
      if (least === null || sum < least) least = sum;
      if (most === null || sum > most) most = sum;
    }
    return [least, most];
  }

  sum(row, names) {
    let sum = null;
    for (const name of names) {
      const value = row[this.columns[name]];
      if (known(value)) sum = (sum ?? 0) + value;
    }
    return sum;
  }
}
