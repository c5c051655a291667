// The cluster as its master's page has it: agents, resources, tasks by state, the newest tasks.

import { AgentGrid } from "./agent_grid.js";
import { element, setShown, setText } from "./dom.js";
import { clock } from "./format.js";
import { Pulse } from "./pulse.js";
import { keepUp } from "./upkeep.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./words.js").Catalogue} Catalogue */
/** @typedef {{name: string, total: number, allocated: number, offered: number, idle: number}} Resource */
/** @typedef {Record<string, any>} ClusterTask */

const PARTS = /** @type {const} */ (["total", "allocated", "offered", "idle"]);
/**
 * @param {Catalogue} trans
 * @returns {Record<string, string>}
 */
const resourceNames = (trans) => (
  { cpus: trans.__("CPUs"), gpus: trans.__("GPUs"), mem: trans.__("Memory"), disk: trans.__("Disk") }
);
/** @param {Catalogue} trans */
const taskColumns = (trans) => [
  ["task", trans.__("Task")],
  ["name", trans.__("Name")],
  ["role", trans.__("Role")],
  ["state", trans.__("State")],
  ["started", trans.__("Started")],
  ["stopped", trans.__("Stopped")],
  ["host", trans.__("Host")],
];
/**
 * Mesos's names of states, as its master's page counts tasks and agents by them.
 * @param {Catalogue} trans
 * @returns {Record<string, string>}
 */
const stateNames = (trans) => ({
  staging: trans.__("staging"),
  starting: trans.__("starting"),
  running: trans.__("running"),
  killing: trans.__("killing"),
  finished: trans.__("finished"),
  killed: trans.__("killed"),
  failed: trans.__("failed"),
  lost: trans.__("lost"),
  inactive: trans.__("inactive"),
  unreachable: trans.__("unreachable"),
});
const BAD = new Set(["failed", "lost", "unreachable"]);

/**
 * @param {string} name
 * @param {number} value
 */
