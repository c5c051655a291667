// The jobs as the Jupyter server tells of them: kept by id, filtered and ordered for who looks. No nodes, no requests.

/** @typedef {import("./source.js").Tone} Tone */

/**
 * A row of the server's list. Times are seconds since 1970, `cpus` and `mem` (MiB) what all workers ask for together.
 *
 * @typedef {object} JobRow
 * @property {string} job_id
 * @property {string} name
 * @property {string} state
 * @property {number} workers
 * @property {number} running
 * @property {number} finished_workers
 * @property {number} failed_workers
 * @property {number} progress Fraction of 1.
 * @property {number | null} submitted
 * @property {number | null} started
 * @property {number | null} finished
 * @property {string} message
 * @property {number} cpus
 * @property {number} mem
 * @property {string} notebook
 * @property {string} session `living`, `ended` or `lost`.
 * @property {string} master
 * @property {string} directory
 */

/**
 * A message of the server's stream. `all`: what it does not name is gone; `complete`: all are known now.
 *
 * @typedef {{all?: boolean, jobs?: JobRow[], gone?: string[], complete?: boolean}} Change
 */

/** @typedef {"all" | "active" | "ended" | "trouble"} Which */

const FINAL = new Set(["COMPLETED", "FAILED", "KILLED"]);
/** @type {Record<string, Tone>} */
const TONES = { COMPLETED: "good", STARTED: "active", KILLED: "ended", FAILED: "bad" };

/** @param {JobRow} row */
export function hasEnded(row) {
  return FINAL.has(row.state);
}

/**
 * Whether it goes on: a job whose session was lost does not, as far as anybody can see.
 * @param {JobRow} row
 */
export function isActive(row) {
  return !hasEnded(row) && row.session === "living";
}

/** @param {JobRow} row */
export function isLost(row) {
  return !hasEnded(row) && row.session !== "living";
}

/** @param {JobRow} row */
export function inTrouble(row) {
  return row.state === "FAILED" || isLost(row) || row.failed_workers > 0;
}

/**
 * @param {JobRow} row
 * @returns {Tone}
 */
export function tone(row) {
  return isLost(row) ? "bad" : (TONES[row.state] ?? "waiting");
}

/** @param {JobRow} row */
export function stateText(row) {
  return isLost(row) ? "LOST" : row.state;
}

/**
 * Seconds from the submit to the end, or to `now`; a lost job's clock stands.
 * @param {JobRow} row
 * @param {number} now Seconds since 1970.
 * @returns {number | null}
 */
export function elapsed(row, now) {
  if (row.submitted === null || isLost(row)) return null;
  return (row.finished ?? now) - row.submitted;
}

/** @param {JobRow} row */
function rank(row) {
  return isActive(row) ? 0 : isLost(row) ? 1 : 2;
}

/**
 * What runs comes first, then what was lost, then the rest; the newest first in each.
 * @param {JobRow} one
 * @param {JobRow} other
 */
export function compare(one, other) {
  return (
    rank(one) - rank(other) ||
    (other.submitted ?? 0) - (one.submitted ?? 0) ||
    (one.job_id < other.job_id ? 1 : -1)
  );
}

/**
 * @param {JobRow} row
 * @param {string} text Words; each must be in its name, id, state, notebook or message.
 * @param {Which} which
 */
export function matches(row, text, which) {
  const isWanted =
    which === "all" ||
    (which === "active" && isActive(row)) ||
    (which === "ended" && !isActive(row)) ||
    (which === "trouble" && inTrouble(row));
  if (!isWanted) return false;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hay = `${row.name} ${row.job_id} ${stateText(row)} ${row.notebook} ${row.message ?? ""}`.toLowerCase();
  return words.every((word) => hay.includes(word));
}

export class JobStore {
  constructor() {
    /** @type {Map<string, JobRow>} */
    this.rows = new Map();
    this.isComplete = false;
  }

  /**
   * Take a message of the stream in.
   * @param {Change} change
   * @returns {Set<string>} Ids of what has changed.
   */
  apply(change) {
    const changed = new Set();
    if (change.all) {
      const known = new Set((change.jobs ?? []).map((row) => row.job_id));
      for (const jobId of this.rows.keys()) {
        if (!known.has(jobId)) {
          changed.add(jobId);
          this.rows.delete(jobId);
        }
      }
      this.isComplete = false;
    }
    for (const row of change.jobs ?? []) {
      this.rows.set(row.job_id, row);
      changed.add(row.job_id);
    }
    for (const jobId of change.gone ?? []) {
      this.rows.delete(jobId);
      changed.add(jobId);
    }
    if (change.complete) this.isComplete = true;
    return changed;
  }

  /**
   * @param {string} [text]
   * @param {Which} [which]
   */
  ordered(text = "", which = "all") {
    return [...this.rows.values()].filter((row) => matches(row, text, which)).sort(compare);
  }

  /** @param {(row: JobRow) => boolean} test */
  count(test) {
    let found = 0;
    for (const row of this.rows.values()) found += test(row) ? 1 : 0;
    return found;
  }
}
