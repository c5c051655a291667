// Workers of a job as rows of a table: what each cell shows, and by what it is sorted. Pure.

import { amount, clock, duration, mebibytes, percent, span } from "./format.js";
import { sorted, withFirst } from "./sorting.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Table} Table */
/** @typedef {import("./source.js").Tone} Tone */
/** @typedef {import("./virtual_table.js").Cell} Cell */
/** @typedef {import("./virtual_table.js").ColumnOfTable} ColumnOfTable */

// Up to so many rows are all in sight: they stay in their order, whatever happens to them.
const IN_SIGHT = 10;

/**
 * The columns in the order in which they stand; `rank` says which go first where there is no room.
 * @param {import("./words.js").Catalogue} [trans]
 * @returns {ColumnOfTable[]}
 */
export function workerColumns(trans = ENGLISH) {
  return [
    { key: "worker_id", heading: trans.__("Worker"), kind: "name", least: 66, grow: 0, rank: 0, isNumeric: true },
    { key: "state", heading: trans.__("State"), kind: "state", least: 92, grow: 1, rank: 0 },
    { key: "agent", heading: trans.__("Agent"), kind: "text", least: 84, grow: 1.6, rank: 3 },
    { key: "cpu", heading: trans.__("CPU"), kind: "bar", least: 86, grow: 0.5, rank: 5 },
    { key: "mem", heading: trans.__("Memory"), kind: "bar", least: 124, grow: 0.5, rank: 5 },
    { key: "progress", heading: trans.__("Progress"), kind: "bar", least: 104, grow: 0.8, rank: 1 },
    { key: "note", heading: trans.__("Note"), kind: "text", least: 76, grow: 1.2, rank: 4 },
    { key: "started", heading: trans.__("Started"), kind: "text", least: 100, grow: 0, rank: 8, isNumeric: true },
    { key: "runtime", heading: trans.__("Runtime"), kind: "text", least: 78, grow: 0, rank: 2, isNumeric: true },
    { key: "restarts", heading: trans.__("Restarts"), kind: "text", least: 76, grow: 0, rank: 7, isNumeric: true },
    { key: "exit_code", heading: trans.__("Exit"), kind: "text", least: 46, grow: 0, rank: 6, isNumeric: true },
    { key: "message", heading: trans.__("Message"), kind: "text", least: 110, grow: 3, rank: 0 },
  ];
}

/**
 * A row's entry in a column.
 * @template T
 * @param {T | T[] | undefined} column
 * @param {number} row
 * @returns {T | undefined}
 */
export function entry(column, row) {
  return Array.isArray(column) ? column[row] : column;
}

export class Workers {
  /**
   * @param {Table} table
   * @param {number} now Seconds since the submit.
   * @param {number | null} submitted Seconds since 1970.
   * @param {boolean} isAlike Whether all have the same cpus and memory, which then stand elsewhere.
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(table, now, submitted, isAlike, trans = ENGLISH) {
    this.trans = trans;
    this.table = table;
    this.now = now;
    this.submitted = submitted;
    this.isAlike = isAlike;
    this.length = table.ids?.length ?? 0;
    this.isMeasured = hasEntries(table.cpu_used) || hasEntries(table.mem_now);
  }

  /** @param {number} index */
  id(index) {
    return this.table.ids[index];
  }

  /** @param {number} index */
  state(index) {
    return this.table.states[entry(this.table.state, index) ?? 0];
  }

  /**
   * @param {number} index
   * @returns {Tone}
   */
  tone(index) {
    return this.state(index)[2];
  }

  /** @param {number} index */
  isOver(index) {
    const tone = this.tone(index);
    return tone === "good" || tone === "bad" || tone === "ended";
  }

  /** @param {number} index */
  agent(index) {
    const at = entry(this.table.agent, index) ?? -1;
    return at < 0 ? null : this.table.agents[at];
  }

  /**
   * Seconds that its present task has run.
   * @param {number} index
   */
  runtime(index) {
    const started = entry(this.table.started, index) ?? null;
    if (started === null) return null;
    const finished = entry(this.table.finished, index) ?? null;
    if (finished === null && this.isOver(index)) return null;
    return Math.max(0, (finished ?? this.now) - started);
  }

  /** Keys of the columns that are not empty in all rows. */
  filled() {
    const { table } = this;
    const found = new Set(["worker_id", "state"]);
    if (this.isMeasured || (!this.isAlike && hasEntries(table.cpus))) found.add("cpu").add("mem");
    if (someRow(this.length, (row) => (entry(table.agent, row) ?? -1) >= 0)) found.add("agent");
    if (hasEntries(table.progress)) found.add("progress");
    if (hasEntries(table.started)) found.add("started").add("runtime");
    // Mesos' reasons are no messages: they stand in the states' tooltips, or above the table.
    for (const key of /** @type {const} */ (["restarts", "exit_code", "note", "message"])) {
      if (Object.keys(table[key] ?? {}).length) found.add(key);
    }
    return found;
  }

