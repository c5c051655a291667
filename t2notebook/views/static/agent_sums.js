// Workers summed by agent and state: as whoever gives the data has done it for a large job, or from the workers' rows.
// Pure.

import { grouped } from "./format.js";
import { sorted, withFirst } from "./sorting.js";
import { ENGLISH } from "./words.js";
import { entry } from "./workers.js";

/** @typedef {import("./source.js").Tone} Tone */
/** @typedef {import("./virtual_table.js").Cell} Cell */

/**
 * @param {import("./words.js").Catalogue} [trans]
 * @returns {import("./virtual_table.js").ColumnOfTable[]}
 */
export function agentColumns(trans = ENGLISH) {
  return [
    { key: "name", heading: trans.__("Agent"), kind: "name", least: 110, grow: 2, rank: 0 },
    { key: "workers", heading: trans.__("Workers"), kind: "text", least: 76, grow: 0, rank: 1, isNumeric: true },
    { key: "states", heading: trans.__("States"), kind: "stack", least: 170, grow: 4, rank: 0 },
  ];
}

/** What says most stands first: in which order the states of an agent are told and drawn. */
const TONES = /** @type {Tone[]} */ (["bad", "waiting", "active", "good", "ended"]);

/** @param {string[]} names */
function zeros(names) {
  return new Uint32Array(names.length);
}

export class AgentSums {
  /**
   * @param {string[]} names Of the agents.
   * @param {[string, string, Tone][]} states
   * @param {import("./source.js").Column<number>[]} counts
   * @param {number} [waiting] Workers that have no agent yet.
   */
  constructor(names, states, counts, waiting = 0) {
    this.names = names;
    this.waiting = waiting;
    this.length = names.length;
    const order = states.map((_, at) => at);
    order.sort((one, other) => TONES.indexOf(states[one][2]) - TONES.indexOf(states[other][2]) || one - other);
    this.states = order.map((at) => states[at]);
    this.counts = order.map((at) => counts[at]);
    /** @type {Record<Tone, Uint32Array>} Workers of each agent by how they look: asked for again and again. */
    this.toned = { bad: zeros(names), waiting: zeros(names), active: zeros(names), good: zeros(names), ended: zeros(names) };
    this.totals = zeros(names);
    this.states.forEach(([, , tone], at) => {
      for (let index = 0; index < this.length; index++) {
        const count = entry(this.counts[at], index) ?? 0;
        this.toned[tone][index] += count;
        this.totals[index] += count;
      }
    });
  }

  /** @param {number} index */
  id(index) {
    return index;
  }

  /**
   * @param {number} index
   * @param {Tone} [tone]
   */
  count(index, tone) {
    return tone ? this.toned[tone][index] : this.totals[index];
  }

  /**
   * The tone that a cell of the grid has: the worst that there is on it, and what most do if nothing is wrong.
   * @param {number} index
   * @returns {Tone}
   */
  tone(index) {
    if (this.count(index, "bad")) return "bad";
    /** @type {Tone} */
    let found = "ended";
    let most = 0;
    for (const tone of TONES) {
      const count = this.count(index, tone);
      if (count > most) [found, most] = [tone, count];
    }
    return found;
  }

  filled() {
    return new Set(["name", "workers", "states"]);
  }

  /** @param {import("./sorting.js").Sort | null} sort */
  order(sort) {
    if (!sort) {
      const bad = [];
      for (let index = 0; index < this.length; index++) if (this.count(index, "bad")) bad.push(index);
      bad.sort((one, other) => this.count(other, "bad") - this.count(one, "bad") || one - other);
      return withFirst(this.length, bad);
    }
    const valueOf = {
      name: (/** @type {number} */ index) => this.names[index],
      workers: (/** @type {number} */ index) => this.count(index),
      // Those that fail, then those that wait.
      states: (/** @type {number} */ index) => -(1e6 * this.count(index, "bad") + this.count(index, "waiting")),
    }[sort.key];
    return sorted(this.length, valueOf ?? (() => null), sort.isDown);
  }

  /** @param {number} index */
  text(index) {
    const parts = [];
    for (let at = 0; at < this.states.length; at++) {
      const count = entry(this.counts[at], index) ?? 0;
      if (count) parts.push(`${grouped(count)} ${this.states[at][1]}`);
    }
    return parts.join(", ");
  }

  /**
   * @param {string} key
   * @param {number} index
   * @returns {Cell}
   */
  cell(key, index) {
    if (key === "name") return { text: this.names[index] };
    const whole = this.count(index);
    if (key === "workers") return { text: grouped(whole) };
    /** @type {[Tone, number][]} */
    const parts = [];
    for (const tone of TONES) {
      const count = this.count(index, tone);
      if (count) parts.push([tone, count / whole]);
    }
    const text = this.text(index);
    return { text, title: text, parts };
  }
}

/**
 * The sums of a job whose workers all have a row.
 * @param {import("./workers.js").Workers} workers
 */
export function sumsOf(workers) {
  const { agents, states } = workers.table;
  const counts = (states ?? []).map(() => new Array(agents?.length ?? 0).fill(0));
  let waiting = 0;
  for (let index = 0; index < workers.length; index++) {
    const agent = entry(workers.table.agent, index) ?? -1;
    if (agent < 0) waiting++;
    else counts[entry(workers.table.state, index) ?? 0][agent]++;
  }
  return new AgentSums((agents ?? []).map(([, , text]) => text), states ?? [], counts, waiting);
}
