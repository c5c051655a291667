// Lines of output that a view keeps. Pure.

/** @typedef {import("./source.js").Output} Output */
/** @typedef {import("./source.js").WorkerLog} WorkerLog */
/** @typedef {[number, string, string]} Line Worker id, stream, text. */

// Lines that are kept of each worker, so that its log opens at once also while the kernel is busy, and workers.
const KEPT_LINES = 200;
const KEPT_WORKERS = 200;
// Lines at the end that may have been without an end, and are others now.
const CHANGED = 12;

export class LogLines {
  constructor() {
    this.end = 0;
    /** @type {Line[]} */
    this.newest = [];
    /** @type {Line[]} */
    this.current = [];
    /** @type {Map<number, Line[]>} */
    this.kept = new Map();
    /** @type {WorkerLog | null} */
    this.log = null;
  }

  /** @param {Output} output */
  take(output) {
    const lines = output.lines ?? [];
    const fresh = Math.min(lines.length, (output.end ?? 0) - this.end);
    for (const line of fresh > 0 ? lines.slice(-fresh) : []) {
      const own = this.kept.get(line[0]) ?? [];
      own.push(line);
      if (own.length > KEPT_LINES) own.splice(0, own.length - KEPT_LINES);
      // The one that wrote last stands last, so that the first is the one to forget.
      this.kept.delete(line[0]);
      this.kept.set(line[0], own);
      if (this.kept.size > KEPT_WORKERS) this.kept.delete(/** @type {number} */ (this.kept.keys().next().value));
    }
    this.end = output.end ?? 0;
    this.newest = lines;
    this.current = output.current ?? [];
  }

  /** @param {WorkerLog | undefined} log */
  takeLog(log) {
    this.log = log?.lines ? log : null;
  }

  /**
   * Lines to show: the newest of all workers, or those of one.
   * @param {number | null} worker
   * @returns {Line[]}
   */
  of(worker) {
    if (worker === null) return [...this.newest, ...this.current];
    const { log } = this;
    if (log?.worker_id === worker && log.lines?.length) return log.lines.map(([stream, text]) => [worker, stream, text]);
    return [...(this.kept.get(worker) ?? []), ...this.current.filter(([id]) => id === worker)];
  }
}

/**
 * How many of the old lines have gone at the beginning, so that what is left is still true of the new ones; all of them
 * if nothing is.
 * @param {string[]} old
 * @param {string[]} next
 */
export function linesGone(old, next) {
  for (let gone = 0; gone < old.length; gone++) {
    if (old[gone] !== next[0]) continue;
    const left = Math.min(old.length - gone, next.length);
    let at = 1;
    while (at < left && old[gone + at] === next[at]) at++;
    if (at >= left - CHANGED && at > 0) return gone;
  }
  return old.length;
}
