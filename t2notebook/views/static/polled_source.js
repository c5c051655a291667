// What the Jupyter server knows of a cluster, asked for while somebody looks.

import { askServer } from "./server.js";
import { Values } from "./values.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Message} Message */
/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./words.js").Catalogue} Catalogue */

const POLL_MS = 2000;
// What cannot be told now is asked for less often.
const AGAIN_MS = 10000;

/** Implements `Source` with a `state` that has `trouble`; `via` is how its data came: `"server"`. */
export class PolledSource extends Values {
  /**
   * @param {Server} server
   * @param {string} [beside] Class of the HTML that the view hides.
   * @param {Catalogue} [trans]
   */
  constructor(server, beside = "", trans = ENGLISH) {
    super({ beside, via: "server", beat: 0 });
    this.server = server;
    this.trans = trans;
    this.timer = 0;
    this.turn = 0;
    this.isShown = true;
    this.isEnded = false;
  }

  /**
   * What to ask for.
   * @returns {{path: string, options?: RequestInit}}
   */
  request() {
    throw new Error("a subclass has it");
  }

  /**
   * @param {any} content The answer.
   * @returns {Record<string, any>} The state.
   */
  stateOf(content) {
    return content;
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
   * @returns {Promise<boolean>} Whether there is anything to show.
   */
  async ask() {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    const { content, trouble } = await this.read();
    if (this.isEnded) return false;
    const last = this.get("state");
    if (turn !== this.turn) return Boolean(last); // it has been asked again
    const state = trouble ? last && { ...last, trouble } : this.stateOf(content);
    if (state) this.take({ state, beat: this.get("beat") + 1 });
    if (this.isShown) this.timer = window.setTimeout(() => this.ask(), trouble ? AGAIN_MS : POLL_MS);
    return Boolean(state);
  }

  /** @returns {Promise<{content?: any, trouble: string}>} `trouble`: why nothing could be read. */
  async read() {
    const { trans } = this;
    const { path, options } = this.request();
    try {
      const answer = await askServer(this.server, path, options);
      const content = await answer.json();
      if (answer.ok) return { content, trouble: "" };
      return { trouble: content.message || trans.__("the Jupyter server answers HTTP %1", answer.status) };
    } catch (error) {
      return { trouble: trans.__("the Jupyter server does not answer: %1", error instanceof Error ? error.message : error) };
    }
  }

  dispose() {
    this.isEnded = true;
    clearTimeout(this.timer);
  }
}

/**
 * Wait for the first answer.
 * @template {PolledSource} T
 * @param {T} source
 * @returns {Promise<T | null>} Null if there is nothing to show.
 */
export async function begun(source) {
  if (await source.ask()) return source;
  source.dispose();
  return null;
}