function figure(name, value) {
  if (name !== "mem" && name !== "disk") return String(Math.round(10 * value) / 10);
  const units = ["MiB", "GiB", "TiB"];
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${Math.round(10 * value) / 10} ${units[at]}`;
}

/**
 * @param {HTMLElement} table
 * @param {string[]} names
 */
function headed(table, names) {
  const head = element("tr");
  for (const name of names) {
    const cell = element("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  table.replaceChildren(thead, body);
  return body;
}

class ResourceTable {
  /** @param {Catalogue} trans */
  constructor(trans) {
    this.names = resourceNames(trans);
    this.node = element("table", "t2-resources");
    const parts = [trans.__("Total"), trans.__("Allocated"), trans.__("Offered"), trans.__("Idle")];
    this.body = headed(this.node, [trans.__("Resource"), trans.__("Use"), ...parts]);
  }

  /** @param {Resource[]} resources */
  draw(resources) {
    this.body.replaceChildren(
      ...resources
        .filter(({ name, total }) => total || name !== "gpus")
        .map((one) => {
          const row = element("tr");
          const name = element("th", "", this.names[one.name] ?? one.name);
          name.scope = "row";
          const track = element("span", "t2-meter-track");
          const used = element("span", "t2-meter-used");
          const offered = element("span", "t2-meter-offered");
          used.style.width = `${one.total ? (100 * one.allocated) / one.total : 0}%`;
          offered.style.width = `${one.total ? (100 * one.offered) / one.total : 0}%`;
          track.append(used, offered);
          const bar = element("td", "t2-resource-bar");
          bar.append(track);
          row.append(name, bar, ...PARTS.map((part) => element("td", "t2-figure", figure(one.name, one[part]))));
          return row;
        }),
    );
  }
}

/** The newest tasks of one kind, folded. */
class TaskTable {
  /**
   * @param {string} title
   * @param {boolean} isOpen
   * @param {Catalogue} trans
   */
  constructor(title, isOpen, trans) {
    this.trans = trans;
    this.title = title;
    this.node = element("details", "t2-tasks");
    this.node.open = isOpen;
    this.summary = element("summary");
    this.scroll = element("div", "t2-task-scroll");
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "region");
    this.scroll.setAttribute("aria-label", title);
    this.table = element("table", "t2-task-table");
    this.scroll.append(this.table);
    this.node.append(this.summary, this.scroll);
    this.shown = "";
  }

  /** @param {ClusterTask[]} tasks */
  draw(tasks) {
    setText(this.summary, `${this.title} (${tasks.length})`);
    setShown(this.node, tasks.length > 0);
    const key = JSON.stringify(tasks);
    if (key === this.shown) return;
    this.shown = key;
    const columns = taskColumns(this.trans).filter(([name]) => tasks.some((task) => task[name]));
    const body = headed(this.table, columns.map(([, heading]) => heading));
    body.append(
      ...tasks.map((task) => {
        const row = element("tr");
        for (const [name] of columns) {
          const value = task[name];
          const isTime = name === "started" || name === "stopped";
          const cell = element("td", "", isTime ? (value ? clock(value) : "") : value);
          cell.title = name === "task" ? this.trans.__("%1, framework %2", value, task.framework) : String(value ?? "");
          row.append(cell);
        }
        return row;
      }),
    );
  }
}

/** @param {{model: Source, el: HTMLElement, trans?: Catalogue}} place */
function render({ model, el, trans = ENGLISH }) {
  const root = element("section", "t2-form t2-cluster");
  root.setAttribute("aria-label", trans.__("The Mesos cluster"));
  const head = element("div", "t2-cluster-head");
  const name = element("strong");
  const agents = element("span");
  const version = element("span", "t2-muted");
  head.append(name, agents, version);
  const trouble = element("div", "t2-cluster-trouble");
  trouble.setAttribute("role", "status");
  const counts = element("ul", "t2-counts-list");
  counts.setAttribute("aria-label", trans.__("Tasks by state"));
  const resources = new ResourceTable(trans);
  const grid = new AgentGrid(trans);
  const tables = {
    active: new TaskTable(trans.__("Active tasks"), true, trans),
    unreachable: new TaskTable(trans.__("Unreachable tasks"), true, trans),
    completed: new TaskTable(trans.__("Completed tasks"), false, trans),
  };
  const body = element("div", "t2-form-body");
  const left = element("div", "t2-form-fields");
  left.append(resources.node, counts);
  const right = element("div", "t2-form-cluster");
  right.append(grid.node);
  body.append(left, right);
  root.append(head, trouble, body, ...Object.values(tables).map((table) => table.node));
  el.append(root);

  const states = stateNames(trans);
  const isRelayed = model.get("via") === "server";
  const drawLife = () => {
    const text = model.get("state").trouble;
    const why = pulse.isStale ? pulse.text : text ? trans.__("Not live: %1", text) : "";
    const relayed = isRelayed ? trans.__("Live, but from the Jupyter server: the kernel is busy or gone.") : "";
    setText(trouble, why || relayed);
    trouble.className = why ? "t2-cluster-trouble" : "t2-muted";
    setShown(trouble, Boolean(why) || isRelayed);
    root.dataset.stale = String(Boolean(why));
  };
  const pulse = new Pulse(drawLife, isRelayed, trans);

  const draw = () => {
    const { page } = model.get("state");
    setText(name, trans.__("Mesos master %1", page.master));
    const parts = [trans._n("%1 agent", "%1 agents", page.agents.active)];
    for (const state of ["inactive", "unreachable"]) {
      if (page.agents[state]) parts.push(`${page.agents[state]} ${states[state]}`);
    }
    setText(agents, parts.join(", "));
    setText(version, page.version ? `Mesos ${page.version}` : "");
    drawLife();
    resources.draw(page.resources);
    counts.replaceChildren(
      ...Object.entries(page.tasks)
        .filter(([state, count]) => count || state === "running")
        .map(([state, count]) => {
          const item = element("li", "t2-count");
          if (count && BAD.has(state)) item.dataset.tone = "bad";
          item.append(element("strong", "", String(count)), document.createTextNode(` ${states[state] ?? state}`));
          return item;
        }),
    );
    grid.draw(page.hosts, { cpus: 0, ram: 0 });
    for (const [kind, table] of Object.entries(tables)) table.draw(page[kind]);
  };

  return keepUp(root, model, pulse, draw);
}

export default { render };
