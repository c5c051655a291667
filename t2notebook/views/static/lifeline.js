// Whether the kernel that a view belongs to is there.

import { askServer, jupyterServer } from "./server.js";

// The kernel sends something every 2 s (publisher.py). After so much silence the server is asked whether there is a
// kernel, and how often; and after so much more the view says itself that it may be out of date.
const QUIET_MS = 5000;
const ASK_MS = 5000;
const SILENT_MS = 30000;

/** @typedef {"live" | "silent" | "gone"} Life A silence may pass. */

export class Lifeline {
  /**
   * @param {import("./source.js").Source} model
   * @param {() => void} onChange
   */
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
    /** @type {Life} */
    this.state = "live";
    this.heardAt = performance.now();
    this.askedAt = this.heardAt;
    this.isCutOff = false;
    this.isAbsent = false;
  }

  hear() {
    this.heardAt = performance.now();
    this.isCutOff = this.isAbsent = false;
    this.tick();
  }

  get isQuiet() {
    return performance.now() - this.heardAt > QUIET_MS;
  }

  /** The page has given the view's connection up: the kernel was restarted or has died, or the network is away. */
  async cutOff() {
    const heardAt = this.heardAt;
    const answers = await this.ask();
    // What was heard since then came over a new connection.
    if (answers && this.heardAt === heardAt) this.isCutOff = true;
    this.tick();
  }

  tick() {
    const now = performance.now();
    if (this.isQuiet && now - this.askedAt > ASK_MS) this.ask().then(() => this.tick());
    this.enter(this.isCutOff || this.isAbsent ? "gone" : now - this.heardAt > SILENT_MS ? "silent" : "live");
  }

  /** @param {Life} state */
  enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.onChange();
  }

  /** Nothing tells a page that its kernel was shut down; the server knows. Whether one answers, or none could be asked. */
  async ask() {
    this.askedAt = performance.now();
    const heardAt = this.heardAt;
    const kernelId = this.model.get("kernel_id");
    const server = kernelId ? jupyterServer() : null;
    if (!server) return true;
    try {
      const answer = await askServer(server, `api/kernels/${encodeURIComponent(kernelId)}`);
      this.isAbsent = answer.status === 404 && this.heardAt === heardAt;
      return true;
    } catch {
      return false;
    }
  }
}
