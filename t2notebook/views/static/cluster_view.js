// The cluster as its master's page has it: agents, resources, tasks by state, the newest tasks.

import { AgentGrid } from "./agent_grid.js";
import { element, setShown, setText } from "./dom.js";
import { clock } from "./format.js";
import { cover, watchSight } from "./place.js";
import { Pulse } from "./pulse.js";

/** @typedef {import("./source.js").Source} Source */
/** @typedef {{name: string, total: number, allocated: number, offered: number, idle: number}} Resource */
/** @typedef {Record<string, any>} ClusterTask */

const PARTS = /** @type {const} */ (["total", "allocated", "offered", "idle"]);
/** @type {Record<string, string>} */
const RESOURCE_NAMES = { cpus: "CPUs", gpus: "GPUs", mem: "Memory", disk: "Disk" };
const TASK_COLUMNS = [
  ["task", "Task"],
  ["name", "Name"],
  ["role", "Role"],
  ["state", "State"],
  ["started", "Started"],
  ["stopped", "Stopped"],
  ["host", "Host"],
];
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
  constructor() {
    this.node = element("table", "t2-resources");
    this.body = headed(this.node, ["Resource", "Use", "Total", "Allocated", "Offered", "Idle"]);
  }

  /** @param {Resource[]} resources */
  draw(resources) {
    this.body.replaceChildren(
      ...resources
        .filter(({ name, total }) => total || name !== "gpus")
        .map((one) => {
          const row = element("tr");
          const name = element("th", "", RESOURCE_NAMES[one.name] ?? one.name);
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
   */
  constructor(title, isOpen) {
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
    const columns = TASK_COLUMNS.filter(([name]) => tasks.some((task) => task[name]));
    const body = headed(this.table, columns.map(([, heading]) => heading));
    body.append(
      ...tasks.map((task) => {
        const row = element("tr");
        for (const [name] of columns) {
          const value = task[name];
          const isTime = name === "started" || name === "stopped";
          const cell = element("td", "", isTime ? (value ? clock(value) : "") : value);
          cell.title = name === "task" ? `${value}, framework ${task.framework}` : String(value ?? "");
          row.append(cell);
        }
        return row;
      }),
    );
  }
}

/** @param {{model: Source, el: HTMLElement}} place */
function render({ model, el }) {
  const root = element("section", "t2-form t2-cluster");
  root.setAttribute("aria-label", "The Mesos cluster");
  const head = element("div", "t2-cluster-head");
  const name = element("strong");
  const agents = element("span");
  const version = element("span", "t2-muted");
  head.append(name, agents, version);
  const trouble = element("div", "t2-cluster-trouble");
  trouble.setAttribute("role", "status");
  const counts = element("ul", "t2-counts-list");
  counts.setAttribute("aria-label", "Tasks by state");
  const resources = new ResourceTable();
  const grid = new AgentGrid();
  const tables = {
    active: new TaskTable("Active tasks", true),
    unreachable: new TaskTable("Unreachable tasks", true),
    completed: new TaskTable("Completed tasks", false),
  };
  const body = element("div", "t2-form-body");
  const left = element("div", "t2-form-fields");
  left.append(resources.node, counts);
  const right = element("div", "t2-form-cluster");
  right.append(grid.node);
  body.append(left, right);
  root.append(head, trouble, body, ...Object.values(tables).map((table) => table.node));
  el.append(root);

  /** @type {Pulse | null} */
  let pulse = null;
  const drawLife = () => {
    const text = model.get("state").trouble;
    const why = pulse?.isStale ? pulse.text : text ? `Not live: ${text}` : "";
    setText(trouble, why);
    setShown(trouble, Boolean(why));
    root.dataset.stale = String(Boolean(why));
  };

  const draw = () => {
    const { page } = model.get("state");
    setText(name, `Mesos master ${page.master}`);
    const parts = [`${page.agents.active} agent${page.agents.active === 1 ? "" : "s"}`];
    for (const state of ["inactive", "unreachable"]) {
      if (page.agents[state]) parts.push(`${page.agents[state]} ${state}`);
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
          item.append(element("strong", "", String(count)), document.createTextNode(` ${state}`));
          return item;
        }),
    );
    grid.draw(page.hosts, { cpus: 0, ram: 0 });
    for (const [kind, table] of Object.entries(tables)) table.draw(page[kind]);
  };

  const heart = (pulse = new Pulse(drawLife));
  const beat = () => heart.beat();
  model.on("change:state", draw);
  model.on("change:beat", beat);
  const uncover = cover(model.get("beside"));
  const unwatch = watchSight(root, model, (isShown) => {
    heart.isPaused = !isShown;
    if (isShown) heart.begin();
  });
  model.send({ kind: "show", is_shown: true });
  draw();
  return () => {
    heart.dispose();
    model.off("change:state", draw);
    model.off("change:beat", beat);
    model.send({ kind: "show", is_shown: false });
    unwatch();
    uncover();
  };
}

export default { render };
