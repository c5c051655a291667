// A job as the Jupyter server knows it: pushed through a WebSocket while somebody looks, and asked for by plain HTTP
// where a proxy lets no WebSocket pass.

import { askServer, jupyterServer } from "./server.js";
import { Values } from "./values.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Message} Message */
/** @typedef {import("./server.js").Server} Server */
/** @typedef {import("./words.js").Catalogue} Catalogue */

const RETRY_MS = [500, 1000, 2000, 5000];
const POLL_MS = 1000;
// So many WebSockets that break before a word was heard mean that none will come through.
const MOST_SILENT = 2;
const ENDED = 1000;

/** Implements `Source`; `via` is how its data came: `"server"`. */
export class StreamSource extends Values {
  /**
   * @param {string} jobId
   * @param {Server} server
   * @param {{beside?: string, trans?: Catalogue, onTrouble?: (text: string) => void}} [options] `onTrouble` is called when the server says
   *   that it cannot tell anything of the job.
   */
  constructor(jobId, server, { beside = "", trans = ENGLISH, onTrouble = () => {} } = {}) {
    super({ beside, kernel_id: "", via: "server", beat: 0 });
    this.path = `t2notebook/api/jobs/${encodeURIComponent(jobId)}/view`;
    this.server = server;
    this.onTrouble = onTrouble;
    this.trans = trans;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.timer = 0;
    this.failures = 0;
    this.silent = 0;
    this.isEnded = false;
    this.isShown = true;
    /** @type {Message | null} Repeated on a new connection. */
    this.opened = null;
    /** @type {Message[]} For a connection that is not there yet. */
    this.pending = [];
    this.connect();
  }

  /** @param {Message} message */
  send(message) {
    if (message.kind === "show") return this.show(message.is_shown);
    if (message.kind === "open") this.opened = message;
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
    else if (message.kind !== "open") this.pending.push(message);
    if (this.silent >= MOST_SILENT) this.poll();
  }

  /**
   * Whether anybody looks: a connection is held for those only.
   * @param {boolean} isShown
   */
  show(isShown) {
    if (isShown === this.isShown) return;
    this.isShown = isShown;
    clearTimeout(this.timer);
    if (isShown) this.connect();
    else this.disconnect();
  }

  connect() {
    if (this.isEnded || !this.isShown) return;
    if (this.silent >= MOST_SILENT) {
      this.poll();
      return;
    }
    const url = new URL(this.server.base + this.path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.server.token) url.searchParams.set("token", this.server.token);
    const socket = new WebSocket(url);
    this.socket = socket;
    let wasHeard = false;
    socket.onopen = () => {
      for (const message of [this.opened, ...this.pending.splice(0)]) if (message) socket.send(JSON.stringify(message));
    };
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      wasHeard = true;
      this.failures = this.silent = 0;
      this.hear(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (code === ENDED && wasHeard) this.isEnded = true;
      if (!wasHeard) this.silent++;
      this.later(() => this.connect(), RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
    };
  }

  async poll() {
    clearTimeout(this.timer);
    if (this.isEnded || !this.isShown) return;
    const query = new URLSearchParams();
    if (this.opened?.kind === "open" && this.opened.worker_id !== null) query.set("worker", String(this.opened.worker_id));
    if (this.pending.splice(0).some(({ kind }) => kind === "why")) query.set("why", "1");
    let pause = POLL_MS;
    try {
      const answer = await askServer(this.server, `${this.path}?${query}`);
      const content = await answer.json();
      if (answer.ok) this.hear(content);
      else if (answer.status === 404) this.hear({ error: content.message ?? this.trans.__("The Jupyter server knows nothing of it.") });
      // What has ended changes no more; its logs can be asked for.
      if (content.snapshot?.final) return;
    } catch {
      pause = RETRY_MS[RETRY_MS.length - 1];
    }
    this.later(() => this.poll(), pause);
  }

  /**
   * @param {() => void} next
   * @param {number} pause
   */
  later(next, pause) {
    clearTimeout(this.timer);
    if (!this.isEnded && this.isShown) this.timer = window.setTimeout(next, pause);
  }

  /** @param {Record<string, any>} content */
  hear(content) {
    if (typeof content.error === "string") {
      this.isEnded = true;
      this.take({ trouble: content.error });
      this.onTrouble(content.error);
      return;
    }
    this.take({ ...content, beat: this.content.beat + 1 });
  }

  disconnect() {
    const { socket } = this;
    this.socket = null;
    socket?.close();
  }

  dispose() {
    this.isEnded = true;
    clearTimeout(this.timer);
    this.disconnect();
  }
}

/**
 * A job as the Jupyter server of this page knows it.
 * @param {string} jobId
 * @param {string} [beside] Class of the HTML that the view hides.
 * @param {Catalogue} [trans]
 */
export function streamSource(jobId, beside = "", trans = ENGLISH) {
  const server = jupyterServer();
  if (!server) throw new Error("this page comes from no Jupyter server");
  return new StreamSource(jobId, server, { beside, trans });
}
