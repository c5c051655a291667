// Agents with what of them is used and planned: a box each, or a cell each where there are many.

import { element, setChildren, setText } from "./dom.js";
import { amount } from "./format.js";
import { ENGLISH } from "./words.js";

/** @typedef {{cpus: number, mem: number}} Amounts */
/**
 * @typedef {object} PlannedAgent
 * @property {string} agent
 * @property {string} host
 * @property {Amounts} total
 * @property {Amounts} used
 * @property {number} planned Workers that would start there now.
 * @property {number} waiting Those that would when something has ended.
 */

const MANY = 24;

/**
 * @param {number} part
 * @param {number} whole
 */
function share(part, whole) {
  return whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0;
}

/** @param {number} value MiB. */
function gibibytes(value) {
  return value < 1024 ? `${Math.round(value)} MiB` : `${amount(value / 1024)} GiB`;
}

/** One resource of an agent: used by others, planned, free. */
class Meter {
  /** @param {string} label */
  constructor(label) {
    this.node = element("div", "t2-meter");
    this.label = element("span", "t2-meter-label", label);
    const track = element("span", "t2-meter-track");
    this.used = element("span", "t2-meter-used");
    this.planned = element("span", "t2-meter-planned");
    this.waiting = element("span", "t2-meter-waiting");
    track.append(this.used, this.planned, this.waiting);
    this.text = element("span", "t2-meter-text");
    this.node.append(this.label, track, this.text);
  }

  /**
   * @param {number} used
   * @param {number} planned
   * @param {number} waiting
   * @param {number} total
   * @param {string} text
   */
  set(used, planned, waiting, total, text) {
    // What is to wait takes the place of what is used now.
    const waits = share(waiting, total);
    const uses = Math.max(0, share(used, total) - waits);
    this.used.style.width = `${100 * uses}%`;
    this.planned.style.width = `${100 * Math.min(1 - uses - waits, share(planned, total))}%`;
    this.waiting.style.width = `${100 * waits}%`;
    setText(this.text, text);
  }
}

class AgentBox {
  /** @param {import("./words.js").Catalogue} trans */
  constructor(trans) {
    this.trans = trans;
    this.node = element("li", "t2-agent");
    this.head = element("div", "t2-agent-head");
    this.name = element("strong", "t2-agent-name");
    this.count = element("span", "t2-agent-count");
    this.head.append(this.name, this.count);
    this.cpus = new Meter(trans.__("cpus"));
    this.mem = new Meter(trans.__("mem"));
    this.node.append(this.head, this.cpus.node, this.mem.node);
  }

  /**
   * @param {PlannedAgent} agent
   * @param {string} name
   * @param {{cpus: number, ram: number}} each
   */
  set(agent, name, each) {
    setText(this.name, name);
    const { trans } = this;
    const words = [];
    if (agent.planned) words.push(`+${agent.planned}`);
    if (agent.waiting) words.push(trans.__("+%1 later", agent.waiting));
    setText(this.count, words.join(", "));
    const { total, used, planned, waiting } = agent;
    this.cpus.set(
      used.cpus, planned * each.cpus, waiting * each.cpus, total.cpus,
      `${amount(used.cpus)}/${amount(total.cpus)}`,
    );
    this.mem.set(
      used.mem, planned * each.ram, waiting * each.ram, total.mem,
      total.mem < 1024
        ? `${Math.round(used.mem)}/${Math.round(total.mem)} MiB`
        : `${amount(used.mem / 1024)}/${amount(total.mem / 1024)} GiB`,
    );
    this.node.dataset.planned = planned ? "now" : waiting ? "later" : "";
    const text = [
      trans.__(
        "%1: %2 of %3 cpus and %4 of %5 used",
        name, amount(used.cpus), amount(total.cpus), gibibytes(used.mem), gibibytes(total.mem),
      ),
      ...(planned ? [trans._n("%1 of these workers starts here", "%1 of these workers start here", planned)] : []),
      ...(waiting ? [trans.__("%1 more when something has ended", waiting)] : []),
    ].join("; ");
    this.node.title = text;
    this.node.setAttribute("aria-label", text);
  }
}

/**
 * The agents' names: their hosts, with the end of the id where several are on one host.
 * @param {PlannedAgent[]} agents
 */
function agentNames(agents) {
  const counts = new Map();
  for (const { host } of agents) counts.set(host, (counts.get(host) ?? 0) + 1);
  return agents.map(({ host, agent }) => ((counts.get(host) ?? 0) > 1 ? `${host} ${agent.split("-").pop()}` : host));
}

export class AgentGrid {
  /** @param {import("./words.js").Catalogue} [trans] */
  constructor(trans = ENGLISH) {
    this.trans = trans;
    this.node = element("ul", "t2-agents");
    this.node.setAttribute("aria-label", trans.__("Agents"));
    /** @type {Map<string, AgentBox>} */
    this.boxes = new Map();
  }

  /**
   * @param {PlannedAgent[]} agents
   * @param {{cpus: number, ram: number}} each Size of a planned worker; `ram` in MiB.
   */
  draw(agents, each) {
    const names = agentNames(agents);
    const next = new Map();
    agents.forEach((agent, at) => {
      const box = this.boxes.get(agent.agent) ?? new AgentBox(this.trans);
      box.set(agent, names[at], each);
      next.set(agent.agent, box);
    });
    setChildren(this.node, [...next.values()].map((box) => box.node));
    this.boxes = next;
    this.node.classList.toggle("t2-many", agents.length > MANY);
    this.node.tabIndex = agents.length > MANY ? 0 : -1;
  }
}
