// Whether a view of the cluster hears of who feeds it.

import { clock } from "./format.js";
import { ENGLISH } from "./words.js";

// Who feeds it answers each second or two; after so much silence a view says that it may be out of date.
const SILENCE_MS = 10000;

/**
 * Each answer is a beat. How long a pause means something follows from those before, since a large cluster
 * takes its time.
 */
export class Pulse {
  /**
   * @param {() => void} onChange
   * @param {boolean} [isRelayed] Whether the Jupyter server feeds the view, and not the kernel.
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(onChange, isRelayed = false, trans = ENGLISH) {
    this.onChange = onChange;
    this.isRelayed = isRelayed;
    this.trans = trans;
    this.isStale = false;
    this.isPaused = false;
    this.gap = 0;
    this.heardAt = performance.now();
    this.timer = setInterval(() => this.tick(), 1000);
  }

  beat() {
    const now = performance.now();
    this.gap = now - this.heardAt;
    this.begin();
  }

  /** Somebody looks again: nothing was to be heard meanwhile. */
  begin() {
    this.heardAt = performance.now();
    this.tick();
  }

  tick() {
    if (document.visibilityState === "hidden" || this.isPaused) return;
    const isStale = performance.now() - this.heardAt > Math.max(SILENCE_MS, 3 * this.gap);
    if (isStale === this.isStale) return;
    this.isStale = isStale;
    this.onChange();
  }

  get text() {
    const when = clock(Date.now() / 1000 - (performance.now() - this.heardAt) / 1000);
    const { trans } = this;
    return this.isRelayed
      ? trans.__("Not live: nothing was heard from the Jupyter server since %1.", when)
      : trans.__("Not live: nothing was heard from the kernel since %1. If it was restarted, run this cell again.", when);
  }

  dispose() {
    clearInterval(this.timer);
  }
}
