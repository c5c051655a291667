// The page of `t2notebook dash`: all jobs, and the view of the one that is opened.

import { element, setChildren, setShown, setText } from "./dom.js";
import { counted, duration, percent, span } from "./format.js";
import { elapsed, hasEnded, isActive, JobStore, stateText, tone } from "./job_list.js";
import view from "./job_view.js";
import { KillButton } from "./kill_button.js";
import { askServer } from "./server.js";
import { StreamSource } from "./stream_source.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./job_list.js").JobRow} JobRow */

const MOST = 300;

// The server's base URL lies above that of this page; the view finds it there, too.
const base = new URL("..", location.href).pathname;
document.body.dataset.baseUrl = base;
const server = { base, token: "" };

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const filter = /** @type {HTMLInputElement} */ (byId("filter"));

/**
 * @param {string} path
 * @param {object} [content] Sent, if there is any.
 */
async function ask(path, content) {
  const options = content ? { method: "POST", body: JSON.stringify(content) } : {};
  let answer;
  try {
    answer = await askServer(server, `t2notebook/api/${path}`, options);
  } catch {
    throw new Error("t2notebook dash does not answer: it has ended");
  }
  const record = await answer.json().catch(() => null);
  if (answer.status === 403 && path === "summary") {
    throw new Error("You are logged out: open the address that t2notebook dash has printed");
  }
  if (!answer.ok || !record) throw new Error(record?.message || `it answers HTTP ${answer.status}`);
  return record;
}

/** @param {unknown} [error] */
function tell(error) {
  setText(byId("trouble"), error instanceof Error ? error.message : "");
  setShown(byId("trouble"), Boolean(error));
}

/** A job's row. */
class Item {
  /** @param {string} jobId */
  constructor(jobId) {
    this.node = element("tr");
    this.node.dataset.jobId = jobId;
    this.cells = Array.from({ length: 8 }, (_, at) => element("td", at === 4 ? "figure" : at === 6 ? "message" : ""));
    this.node.append(...this.cells);
    this.chip = element("span", "chip");
    this.cells[0].append(this.chip);
    this.name = element("button", "link");
    this.name.type = "button";
    this.name.title = jobId;
    this.name.addEventListener("click", () => open(jobId));
    this.cells[1].append(this.name);
    this.bar = element("span", "bar");
    this.fill = element("span");
    this.bar.append(this.fill);
    this.percent = element("span");
    this.cells[3].append(this.bar, this.percent);
    this.kill = new KillButton(async () => {
      try {
        await ask(`jobs/${jobId}/kill`, {});
        tell();
      } catch (error) {
        tell(error);
      }
      this.kill.enter("idle");
    }, ENGLISH, "");
    this.cells[7].append(this.kill.node);
    /** @type {JobRow | null} */
    this.row = null;
  }

  /** @param {JobRow} row */
  set(row) {
    if (row === this.row) return;
    this.row = row;
    setText(this.chip, stateText(row));
    this.chip.dataset.tone = tone(row);
    setText(this.name, row.name);
    const parts = [isActive(row) ? `${row.running} of ${row.workers} running` : String(row.workers)];
    if (row.failed_workers) parts.push(`${row.failed_workers} failed`);
    setText(this.cells[2], parts.join(", "));
    const done = Math.min(1, Math.max(0, row.progress));
    this.fill.style.width = `${100 * done}%`;
    setText(this.percent, percent(done));
    setText(this.cells[5], row.notebook.split("/").pop() ?? "");
    this.cells[5].title = row.notebook;
    setText(this.cells[6], row.state === "COMPLETED" ? "" : (row.message ?? ""));
    setShown(this.kill.node, !hasEnded(row));
    this.tick(Date.now() / 1000);
  }

  /** @param {number} now */
  tick(now) {
    const { row } = this;
    const seconds = row ? elapsed(row, now) : null;
    setText(this.cells[4], seconds === null ? "" : row?.finished ? span(seconds) : duration(seconds));
  }
}

/** The view of one job. */
class Details {
  /** @param {string} jobId */
  constructor(jobId) {
    this.jobId = jobId;
    this.node = byId("details");
    const close = element("button", "close", "Close");
    close.type = "button";
    close.addEventListener("click", () => this.close());
    const place = element("div");
    this.source = new StreamSource(jobId, server);
    this.node.replaceChildren(close, place);
    this.leave = view.render({ model: this.source, el: place });
    this.node.hidden = false;
  }

  close() {
    this.leave();
    this.source.dispose();
    this.node.replaceChildren();
    this.node.hidden = true;
    opened = null;
  }
}

const store = new JobStore();
/** @type {Map<string, Item>} */
let items = new Map();
/** @type {Details | null} */
let opened = null;
let failures = 0;

function draw() {
  const shown = store.ordered(filter.value);
  const next = new Map();
  for (const row of shown.slice(0, MOST)) {
    const item = items.get(row.job_id) ?? new Item(row.job_id);
    item.set(row);
    next.set(row.job_id, item);
  }
  items = next;
  setChildren(byId("jobs"), [...next.values()].map((item) => item.node));
  const active = store.count(isActive);
  const more = shown.length > MOST ? `; the newest ${MOST} are shown` : "";
  const none = store.isComplete ? "No jobs yet." : "Looking for jobs…";
  setText(byId("summary"), store.rows.size ? `${counted(shown.length, "job")}, ${active} running${more}` : none);
  if (opened && !store.rows.has(opened.jobId)) opened.close();
}

/** @param {string} jobId */
function open(jobId) {
  opened?.close();
  opened = new Details(jobId);
  opened.node.scrollIntoView({ block: "nearest" });
}

function connect() {
  const url = new URL(`${base}t2notebook/api/stream`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    if (failures) tell();
    failures = 0;
    store.apply(JSON.parse(data));
    draw();
  };
  socket.onclose = () => {
    tell(new Error("The connection is broken; trying again…"));
    if (failures) ask("summary").catch(tell); // a WebSocket does not say why it failed; a request does
    setTimeout(connect, Math.min(10000, 500 * 2 ** failures++));
  };
}

filter.addEventListener("input", draw);
byId("clear").addEventListener("click", () => ask("clear", {}).catch(tell));
setInterval(() => {
  for (const item of items.values()) if (item.row && isActive(item.row)) item.tick(Date.now() / 1000);
}, 1000);
connect();
