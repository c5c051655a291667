// The button that ends a job: the first click arms it, a second one within a few seconds kills.

import { element, setData, setText } from "./dom.js";
import { ENGLISH } from "./words.js";

const ARMED_MS = 4000;

/** @typedef {"idle" | "armed" | "sent" | "ended"} KillPhase */

export class KillButton {
  /**
   * @param {() => void} onKill
   * @param {import("./words.js").Catalogue} [trans]
   * @param {string} [className]
   */
  constructor(onKill, trans = ENGLISH, className = "t2-kill") {
    this.trans = trans;
    this.node = element("button", className);
    this.node.type = "button";
    /** @type {KillPhase} */
    this.phase = "idle";
    this.timer = 0;
    this.node.addEventListener("click", () => {
      if (this.phase === "idle") this.enter("armed");
      else if (this.phase === "armed") {
        this.enter("sent");
        onKill();
      }
    });
    this.node.addEventListener("blur", () => this.phase === "armed" && this.enter("idle"));
    this.enter("idle");
  }

  /** @param {KillPhase} phase */
  enter(phase) {
    clearTimeout(this.timer);
    this.phase = phase;
    setData(this.node, "phase", phase);
    this.node.disabled = phase === "sent" || phase === "ended";
    const { trans } = this;
    setText(this.node, phase === "armed" ? trans.__("Kill?") : phase === "sent" ? trans.__("Killing…") : trans.__("Kill"));
    this.node.title =
      phase === "armed" ? trans.__("Click again to kill the job") : trans.__("Kill the job: all of its workers");
    if (phase === "armed") this.timer = window.setTimeout(() => this.enter("idle"), ARMED_MS);
  }

  dispose() {
    clearTimeout(this.timer);
  }
}
