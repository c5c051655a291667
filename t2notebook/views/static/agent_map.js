// A cell for each agent, coloured by what its workers do: thousands fit on a screen, and drawing them costs no layout.

import { element, setTitle } from "./dom.js";
import { grouped } from "./format.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./agent_sums.js").AgentSums} AgentSums */

const GAP = 1;
const MOST_HEIGHT = 220;

/**
 * The size of a cell and how many stand in a row, so that all fit into a box. Pure.
 * @param {number} total
 * @param {number} width
 * @param {number} height
 */
export function mapCells(total, width, height) {
  for (const size of [18, 15, 12, 10, 8, 6, 5, 4, 3]) {
    const across = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
    if (Math.ceil(total / across) * (size + GAP) - GAP <= height || size === 3) return { size, across };
  }
  throw new Error("unreachable");
}

export class AgentMap {
  /**
   * @param {(index: number) => void} onOpen
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(onOpen, trans = ENGLISH) {
    this.trans = trans;
    this.node = element("div", "t2-map");
    this.canvas = element("canvas", "t2-map-canvas");
    this.canvas.setAttribute("role", "img");
    this.node.append(this.canvas);
    /** @type {AgentSums | null} */
    this.sums = null;
    this.width = 0;
    this.cells = { size: 0, across: 1 };
    this.observer = new ResizeObserver((entries) => {
      const { width } = entries[entries.length - 1].contentRect;
      if (width === this.width) return;
      this.width = width;
      this.paint();
    });
    this.observer.observe(this.node);
    this.canvas.addEventListener("mousemove", (event) => {
      const index = this.at(event);
      setTitle(this.canvas, index === null || !this.sums ? "" : `${this.sums.names[index]}: ${this.sums.text(index)}`);
    });
    this.canvas.addEventListener("click", (event) => {
      const index = this.at(event);
      if (index !== null) onOpen(index);
    });
    // The theme's colours are read when they are drawn.
    this.themes = new MutationObserver(() => this.paint());
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "class"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.onScheme = () => this.paint();
    this.scheme.addEventListener("change", this.onScheme);
  }

  /** @param {MouseEvent} event */
  at(event) {
    const { size, across } = this.cells;
    const column = Math.floor(event.offsetX / (size + GAP));
    const index = Math.floor(event.offsetY / (size + GAP)) * across + column;
    return this.sums && column < across && index < this.sums.length ? index : null;
  }

  /** @param {AgentSums} sums */
  draw(sums) {
    this.sums = sums;
    this.paint();
  }

  paint() {
    const { sums, width } = this;
    const context = this.canvas.getContext("2d");
    if (!sums || !width || !context) return;
    this.cells = mapCells(sums.length, width, MOST_HEIGHT);
    const { size, across } = this.cells;
    const height = Math.max(size, Math.ceil(sums.length / across) * (size + GAP) - GAP);
    const scale = window.devicePixelRatio || 1;
    const [pixels, lines] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== pixels || this.canvas.height !== lines) {
      this.canvas.width = pixels;
      this.canvas.height = lines;
      this.canvas.style.height = `${height}px`;
    }
    const style = getComputedStyle(this.node);
    /** @type {Map<string, number[]>} */
    const byTone = new Map();
    let bad = 0;
    for (let index = 0; index < sums.length; index++) {
      const tone = sums.tone(index);
      if (tone === "bad") bad++;
      const same = byTone.get(tone);
      if (same) same.push(index);
      else byTone.set(tone, [index]);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const [tone, indices] of byTone) {
      context.fillStyle = style.getPropertyValue(`--t2-fill-${tone}`).trim() || "#888888";
      for (const index of indices) {
        context.fillRect((index % across) * (size + GAP), Math.floor(index / across) * (size + GAP), size, size);
      }
    }
    const { trans } = this;
    const all = trans._n("%2 agent", "%2 agents", sums.length, grouped(sums.length));
    const failed = trans._n("%2 agent with workers that failed", "%2 agents with workers that failed", bad, grouped(bad));
    const text = `${bad ? `${all}, ${failed}` : all}; ${trans.__("the table below has them all")}`;
    if (this.canvas.getAttribute("aria-label") !== text) this.canvas.setAttribute("aria-label", text);
  }

  dispose() {
    this.observer.disconnect();
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.onScheme);
  }
}
