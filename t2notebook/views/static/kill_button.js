// The button that ends a job: the first click arms it, a second one within a few seconds kills.

import { element, setData, setText } from "./dom.js";

const ARMED_MS = 4000;

/** @typedef {"idle" | "armed" | "sent" | "ended"} KillPhase */

export class KillButton {
  /**
   * @param {() => void} onKill
   * @param {string} [className]
   */
  constructor(onKill, className = "t2-kill") {
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
    setText(this.node, phase === "armed" ? "Kill?" : phase === "sent" ? "Killing…" : "Kill");
    this.node.title = phase === "armed" ? "Click again to kill the job" : "Kill the job: all of its workers";
    if (phase === "armed") this.timer = window.setTimeout(() => this.enter("idle"), ARMED_MS);
  }

  dispose() {
    clearTimeout(this.timer);
  }
}
