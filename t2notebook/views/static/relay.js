// A view's data from its kernel, and from the Jupyter server while the kernel is silent or gone.

import { jupyterServer } from "./server.js";
import { StreamSource } from "./stream_source.js";
import { Values } from "./values.js";

/** @typedef {import("./source.js").Source} Source */

const NAMES = ["snapshot", "table", "grid", "agents", "output", "log", "why", "beat"];
// The kernel says something every 2 s.
const BACKUP_MS = 5000;
const LOOK_MS = 1000;
// The server is asked again after so long, if it could not help.
const AGAIN_MS = 30000;

/** Implements `Source`. */
export class Relay {
  /** @param {Source} comm */
  constructor(comm) {
    this.comm = comm;
    /** @type {StreamSource | null} */
    this.backup = null;
    this.isOnBackup = false;
    this.heardAt = performance.now();
    this.triedAt = -AGAIN_MS;
    this.isHidden = false;
    this.events = new Values();
    /** @type {[string, () => void][]} */
    this.listeners = NAMES.map((name) => [`change:${name}`, () => this.hear(`change:${name}`)]);
    this.listeners.push(["comm_live_update", () => this.cutOff()]);
    for (const [event, listener] of this.listeners) comm.on(event, listener);
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** @param {string} name */
  get(name) {
    if (!this.isOnBackup || name === "beside") return this.comm.get(name);
    return this.backup?.get(name);
  }

  /**
   * @param {string} event
   * @param {() => void} listener
   */
  on(event, listener) {
    this.events.on(event, listener);
  }

  /**
   * @param {string} event
   * @param {() => void} listener
   */
  off(event, listener) {
    this.events.off(event, listener);
  }

  /** @param {import("./source.js").Message} message */
  send(message) {
    if (message.kind === "show") this.isHidden = !message.is_shown;
    if (this.backup) this.backup.send(message);
    if (!this.isOnBackup) this.comm.send(message);
  }

  /** @param {string} event */
  hear(event) {
    this.heardAt = performance.now();
    if (!this.backup) return this.events.tell(event);
    this.dropBackup();
    // What the server said may be newer or older: now the kernel's counts.
    for (const name of NAMES) this.events.tell(`change:${name}`);
  }

  cutOff() {
    this.heardAt = -BACKUP_MS;
    this.events.tell("comm_live_update");
    this.look();
  }

  look() {
    const now = performance.now();
    const snapshot = this.comm.get("snapshot");
    if (this.backup || this.isHidden || !snapshot?.live || now - this.heardAt < BACKUP_MS) return;
    if (now - this.triedAt < AGAIN_MS) return;
    const server = jupyterServer();
    if (!server) return;
    this.triedAt = now;
    const backup = new StreamSource(snapshot.job_id, server, { onTrouble: () => this.dropBackup() });
    this.backup = backup;
    for (const name of NAMES) {
      backup.on(`change:${name}`, () => {
        if (this.backup !== backup || !backup.get("snapshot")) return;
        this.isOnBackup = true;
        this.events.tell(`change:${name}`);
      });
    }
  }

  dropBackup() {
    this.backup?.dispose();
    this.backup = null;
    this.isOnBackup = false;
  }

  dispose() {
    clearInterval(this.timer);
    this.dropBackup();
    for (const [event, listener] of this.listeners) this.comm.off(event, listener);
  }
}
