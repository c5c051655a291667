// The live view of a job. Python sends one snapshot (snapshot.py); texts come from there, so that this view
// and the static HTML cannot differ. Only times that run are counted on here, by the rule of `duration`, and times of
// day are those of the browser.

import { Bar, clock, cover, duration, element, setShown, setText, watchSight } from "./dom.js";
import { askServer, jupyterServer } from "./server.js";

const ARMED_MS = 4000;
const ANSWER_MS = 3000;
// A server that takes a job over from a session that was lost starts another session first.
const KILL_MS = 20000;
// The kernel sends something every 2 s (publisher.py). After so much silence the server is asked whether there is a
// kernel, and how often; and after so much more the view says itself that it may be out of date.
const QUIET_MS = 5000;
const ASK_MS = 5000;
const SILENT_MS = 30000;
// Lines that are kept of each worker, so that its log opens at once also while the kernel is busy.
const KEPT_LINES = 200;

function cellText(row, key) {
  if (key === "started" && row.started) return clock(row.started);
  const text = row.text[key];
  if (text !== undefined) return text;
  const value = row[key];
  return value === null || value === undefined ? "" : String(value);
}

class Row {
  constructor(columns, workerId, onOpen) {
    this.node = element("tr");
    this.node.addEventListener("click", () => {
      if (!String(document.getSelection())) onOpen(workerId);
    });
    this.cells = {};
    for (const { key, numeric } of columns) {
      const cell = element(key === "worker_id" ? "th" : "td", `t2-${key}${numeric ? " t2-number" : ""}`);
      if (key === "worker_id") cell.scope = "row";
      this.cells[key] = cell;
      this.node.append(cell);
    }
    this.open = element("button", "t2-open", String(workerId));
    this.open.type = "button";
    this.open.setAttribute("aria-label", `Output of worker ${workerId}`);
    this.cells.worker_id.append(this.open);
    this.cells.worker_id.title = "Click to see what this worker writes";
    this.dot = element("span", "t2-dot");
    this.dot.setAttribute("aria-hidden", "true");
    this.state = element("span");
    this.cells.state.append(this.dot, this.state);
    this.bar = new Bar(`Progress of worker ${workerId}`);
    this.percent = element("span", "t2-percent");
    this.note = element("span", "t2-note-text");
    const done = element("span", "t2-done");
    done.append(this.bar.node, this.percent);
    this.cells.progress.append(done, this.note);
    this.host = element("div", "t2-host-text");
    this.cells.host.append(this.host);
    this.message = element("div", "t2-message-text");
    this.cells.message.append(this.message);
  }

  set(row, shown) {
    this.row = row;
    this.node.dataset.tone = row.tone;
    this.dot.dataset.tone = row.tone;
    for (const key of Object.keys(this.cells)) {
      const text = cellText(row, key);
      setShown(this.cells[key], shown.has(key));
      if (key === "worker_id") continue;
      if (key === "state") setText(this.state, text);
      else if (key === "host") setText(this.host, text);
      else if (key === "progress") {
        setShown(this.bar.node, text !== "");
        this.bar.set(row.progress, row.tone);
        setText(this.percent, text);
        setText(this.note, row.text.note ?? "");
        this.note.title = row.text.note ?? "";
      } else if (key === "message") {
        setText(this.message, text);
        setShown(this.message, text !== "");
        this.message.title = text;
      } else setText(this.cells[key], text);
    }
    this.cells.host.title = row.agent ? `${row.host}, agent ${row.agent}` : "";
    this.cells.started.title = row.started ? new Date(1000 * row.started).toString() : "";
    this.cells.state.title = row.reason ?? "";
  }

  select(isOpen) {
    this.node.classList.toggle("t2-selected", isOpen);
    this.open.setAttribute("aria-pressed", String(isOpen));
  }

  tick(ahead) {
    if (this.row?.ticking && this.cells.runtime) {
      setText(this.cells.runtime, duration(this.row.runtime + ahead));
    }
  }
}

