// Whether a view of the cluster hears of its kernel.

import { clock } from "./format.js";

// A kernel answers each second; after so much silence a view says that it may be out of date.
const SILENCE_MS = 10000;

/**
 * Each answer of a kernel is a beat. How long a pause means something follows from those before, since a large cluster
 * takes its time.
 */
export class Pulse {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
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
    return `Not live: nothing was heard from the kernel since ${when}. If it was restarted, run this cell again.`;
  }

  dispose() {
    clearInterval(this.timer);
  }
}
