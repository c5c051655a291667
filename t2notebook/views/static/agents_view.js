// A job's workers by agent: a cell for each agent, and a table of the sums.

import { AgentMap } from "./agent_map.js";
import { AGENT_COLUMNS } from "./agent_sums.js";
import { element, setShown, setText } from "./dom.js";
import { counted } from "./format.js";
import { VirtualTable } from "./virtual_table.js";

/** @typedef {import("./agent_sums.js").AgentSums} AgentSums */

export class AgentsView {
  /** @param {(agent: number) => void} onOpen Called with the index of the agent whose workers are wanted. */
  constructor(onOpen) {
    this.node = element("div", "t2-by-agent");
    this.map = new AgentMap((index) => onOpen(index));
    /** @type {AgentSums | null} */
    this.sums = null;
    this.table = new VirtualTable("Workers by agent", AGENT_COLUMNS, (index) => `Workers on ${this.sums?.names[index]}`, onOpen);
    this.note = element("div", "t2-muted");
    this.node.append(this.map.node, this.table.node, this.note);
  }

  /**
   * @param {AgentSums} sums
   * @param {number} hidden Agents that are not among them.
   */
  draw(sums, hidden) {
    this.sums = sums;
    this.map.draw(sums);
    this.table.draw(sums);
    const notes = [];
    if (sums.waiting) notes.push(`${counted(sums.waiting, "worker")} on no agent yet`);
    if (hidden) notes.push(`${counted(hidden, "agent")} more`);
    setText(this.note, notes.join("; "));
    setShown(this.note, notes.length > 0);
  }

  dispose() {
    this.map.dispose();
    this.table.dispose();
  }
}