// First click arms, a second one within a few seconds kills: through the Jupyter server, which does not wait for the
// kernel; where there is none that can, the kernel is asked.
class KillButton {
  constructor(model, onKilled, onSent) {
    this.node = element("button", "t2-kill", "Kill");
    this.node.type = "button";
    this.model = model;
    this.phase = "idle";
    this.node.addEventListener("click", () => {
      if (this.phase === "idle") this.enter("armed");
      else if (this.phase === "armed") {
        this.enter("sent");
        killThroughServer(model.get("snapshot").job_id).then((isKilled) => {
          if (isKilled) return onKilled();
          model.send({ kind: "kill" });
          onSent();
        });
      }
    });
    this.node.addEventListener("blur", () => this.phase === "armed" && this.enter("idle"));
  }

  enter(phase) {
    clearTimeout(this.timer);
    this.phase = phase;
    this.node.dataset.phase = phase;
    this.node.disabled = phase === "sent" || phase === "ended";
    setText(this.node, phase === "armed" ? "Kill?" : phase === "sent" ? "Killing…" : "Kill");
    this.node.title = phase === "armed" ? "Click again to kill the job" : "";
    if (phase === "armed") this.timer = setTimeout(() => this.enter("idle"), ARMED_MS);
  }

  dispose() {
    clearTimeout(this.timer);
  }
}

// Whether the kernel that this view belongs to is there: "live", "silent" (which may pass) or "gone".
class Lifeline {
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
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

  // The page has given the view's connection up: the kernel was restarted or has died, or the network is away.
  async cutOff() {
    const heardAt = this.heardAt;
    const answers = await this.ask();
    // What was heard since then came over a new connection.
    if (answers && this.heardAt === heardAt) this.isCutOff = true;
    this.tick();
  }

  tick() {
    const now = performance.now();
    const silence = now - this.heardAt;
    if (silence > QUIET_MS && now - this.askedAt > ASK_MS) this.ask().then(() => this.tick());
    this.enter(this.isCutOff || this.isAbsent ? "gone" : silence > SILENT_MS ? "silent" : "live");
  }

  enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.onChange();
  }

  // Nothing tells a page that its kernel was shut down; the server knows. Returns whether a server answers, or none
  // could be asked.
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

// Whether the server extension has killed a job; false where it is not installed, or cannot reach the job.
async function killThroughServer(jobId) {
  const server = jupyterServer();
  if (!server) return false;
  const signal = AbortSignal.timeout(KILL_MS);
  try {
    const path = `t2notebook/api/jobs/${encodeURIComponent(jobId)}/kill`;
    return (await askServer(server, path, { method: "POST", body: "{}", signal })).ok;
  } catch {
    return false;
  }
}

// The newest lines of all workers, or the log of one.
class Output {
  constructor(onAll) {
    this.node = element("div", "t2-output");
    this.title = element("span", "t2-output-title");
    this.all = element("button", "t2-link", "all workers");
    this.all.type = "button";
    this.all.addEventListener("click", onAll);
    const head = element("div", "t2-output-head t2-muted");
    head.append(this.title, this.all);
    this.lines = element("div", "t2-lines");
    this.lines.tabIndex = 0;
    this.lines.setAttribute("role", "log");
    this.lines.setAttribute("aria-live", "off");
    this.node.append(head, this.lines);
    this.end = 0;
    this.newest = [];
    this.current = [];
    this.kept = new Map();
    this.worker = null;
    this.log = null;
  }

  take(output) {
    const lines = output.lines ?? [];
    const fresh = Math.min(lines.length, (output.end ?? 0) - this.end);
    for (const line of fresh > 0 ? lines.slice(-fresh) : []) {
      const own = this.kept.get(line[0]) ?? [];
      own.push(line);
      if (own.length > KEPT_LINES) own.splice(0, own.length - KEPT_LINES);
      this.kept.set(line[0], own);
    }
    this.end = output.end ?? 0;
    this.newest = lines;
    this.current = output.current ?? [];
  }

  takeLog(log) {
    this.log = log?.lines ? log : null;
  }

  open(worker) {
    this.worker = worker;
    this.draw(true);
  }

