// The view of a job: a head, what is to be said of it, its workers as a table, as a timeline and by agent, and what they
// write. Texts come with the data where it is more than a number, so that this and the static HTML cannot differ.

import { AgentSums, sumsOf } from "./agent_sums.js";
import { AgentsView } from "./agents_view.js";
import { button, element, setShown, setText } from "./dom.js";
import { clock, grouped } from "./format.js";
import { JobHeader } from "./job_header.js";
import { Lifeline } from "./lifeline.js";
import { LogView } from "./log_view.js";
import { Callout, Failures, WhyPanel } from "./notes.js";
import { cover, watchSight } from "./place.js";
import { Tabs } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { VirtualTable } from "./virtual_table.js";
import { ENGLISH } from "./words.js";
import { workerColumns, Workers } from "./workers.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Snapshot} Snapshot */

const TICK_MS = 250;

export class JobPanel {
  /**
   * @param {Source} model
   * @param {HTMLElement} el
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(model, el, trans = ENGLISH) {
    this.model = model;
    this.trans = trans;
    this.root = element("section", "t2-job");
    this.header = new JobHeader(model, { onLogs: () => this.showLogs(), onWhy: () => this.askWhy() }, trans);
    this.gone = element("div", "t2-callout t2-gone");
    this.gone.setAttribute("role", "status");
    this.waiting = new Callout(trans.__("Waiting"), "waiting");
    this.lost = new Callout(trans.__("Lost"), "bad");
    this.reason = new Callout(trans.__("Why"), "bad");
    this.advice = new Callout(trans.__("Resources"), "ended");
    this.why = new WhyPanel(trans);
    this.failures = new Failures(trans);
    this.table = new VirtualTable(
      trans.__("Workers"),
      workerColumns(trans),
      (id) => trans.__("Output of worker %1", id),
      (id) => this.open(this.log.worker === id ? null : id),
    );
    this.timeline = new Timeline((id) => this.open(this.log.worker === id ? null : id), trans);
    this.agents = new AgentsView((index) => this.listAgent(index), trans);
    this.log = new LogView((id) => this.open(id), trans);
    this.filter = element("div", "t2-muted t2-filter");
    this.filterText = element("span");
    this.filter.append(this.filterText, button("t2-link", trans.__("show all"), () => this.listAgent(null)));
    this.hidden = element("div", "t2-muted");
    const workers = element("div");
    workers.append(this.filter, this.table.node, this.hidden);
    const [timeline, agents] = [element("div"), element("div")];
    timeline.append(this.timeline.node);
    agents.append(this.agents.node);
    this.tabs = new Tabs(
      trans.__("Workers"),
      [
        ["workers", trans.__("Workers"), workers],
        ["timeline", trans.__("Timeline"), timeline],
        ["agents", trans.__("Agents"), agents],
      ],
      () => {
        this.hasChosen = true;
        this.drawPage();
      },
    );
    this.pages = element("div", "t2-pages");
    this.pages.append(this.tabs.node, workers, timeline, agents);
    const notes = [this.waiting, this.lost, this.reason, this.advice].map(({ node }) => node);
    this.root.append(
      this.header.line,
      this.header.facts,
      this.header.failed,
      this.gone,
      ...notes,
      this.why.node,
      this.failures.node,
      this.pages,
      this.log.node,
    );
    el.append(this.root);
    this.hasChosen = false;
    this.received = performance.now();
    /** @type {Snapshot} */
    this.snapshot = model.get("snapshot");
    this.workers = this.makeWorkers(0);
    /** @type {AgentSums | null} */
    this.sums = null;
    /** @type {string | null} Text of the agent whose workers are shown alone. */
    this.agent = null;
    this.lifeline = new Lifeline(model, () => this.drawLife());
    const hear = () => this.lifeline.hear();
    const drawLog = () => this.drawLog();
    /** @type {[string, () => void][]} */
    this.listeners = [
      ["change:snapshot", () => this.draw()],
      ["change:table", () => this.drawSoon()],
      ["change:grid", () => this.drawSoon()],
      ["change:agents", () => this.drawSoon()],
      ["change:output", drawLog],
      ["change:log", drawLog],
      ["change:why", () => this.why.set(model.get("why"))],
      .../** @type {[string, () => void][]} */ (
        ["snapshot", "table", "output", "beat"].map((name) => [`change:${name}`, hear])
      ),
      // Not documented; where it never comes, silence tells later.
      ["comm_live_update", () => this.lifeline.cutOff()],
    ];
    for (const [name, listener] of this.listeners) model.on(name, listener);
    const uncover = cover(model.get("beside") ?? "");
    const unwatch = watchSight(this.root, model, (isShown) => {
      this.isSeen = isShown;
    });
    this.leave = () => {
      unwatch();
      uncover();
    };
    this.isSeen = true;
    this.giver = "";
    this.isDue = false;
    this.draw();
    this.drawLog();
    this.drawLife();
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  /** @param {number} ahead Seconds since the data came. */
  makeWorkers(ahead) {
    const { submitted, finished, now, final, each } = this.snapshot;
    const until = final ? (finished ?? now) : now + ahead;
    const table = this.model.get("table") ?? {};
    return new Workers(table, submitted === null ? 0 : Math.max(0, until - submitted), submitted, Boolean(each), this.trans);
  }