  /**
   * Indices in the wanted order; by themselves, those in trouble come first where not all are in sight.
   * @param {import("./sorting.js").Sort | null} sort
   */
  order(sort) {
    if (sort) return sorted(this.length, (index) => this.value(sort.key, index), sort.isDown);
    return withFirst(this.length, this.length > IN_SIGHT ? (this.table.bad ?? []) : []);
  }

  /**
   * What a column is sorted by.
   * @param {string} key
   * @param {number} index
   */
  value(key, index) {
    const { table } = this;
    switch (key) {
      case "worker_id": return this.id(index);
      case "state": return this.state(index)[1];
      case "agent": return this.agent(index)?.[2];
      case "cpu": return entry(this.isMeasured ? table.cpu_used : table.cpus, index);
      case "mem": return entry(this.isMeasured ? table.mem_now : table.mem, index);
      case "progress": return entry(table.progress, index);
      case "note": return table.note?.[index];
      case "started": return entry(table.started, index);
      case "runtime": return this.runtime(index);
      case "restarts": return table.restarts?.[index];
      case "exit_code": return table.exit_code?.[index];
      default: return this.message(index);
    }
  }

  /**
   * These rows, those of one agent only.
   * @param {string} agent Its text.
   */
  on(agent) {
    const some = new Workers(this.table, this.now, this.submitted, this.isAlike, this.trans);
    const isOn = (/** @type {number} */ index) => this.agent(index)?.[2] === agent;
    some.order = (sort) => this.order(sort).filter(isOn);
    return some;
  }

  /** @param {number} index */
  message(index) {
    return this.table.message?.[index] ?? "";
  }

  /**
   * What a cell shows.
   * @param {string} key
   * @param {number} index
   * @returns {Cell}
   */
  cell(key, index) {
    const { table, trans } = this;
    switch (key) {
      case "worker_id": return { text: String(this.id(index)), title: trans.__("Click to see what this worker writes") };
      case "state": {
        const [, words, tone] = this.state(index);
        return { text: words, tone, title: table.reason?.[index] ?? "" };
      }
      case "agent": {
        const agent = this.agent(index);
        return { text: agent?.[2] ?? "", title: agent ? trans.__("%1, agent %2", agent[1], agent[0]) : "" };
      }
      case "cpu": return this.use(table.cpu_used, table.cpus, index, trans.__("cpus"), (value) => value.toFixed(1));
      case "mem": return this.use(table.mem_now, table.mem, index, "", (value) => mebibytes(Math.ceil(value)));
      case "progress": {
        const done = entry(table.progress, index) ?? null;
        const text = done === null ? "" : percent(done);
        const title = table.note?.[index] ?? "";
        return { text, fraction: done, tone: this.tone(index), title, label: trans.__("Progress of worker %1", this.id(index)) };
      }
      case "note": {
        const text = table.note?.[index] ?? "";
        return { text, title: text };
      }
      case "started": {
        const started = entry(table.started, index) ?? null;
        if (started === null || this.submitted === null) return { text: "" };
        return { text: clock(this.submitted + started), title: trans.__("%1 after the submit", span(started)) };
      }
      case "runtime": {
        const runtime = this.runtime(index);
        if (runtime === null) return { text: "" };
        return { text: (entry(table.finished, index) ?? null) === null ? duration(runtime) : span(runtime) };
      }
      case "restarts": return { text: String(table.restarts?.[index] ?? "") };
      case "exit_code": return { text: String(table.exit_code?.[index] ?? "") };
      default: {
        const text = this.message(index);
        return { text, title: text };
      }
    }
  }

  /**
   * @param {Table["cpu_used"]} used
   * @param {Table["cpus"]} given
   * @param {number} index
   * @param {string} unit
   * @param {(value: number) => string} textOf
   * @returns {Cell}
   */
  use(used, given, index, unit, textOf) {
    const now = entry(used, index) ?? null;
    const whole = entry(given, index) || null;
    if (!this.isMeasured) return { text: whole === null ? "" : unit ? amount(whole, 3) : mebibytes(whole) };
    if (now === null) return { text: "" };
    const { trans } = this;
    const all = whole === null ? "" : unit ? `${amount(whole, 3)} ${unit}` : mebibytes(whole);
    const fraction = whole === null ? null : now / whole;
    // A worker may use more cpu than it asked for, where Mesos does not isolate; near its memory's end it may be killed.
    const isNear = !unit && fraction !== null && fraction > 0.9;
    return {
      text: textOf(now),
      fraction,
      tone: this.isOver(index) ? "ended" : isNear ? "bad" : "active",
      title: all ? trans.__("%1 of %2", textOf(now), all) : textOf(now),
      label: unit ? trans.__("CPU of worker %1", this.id(index)) : trans.__("Memory of worker %1", this.id(index)),
    };
  }
}

/** @param {import("./source.js").Column<any> | undefined} column */
function hasEntries(column) {
  if (Array.isArray(column)) return column.some((value) => value !== null && value !== undefined);
  return column !== null && column !== undefined;
}

/**
 * @param {number} length
 * @param {(row: number) => boolean} holds
 */
function someRow(length, holds) {
  for (let row = 0; row < length; row++) if (holds(row)) return true;
  return false;
}