  draw(toEnd) {
    const one = this.worker !== null;
    let lines;
    if (!one) lines = [...this.newest, ...this.current];
    else if (this.log?.worker_id === this.worker && this.log.lines.length) {
      lines = this.log.lines.map(([stream, text]) => [this.worker, stream, text]);
    } else {
      const isOwn = (line) => line[0] === this.worker;
      lines = [...(this.kept.get(this.worker) ?? []), ...this.current.filter(isOwn)];
    }
    setShown(this.node, one || lines.length > 0);
    setText(this.title, one ? `Output of worker ${this.worker}` : "Output, the newest lines");
    setShown(this.all, one);
    this.lines.setAttribute("aria-label", this.title.textContent);
    const isAtEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 8;
    const nodes = lines.map(([worker, stream, text]) => {
      const node = element("div", "t2-out");
      node.dataset.stream = stream;
      if (!one) node.append(element("span", "t2-who", String(worker)));
      node.append(element("span", "t2-what", text));
      return node;
    });
    if (one && !nodes.length) nodes.push(element("div", "t2-out t2-muted", "It has written nothing yet."));
    this.lines.replaceChildren(...nodes);
    if (isAtEnd || toEnd) this.lines.scrollTop = this.lines.scrollHeight;
  }
}

function render({ model, el }) {
  const columns = model.get("columns");
  const root = element("section", "t2-job");
  const line = element("div", "t2-line");
  const name = element("strong", "t2-name");
  const chip = element("span", "t2-chip");
  chip.setAttribute("role", "status");
  chip.setAttribute("aria-live", "polite");
  const counts = element("span", "t2-counts");
  const bar = new Bar("Progress of the job");
  bar.node.classList.add("t2-bar-job");
  const percent = element("span", "t2-percent");
  const elapsed = element("span", "t2-elapsed");
  elapsed.title = "since the job was submitted";
  const busy = element("span", "t2-muted");
  busy.hidden = true;
  let busyTimer = 0;
  const tellLater = (text) => () => {
    busyTimer = setTimeout(() => {
      setText(busy, text);
      setShown(busy, current.live && !current.notice);
    }, ANSWER_MS);
  };
  const kill = new KillButton(
    model,
    tellLater("It is killed; the kernel is busy, and this view says so when it has time."),
    tellLater("The kernel is busy: it takes the click when the running cell ends."),
  );
  line.append(name, chip, counts, element("span", "t2-space"), bar.node, percent, elapsed, kill.node);

  const id = element("div", "t2-muted t2-id");
  const idText = element("span");
  id.append(idText, busy);
  const waiting = element("div", "t2-callout");
  waiting.dataset.tone = "waiting";
  const lost = element("div", "t2-callout");
  lost.dataset.tone = "bad";
  const gone = element("div", "t2-callout t2-gone");
  gone.setAttribute("role", "status");
  const failure = element("details", "t2-failure");
  const failureTitle = element("summary");
  const failureText = element("pre");
  failure.append(failureTitle, failureText);
  const reason = element("div", "t2-callout");
  const scroll = element("div", "t2-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Workers");
  const table = element("table", "t2-table");
  const head = element("tr");
  const headings = {};
  for (const { key, heading, numeric } of columns) {
    const cell = element("th", `t2-${key}${numeric ? " t2-number" : ""}`, heading);
    cell.scope = "col";
    headings[key] = cell;
    head.append(cell);
  }
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  table.append(thead, body);
  scroll.append(table);
  const hidden = element("div", "t2-muted");
  const open = (worker) => {
    const next = output.worker === worker ? null : worker;
    output.open(next);
    for (const [id, row] of rows) row.select(id === next);
    if (lifeline.state !== "gone") model.send({ kind: "open", worker_id: next });
  };
  const output = new Output(() => open(output.worker));
  root.append(line, id, gone, waiting, lost, reason, failure, scroll, hidden, output.node);
  el.append(root);

  let rows = new Map();
  let received = 0;
  let current = null;

  const callout = (node, title, text) => {
    setShown(node, text !== "");
    if (node.dataset.text === text) return;
    node.dataset.text = text;
    node.replaceChildren(element("strong", "", `${title}: `), document.createTextNode(text));
  };

  const draw = () => {
    current = model.get("snapshot");
    received = performance.now();
    setText(name, current.name);
    setText(chip, current.chip);
    chip.dataset.tone = current.tone;
    setText(counts, current.counts_text);
    bar.set(current.progress, current.tone);
    setText(percent, `${Math.floor(100 * current.progress)} %`);
    setText(elapsed, current.elapsed_text);
    setText(idText, [current.job_id, current.each, current.notice].filter(Boolean).join(" · "));
    if (current.notice) setShown(busy, false);
    callout(waiting, "Waiting", current.waiting_for);
    callout(lost, "Lost", current.lost);
    reason.dataset.tone = current.tone;
    callout(reason, "Why", current.reason);
    setShown(failure, Boolean(current.failure));
    setText(failureTitle, current.failure?.title ?? "");
    setText(failureText, current.failure?.text ?? "");
    setText(hidden, current.hidden);
    if (!current.live) {
      kill.enter("ended");
      setShown(busy, false);
    } else if (kill.phase === "sent" && current.notice?.startsWith("It could not")) kill.enter("idle");

    const filled = new Set(current.columns);
    for (const [key, cell] of Object.entries(headings)) setShown(cell, filled.has(key));
    const next = new Map();
    for (const row of current.rows) {
      const shown = rows.get(row.worker_id) ?? new Row(columns, row.worker_id, open);
      shown.set(row, filled);
      next.set(row.worker_id, shown);
    }
    const order = [...next.values()].map((row) => row.node);
    if (order.length !== body.children.length || order.some((node, at) => node !== body.children[at])) {
      body.replaceChildren(...order);
    }
    rows = next;
    setShown(scroll, order.length > 0);
    root.setAttribute("aria-label", `Job ${current.name}`);
  };

  const drawOutput = () => {
    output.take(model.get("output"));
    output.takeLog(model.get("log"));
    output.draw(false);
  };

  const drawLife = () => {
    root.dataset.life = lifeline.state;
    setShown(gone, lifeline.state !== "live");
    const isGone = lifeline.state === "gone";
    setShown(kill.node, !isGone);
    if (isGone && kill.phase !== "ended") kill.enter("idle");
    if (isGone) setShown(busy, false);
    if (lifeline.state === "live") return;
    const when = clock(Date.now() / 1000 - (performance.now() - lifeline.heardAt) / 1000);
    const text = isGone
      ? `This kernel is gone (restarted or shut down): what you see is as of ${when}. Go on with the job: `
      : `Nothing was heard from the kernel since ${when}: it is busy, or was restarted. In another one: `;
    const command = element("code", "t2-command", `%twister2 attach ${current.job_id}`);
    gone.replaceChildren(element("strong", "", "Not live: "), document.createTextNode(text), command);
  };

  const lifeline = new Lifeline(model, drawLife);
  const tick = () => {
    if (!current?.live) return;
    lifeline.tick();
    if (lifeline.state !== "live") return;
    const ahead = (performance.now() - received) / 1000;
    setText(elapsed, duration(current.elapsed + ahead));
    for (const row of rows.values()) row.tick(ahead);
  };

  const hear = () => lifeline.hear();
  const cutOff = () => lifeline.cutOff();
  const listeners = [
    ["change:snapshot", draw],
    ["change:output", drawOutput],
    ["change:log", drawOutput],
    ...["change:snapshot", "change:output", "change:beat"].map((name) => [name, hear]),
    // Not documented; where it never comes, silence tells later.
    ["comm_live_update", cutOff],
  ];
  for (const [name, listener] of listeners) model.on(name, listener);
  const uncover = cover(model.get("beside"));
  const unwatch = watchSight(root, model);
  draw();
  drawOutput();
  drawLife();
  const ticker = setInterval(tick, 250);
  return () => {
    clearInterval(ticker);
    clearTimeout(busyTimer);
    kill.dispose();
    unwatch();
    uncover();
    for (const [name, listener] of listeners) model.off(name, listener);
  };
}

export default { render };
