// A cluster as the Jupyter server knows it: the page of its master.

import { begun, PolledSource } from "./polled_source.js";
import { jupyterServer } from "./server.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./words.js").Catalogue} Catalogue */

export class ClusterSource extends PolledSource {
  /**
   * @param {string} master Its address, or `local`.
   * @param {Server} server
   * @param {string} [beside] Class of the HTML that the view hides.
   * @param {Catalogue} [trans]
   */
  constructor(master, server, beside = "", trans = ENGLISH) {
    super(server, beside, trans);
    this.path = `t2notebook/api/cluster?${new URLSearchParams({ master })}`;
  }

  /** @override */
  request() {
    return { path: this.path };
  }

  /**
   * @override
   * @param {any} page
   */
  stateOf(page) {
    return { page, trouble: "" };
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
  return server && begun(new ClusterSource(master, server, beside, trans));
}
