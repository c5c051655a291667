// A worker's tasks as bars of a timeline, and the axis above them. Pure.

import { ENGLISH } from "./words.js";
import { entry } from "./workers.js";

/** @typedef {import("./source.js").Tone} Tone */

/**
 * A phase: it waited for an offer, was started on an agent, ran. Times are seconds since the submit.
 *
 * @typedef {object} Phase
 * @property {"waiting" | "starting" | "running"} kind
 * @property {Tone} tone How it has ended, of what ran; else how it goes on.
 * @property {number} from
 * @property {number} to
 * @property {boolean} isOpen Whether it goes on.
 * @property {boolean} isEarlier Whether it is of a task before the present one.
 */

/**
 * The phases of a worker, in order.
 * @param {import("./workers.js").Workers} workers
 * @param {number} index
 * @returns {Phase[]}
 */
export function phasesOf(workers, index) {
  const { table, now } = workers;
  /** @type {Phase[]} */
  const phases = [];
  for (const [waiting, launched, started, ended] of table.earlier?.[index] ?? []) {
    phases.push(...task(waiting, launched, started, ended, "bad", true, false));
  }
  const earlierEnd = phases.length ? phases[phases.length - 1].to : 0;
  const finished = entry(table.finished, index) ?? null;
  const isOver = workers.isOver(index);
  phases.push(
    ...task(
      entry(table.waiting, index) ?? earlierEnd,
      entry(table.launched, index) ?? null,
      entry(table.started, index) ?? null,
      finished ?? now,
      workers.tone(index),
      false,
      !isOver,
    ),
  );
  return phases;
}

/**
 * @param {number} waiting
 * @param {number | null} launched
 * @param {number | null} started
 * @param {number} end
 * @param {Tone} tone
 * @param {boolean} isEarlier
 * @param {boolean} isOpen
 */
function task(waiting, launched, started, end, tone, isEarlier, isOpen) {
  // Where it is not known when it was launched, it was so at its start at the latest.
  const begun = launched ?? started;
  /** @type {Phase[]} */
  const phases = [];
  /**
   * @param {Phase["kind"]} kind
   * @param {number} from
   * @param {number | null} to
   */
  const add = (kind, from, to) => {
    const last = to === null;
    const until = Math.max(from, to ?? end);
    const isShown = until > from || (last && kind === "running");
    const shownTone = kind === "waiting" ? "waiting" : last || kind === "running" ? tone : "active";
    if (isShown) phases.push({ kind, tone: shownTone, from, to: until, isOpen: last && isOpen, isEarlier });
  };
  add("waiting", waiting, begun);
  if (begun !== null) add("starting", begun, started);
  if (started !== null) add("running", started, null);
  return phases;
}

/**
 * Seconds that the axis shows: until now, or until the job's end.
 * @param {number} now
 */
export function axisEnd(now) {
  return Math.max(now, 1);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/**
 * Times at which the axis has a mark: round ones, at most so many, the beginning among them.
 * @param {number} end Seconds.
 * @param {number} most
 * @returns {number[]}
 */
export function axisTicks(end, most) {
  let step = STEPS.find((each) => end / each < most) ?? 86400 * Math.ceil(end / 86400 / (most - 1));
  if (end < STEPS[0] * 2) {
    step = 10 ** Math.floor(Math.log10(end));
    for (const times of [0.1, 0.2, 0.5, 1]) {
      if (end / (step * times) < most - 1e-9) {
        step *= times;
        break;
      }
    }
  }
  const ticks = [];
  for (let count = 0; count * step <= end * (1 + 1e-9) && count <= most; count++) ticks.push(Number((count * step).toPrecision(12)));
  return ticks;
}

/**
 * @param {Phase} phase
 * @param {string} time
 * @param {import("./words.js").Catalogue} trans
 */
function phaseText({ kind, isOpen }, time, trans) {
  switch (kind) {
    case "waiting": return isOpen ? trans.__("waits since %1", time) : trans.__("waited %1", time);
    case "starting": return isOpen ? trans.__("is started since %1", time) : trans.__("was started %1", time);
    default: return isOpen ? trans.__("runs since %1", time) : trans.__("ran %1", time);
  }
}

/**
 * The phases in words, for who cannot see the bars.
 * @param {Phase[]} phases
 * @param {(seconds: number) => string} textOf
 * @param {import("./words.js").Catalogue} [trans]
 */
export function phasesText(phases, textOf, trans = ENGLISH) {
  return phases.map((phase) => phaseText(phase, textOf(phase.to - phase.from), trans)).join(", ");
}
