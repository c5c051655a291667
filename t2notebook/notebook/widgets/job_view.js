// The live view of a job. Python sends one snapshot (snapshot.py); texts come from there, so that this view
// and the static HTML cannot differ. Only times that run are counted on here, by the rule of `duration`.

const ARMED_MS = 4000;
const ANSWER_MS = 3000;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setShown(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} m ${two(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} m`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

function cellText(row, key) {
  const text = row.text[key];
  if (text !== undefined) return text;
  const value = row[key];
  return value === null || value === undefined ? "" : String(value);
}

class Bar {
  constructor(label) {
    this.node = element("span", "t2-bar");
    this.node.setAttribute("role", "progressbar");
    this.node.setAttribute("aria-label", label);
    this.node.setAttribute("aria-valuemin", "0");
    this.node.setAttribute("aria-valuemax", "100");
    this.fill = element("span", "t2-bar-fill");
    this.node.append(this.fill);
  }

  set(fraction, tone) {
    const percent = Math.round(100 * (fraction ?? 0));
    this.node.setAttribute("aria-valuenow", String(percent));
    this.fill.style.width = `${percent}%`;
    this.fill.dataset.tone = tone;
  }
}

class Row {
  constructor(columns, workerId) {
    this.node = element("tr");
    this.cells = {};
    for (const { key, numeric } of columns) {
      const cell = element(key === "worker_id" ? "th" : "td", `t2-${key}${numeric ? " t2-number" : ""}`);
      if (key === "worker_id") cell.scope = "row";
      this.cells[key] = cell;
      this.node.append(cell);
    }
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
    this.cells.state.title = row.reason ?? "";
  }

  tick(ahead) {
    if (this.row?.ticking && this.cells.runtime) {
      setText(this.cells.runtime, duration(this.row.runtime + ahead));
    }
  }
}

// First click arms, a second one within a few seconds kills.
class KillButton {
  constructor(model, onSent) {
    this.node = element("button", "t2-kill", "Kill");
    this.node.type = "button";
    this.model = model;
    this.phase = "idle";
    this.node.addEventListener("click", () => {
      if (this.phase === "idle") this.enter("armed");
      else if (this.phase === "armed") {
        this.enter("sent");
        model.send({ kind: "kill" });
        onSent();
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
  const busy = element("span", "t2-muted", "The kernel is busy: it takes the click when the running cell ends.");
  busy.hidden = true;
  let busyTimer = 0;
  const kill = new KillButton(model, () => {
    busyTimer = setTimeout(() => setShown(busy, !model.get("snapshot").notice), ANSWER_MS);
  });
  line.append(name, chip, counts, element("span", "t2-space"), bar.node, percent, elapsed, kill.node);

  const id = element("div", "t2-muted t2-id");
  const idText = element("span");
  id.append(idText, busy);
  const waiting = element("div", "t2-callout");
  waiting.dataset.tone = "waiting";
  const lost = element("div", "t2-callout");
  lost.dataset.tone = "bad";
  const reason = element("div", "t2-callout");
  const scroll = element("div", "t2-scroll");
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
  root.append(line, id, waiting, lost, reason, scroll, hidden);
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
    setText(chip, current.state);
    chip.dataset.tone = current.tone;
    setText(counts, current.counts_text);
    bar.set(current.progress, current.tone);
    setText(percent, `${Math.round(100 * current.progress)} %`);
    setText(elapsed, current.elapsed_text);
    setText(idText, current.job_id + (current.notice ? ` · ${current.notice}` : ""));
    if (current.notice) setShown(busy, false);
    callout(waiting, "Waiting", current.waiting_for);
    callout(lost, "Lost", current.lost);
    reason.dataset.tone = current.tone;
    callout(reason, "Why", current.reason);
    setText(hidden, current.hidden);
    if (!current.live) {
      kill.enter("ended");
      setShown(busy, false);
    } else if (kill.phase === "sent" && current.notice?.startsWith("It could not")) kill.enter("idle");

    const filled = new Set(current.columns);
    for (const [key, cell] of Object.entries(headings)) setShown(cell, filled.has(key));
    const next = new Map();
    for (const row of current.rows) {
      const shown = rows.get(row.worker_id) ?? new Row(columns, row.worker_id);
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

  const tick = () => {
    if (!current?.live) return;
    const ahead = (performance.now() - received) / 1000;
    setText(elapsed, duration(current.elapsed + ahead));
    for (const row of rows.values()) row.tick(ahead);
  };

  model.on("change:snapshot", draw);
  draw();
  const ticker = setInterval(tick, 250);
  return () => {
    clearInterval(ticker);
    clearTimeout(busyTimer);
    kill.dispose();
    model.off("change:snapshot", draw);
  };
}

export default { render };
