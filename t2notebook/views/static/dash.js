// The page of `t2notebook dash`: all jobs, and the view of the one that is opened.

import { element, setChildren, setShown, setText } from "./dom.js";
import { counted, duration, percent } from "./format.js";
import view from "./job_view.js";
import { KillButton } from "./kill_button.js";
import { askServer } from "./server.js";
import { StreamSource } from "./stream_source.js";

/**
 * @typedef {object} JobRow As the server's list has it.
 * @property {string} job_id
 * @property {string} name
 * @property {string} state
 * @property {number} workers
 * @property {number} running
 * @property {number} failed_workers
 * @property {number} progress
 * @property {number | null} submitted
 * @property {number | null} finished
 * @property {string} message
 * @property {string} notebook
 * @property {string} session
 */

const MOST = 300;
const FINAL = new Set(["COMPLETED", "FAILED", "KILLED"]);
/** @type {Record<string, string>} */
const TONE_OF = { COMPLETED: "good", STARTED: "active", KILLED: "ended", FAILED: "bad" };

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

/** @param {JobRow} row */
const isLost = (row) => !FINAL.has(row.state) && row.session !== "living";
/** @param {JobRow} row */
const isActive = (row) => !FINAL.has(row.state) && row.session === "living";
/** @param {JobRow} row */
const rank = (row) => (isActive(row) ? 0 : isLost(row) ? 1 : 2);

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
    }, "");
    this.cells[7].append(this.kill.node);
    /** @type {JobRow | null} */
    this.row = null;
  }

  /** @param {JobRow} row */
  set(row) {
    if (row === this.row) return;
    this.row = row;
    setText(this.chip, isLost(row) ? "LOST" : row.state);
    this.chip.dataset.tone = isLost(row) ? "bad" : (TONE_OF[row.state] ?? "waiting");
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
    setShown(this.kill.node, !FINAL.has(row.state));
    this.tick(Date.now() / 1000);
  }

  /** @param {number} now */
  tick(now) {
    const { row } = this;
    const isKnown = row && row.submitted !== null && !isLost(row);
    setText(this.cells[4], isKnown ? duration((row.finished ?? now) - (row.submitted ?? now)) : "");
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

/** @type {Map<string, JobRow>} */
const jobs = new Map();
/** @type {Map<string, Item>} */
let items = new Map();
/** @type {Details | null} */
let opened = null;
let isComplete = false;
let failures = 0;

function draw() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = [...jobs.values()]
    .filter((row) => {
      const state = isLost(row) ? "lost" : row.state;
      const hay = `${row.name} ${row.job_id} ${state} ${row.notebook} ${row.message}`.toLowerCase();
      return words.every((word) => hay.includes(word));
    })
    .sort((one, other) => rank(one) - rank(other) || (other.submitted ?? 0) - (one.submitted ?? 0));
  const next = new Map();
  for (const row of shown.slice(0, MOST)) {
    const item = items.get(row.job_id) ?? new Item(row.job_id);
    item.set(row);
    next.set(row.job_id, item);
  }
  items = next;
  setChildren(byId("jobs"), [...next.values()].map((item) => item.node));
  const active = [...jobs.values()].filter(isActive).length;
  const more = shown.length > MOST ? `; the newest ${MOST} are shown` : "";
  const none = isComplete ? "No jobs yet." : "Looking for jobs…";
  setText(byId("summary"), jobs.size ? `${counted(shown.length, "job")}, ${active} running${more}` : none);
  if (opened && !jobs.has(opened.jobId)) opened.close();
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
    const change = JSON.parse(data);
    if (change.all) {
      jobs.clear();
      isComplete = false;
    }
    isComplete ||= Boolean(change.complete);
    for (const row of change.jobs ?? []) jobs.set(row.job_id, row);
    for (const jobId of change.gone ?? []) jobs.delete(jobId);
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
