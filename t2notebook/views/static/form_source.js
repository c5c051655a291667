// The state of a resource form as the Jupyter server makes it, while the kernel is silent: everything but the submit.

import { chosenBefore, keepChosen } from "./form_memory.js";
import { begun, PolledSource } from "./polled_source.js";
import { jupyterServer } from "./server.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Message} Message */
/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./words.js").Catalogue} Catalogue */
/** @typedef {{master: string, values: Record<string, any>, others: string[]}} Published What the kernel published. */

export class FormSource extends PolledSource {
  /**
   * @param {Published} published
   * @param {Server} server
   * @param {string} [beside] Class of the HTML that the form hides.
   * @param {Catalogue} [trans]
   */
  constructor({ master, values, others }, server, beside = "", trans = ENGLISH) {
    super(server, beside, trans);
    this.master = master;
    this.others = others;
    this.values = chosenBefore(beside)?.values ?? values;
    this.sequence = 0;
  }

  /** @override */
  request() {
    const { master, others, values, sequence } = this;
    const body = JSON.stringify({ master, others, values, sequence });
    return { path: "t2notebook/api/form", options: { method: "POST", body } };
  }

  /**
   * @override
   * @param {any} content All of the state; or what is wrong with the values.
   */
  stateOf(content) {
    return { ...this.get("state"), ...content };
  }

  /**
   * @override
   * @param {Message} message
   */
  send(message) {
    if (message.kind !== "change") return super.send(message);
    this.values = message.values;
    this.sequence = message.sequence;
    keepChosen(this.get("beside"), { values: this.values, isPending: true });
    this.ask();
  }
}

/**
 * A form that the Jupyter server of this page feeds, once there is something to show; null if there is not.
 * @param {Published} published
 * @param {string} [beside] Class of the HTML that the form hides.
 * @param {Catalogue} [trans]
 */
export async function formSource(published, beside = "", trans = ENGLISH) {
  const server = jupyterServer();
  return server && begun(new FormSource(published, server, beside, trans));
}