  /** One drawing for all that comes at once. */
  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    queueMicrotask(() => {
      if (this.isDue) this.drawWorkers(0);
    });
  }

  draw() {
    const via = this.model.get("via");
    const { state } = this.snapshot;
    this.snapshot = this.model.get("snapshot");
    this.received = performance.now();
    const { snapshot } = this;
    this.header.draw(snapshot);
    this.waiting.set(snapshot.waiting_for);
    this.lost.set(snapshot.lost);
    this.reason.set(snapshot.reason, snapshot.tone === "bad" ? "bad" : "ended");
    this.advice.set(snapshot.advice ? `${snapshot.advice}.` : "");
    this.failures.set(snapshot.failures ?? []);
    this.log.setWorkers(snapshot.workers);
    this.root.setAttribute("aria-label", this.trans.__("Job %1", snapshot.name));
    if (snapshot.state !== state && !this.why.node.hidden) this.model.send({ kind: "why" });
    const giver = `${via} ${snapshot.live}`;
    if (giver !== this.giver) {
      this.giver = giver;
      this.drawLife();
    }
    this.drawSoon();
  }

  /** @param {number} ahead */
  drawWorkers(ahead) {
    this.isDue = false;
    this.workers = this.makeWorkers(ahead);
    const { workers, trans } = this;
    const grid = this.model.get("grid") ?? {};
    const names = this.model.get("agents") ?? [];
    this.sums = grid.states ? new AgentSums(names, grid.states, grid.counts ?? [], grid.waiting) : sumsOf(workers);
    const isPart = Boolean(workers.table.hidden);
    setShown(this.pages, workers.length > 0);
    this.tabs.set("workers", isPart ? trans.__("Workers") : trans.__("Workers (%1)", grouped(workers.length)), true);
    this.tabs.set("timeline", trans.__("Timeline"), workers.length > 0);
    this.tabs.set("agents", trans.__("Agents (%1)", grouped(this.sums.length)), this.sums.length > 0 && workers.length > 1);
    // Where not all workers have a row, the sums say more.
    if (isPart && !this.hasChosen && this.sums.length) {
      this.tabs.open("agents");
      this.hasChosen = true;
    }
    setText(this.hidden, workers.table.hidden ?? "");
    setShown(this.hidden, isPart);
    this.drawPage();
  }

  /** Draw what is seen; the others are drawn when they are. */
  drawPage() {
    const rows = this.agent === null ? this.workers : this.workers.on(this.agent);
    setShown(this.filter, this.agent !== null);
    if (this.agent !== null) {
      const count = rows.order(null).length;
      const { trans } = this;
      const text = this.workers.table.hidden
        ? trans._n("%2 of the workers that have a row here is on %3:", "%2 of the workers that have a row here are on %3:", count, grouped(count), this.agent)
        : trans._n("%2 of the workers is on %3:", "%2 of the workers are on %3:", count, grouped(count), this.agent);
      setText(this.filterText, `${text} `);
    }
    if (this.tabs.current === "workers") this.table.draw(rows);
    else if (this.tabs.current === "timeline") {
      const sort = this.table.sort;
      this.timeline.draw(this.workers, rows.order(sort && this.workers.filled().has(sort.key) ? sort : null));
    } else if (this.sums) this.agents.draw(this.sums, this.model.get("grid")?.hidden ?? 0);
  }

  /** @param {number | null} index */
  listAgent(index) {
    this.agent = index === null ? null : (this.sums?.names[index] ?? null);
    this.tabs.open("workers");
    this.drawPage();
  }

  drawLog() {
    this.log.content.take(this.model.get("output") ?? {});
    this.log.content.takeLog(this.model.get("log"));
    this.log.draw();
  }

  /** @param {number | null} worker */
  open(worker) {
    this.log.open(worker);
    this.table.select(worker);
    this.timeline.select(worker);
    if (this.lifeline.state !== "gone") this.model.send({ kind: "open", worker_id: worker });
  }

  showLogs() {
    this.log.isWanted = true;
    this.log.draw();
    this.log.node.scrollIntoView({ block: "nearest" });
    this.log.lines.focus({ preventScroll: true });
  }

  askWhy() {
    const isShown = this.why.node.hidden;
    setShown(this.why.node, isShown);
    this.header.why.setAttribute("aria-expanded", String(isShown));
    if (!isShown) return;
    this.why.set(undefined);
    this.model.send({ kind: "why" });
  }

  drawLife() {
    const { heardAt } = this.lifeline;
    // Of a job that has ended nothing more is to be heard.
    const state = this.snapshot.live ? this.lifeline.state : "live";
    const isGone = state === "gone";
    const isRelayed = this.model.get("via") === "server";
    this.root.dataset.life = state;
    this.header.setGone(isGone);
    const isKernels = Boolean(this.model.get("beside"));
    const isTold = state !== "live" || (isRelayed && isKernels && this.snapshot.live);
    setShown(this.gone, isTold);
    if (!isTold) return;
    const when = clock(Date.now() / 1000 - (performance.now() - heardAt) / 1000);
    const { trans } = this;
    const text = isGone
      ? trans.__("This kernel is gone (restarted or shut down): what you see is as of %1. Go on with the job:", when)
      : state !== "silent"
        ? trans.__("its kernel is busy or gone; the Jupyter server tells what the job does. In another kernel:")
        : isRelayed
          ? trans.__("Nothing was heard from the Jupyter server since %1: it is away. In another kernel:", when)
          : trans.__("Nothing was heard from the kernel since %1: it is busy, or was restarted. In another kernel:", when);
    const title = state === "live" ? trans.__("Live, but") : trans.__("Not live:");
    const command = element("code", "t2-command", `%twister2 attach ${this.snapshot.job_id}`);
    this.gone.replaceChildren(element("strong", "", title), document.createTextNode(` ${text} `), command);
  }

  tick() {
    if (!this.snapshot.live) return;
    this.lifeline.tick();
    if (this.lifeline.state !== "live") return;
    const ahead = (performance.now() - this.received) / 1000;
    this.header.tick(ahead);
    if (!this.workers.length || !this.isSeen) return;
    this.workers.now = this.makeWorkers(ahead).now;
    if (this.tabs.current === "workers") this.table.redraw();
    else if (this.tabs.current === "timeline") this.timeline.draw(this.workers, this.timeline.order);
  }

  dispose() {
    clearInterval(this.timer);
    this.isDue = false;
    this.leave();
    for (const part of [this.header, this.table, this.timeline, this.agents]) part.dispose();
    for (const [name, listener] of this.listeners) this.model.off(name, listener);
    this.root.remove();
  }
}
