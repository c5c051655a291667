// A cell of a table: a text, with a dot, a bar or a stack of shares.

import { Bar, button, element, setData, setShown, setText, setTitle } from "./dom.js";

/** @typedef {import("./source.js").Tone} Tone */
/** @typedef {import("./virtual_table.js").Cell} Cell */
/** @typedef {import("./virtual_table.js").ColumnOfTable} ColumnOfTable */

export class TableCell {
  /**
   * @param {ColumnOfTable} column
   * @param {() => void} onOpen
   */
  constructor(column, onOpen) {
    this.node = element("div", `t2-cell t2-col-${column.key}${column.isNumeric ? " t2-number" : ""}`);
    this.node.setAttribute("role", column.kind === "name" ? "rowheader" : "cell");
    /** @type {HTMLElement} */
    this.text = this.node;
    if (column.kind === "name") {
      this.text = button("t2-open", "", onOpen);
      this.text.tabIndex = -1;
      this.node.append(this.text);
    } else if (column.kind !== "text") {
      this.text = element("span", column.kind === "bar" ? "t2-percent" : "t2-state-text");
      if (column.kind === "state") {
        this.dot = element("span", "t2-dot");
        this.dot.setAttribute("aria-hidden", "true");
        this.node.append(this.dot, this.text);
      } else if (column.kind === "bar") {
        this.bar = new Bar("");
        this.node.append(this.bar.node, this.text);
      } else {
        this.stack = element("span", "t2-stack");
        this.stack.setAttribute("aria-hidden", "true");
        this.node.append(this.stack, this.text);
      }
    }
  }

  /** @param {Cell} cell */
  set(cell) {
    setText(this.text, cell.text);
    setTitle(this.node, cell.title ?? "");
    if (this.dot) setData(this.dot, "tone", cell.tone ?? "");
    if (this.bar) {
      const isKnown = cell.fraction !== null && cell.fraction !== undefined;
      setShown(this.bar.node, isKnown);
      this.bar.name(cell.label ?? "");
      this.bar.set(cell.fraction ?? 0, cell.tone ?? "");
    }
    if (this.stack) drawStack(this.stack, cell.parts ?? []);
  }
}

/**
 * @param {HTMLElement} node
 * @param {[Tone, number][]} parts
 */
function drawStack(node, parts) {
  while (node.children.length < parts.length) node.append(element("span", "t2-part"));
  let from = 0;
  for (let at = 0; at < node.children.length; at++) {
    const part = /** @type {HTMLElement} */ (node.children[at]);
    const [tone, share] = parts[at] ?? ["ended", 0];
    setData(part, "tone", tone);
    part.style.transform = `translateX(${100 * from}%) scaleX(${share})`;
    from += share;
  }
}
