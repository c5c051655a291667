// A job's workers by agent: a cell for each agent, and a table of the sums.

import { AgentMap } from "./agent_map.js";
import { agentColumns } from "./agent_sums.js";
import { element, setShown, setText } from "./dom.js";
import { grouped } from "./format.js";
import { VirtualTable } from "./virtual_table.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./agent_sums.js").AgentSums} AgentSums */

export class AgentsView {
  /**
   * @param {(agent: number) => void} onOpen Called with the index of the agent whose workers are wanted.
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(onOpen, trans = ENGLISH) {
    this.trans = trans;
    this.node = element("div", "t2-by-agent");
    this.map = new AgentMap((index) => onOpen(index), trans);
    /** @type {AgentSums | null} */
    this.sums = null;
    const nameOf = (/** @type {number} */ index) => trans.__("Workers on %1", this.sums?.names[index]);
    this.table = new VirtualTable(trans.__("Workers by agent"), agentColumns(trans), nameOf, onOpen);
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
    const { trans } = this;
    const { waiting } = sums;
    if (waiting) notes.push(trans._n("%2 worker on no agent yet", "%2 workers on no agent yet", waiting, grouped(waiting)));
    if (hidden) notes.push(trans._n("%2 agent more", "%2 agents more", hidden, grouped(hidden)));
    setText(this.note, notes.join("; "));
    setShown(this.note, notes.length > 0);
  }

  dispose() {
    this.map.dispose();
    this.table.dispose();
  }
}
