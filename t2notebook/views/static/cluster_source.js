// A cluster as the Jupyter server knows it: asked for while somebody looks.

import { askServer, jupyterServer } from "./server.js";
import { Values } from "./values.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Message} Message */
/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./words.js").Catalogue} Catalogue */

const POLL_MS = 2000;
// What cannot be told now is asked for less often.
const AGAIN_MS = 10000;

/** Implements `Source` for a view of a cluster; `via` is how its data came: `"server"`. */
export class ClusterSource extends Values {
  /**
   * @param {string} master Its address, or `local`.
   * @param {Server} server
   * @param {string} [beside] Class of the HTML that the view hides.
   * @param {Catalogue} [trans]
   */
  constructor(master, server, beside = "", trans = ENGLISH) {
    super({ beside, via: "server", beat: 0 });
    this.path = `t2notebook/api/cluster?${new URLSearchParams({ master })}`;
    this.server = server;
    this.trans = trans;
    this.timer = 0;
    this.isShown = true;
    this.isEnded = false;
  }

  /** @param {Message} message */
  send(message) {
    if (message.kind !== "show" || message.is_shown === this.isShown) return;
    this.isShown = message.is_shown;
    clearTimeout(this.timer);
    if (this.isShown) this.ask();
  }

  /**
   * Ask once, and go on as long as somebody looks.
   * @returns {Promise<boolean>} Whether there is a page to show.
   */
  async ask() {
    const trouble = await this.read();
    if (this.isEnded) return false;
    const page = this.get("state")?.page;
    if (trouble && page) this.take({ state: { page, trouble }, beat: this.get("beat") + 1 });
    clearTimeout(this.timer);
    if (this.isShown) this.timer = window.setTimeout(() => this.ask(), trouble ? AGAIN_MS : POLL_MS);
    return Boolean(this.get("state"));
  }

  /** @returns {Promise<string>} Why nothing could be read; empty if all is well. */
  async read() {
    try {
      const answer = await askServer(this.server, this.path);
      const content = await answer.json();
      if (!answer.ok) return content.message || this.trans.__("the Jupyter server answers HTTP %1", answer.status);
      if (!this.isEnded) this.take({ state: { page: content, trouble: "" }, beat: this.get("beat") + 1 });
      return "";
    } catch (error) {
      return this.trans.__("the Jupyter server does not answer: %1", error instanceof Error ? error.message : error);
    }
  }

  dispose() {
    this.isEnded = true;
    clearTimeout(this.timer);
  }
}

/**
 * A cluster as the Jupyter server of this page knows it, once there is something to show; null if there is not.
 * @param {string} master
 * @param {string} [beside] Class of the HTML that the view hides.
 * @param {Catalogue} [trans]
 */
export async function clusterSource(master, beside = "", trans = ENGLISH) {
  const server = jupyterServer();
  if (!server) return null;
  const source = new ClusterSource(master, server, beside, trans);
  if (await source.ask()) return source;
  source.dispose();
  return null;
}
