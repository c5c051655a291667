// What the workers write: the newest lines of all, or the log of one.

import { button, element, keepKeys, setData, setShown, setText } from "./dom.js";
import { LogLines, linesGone } from "./log_lines.js";
import { ENGLISH } from "./words.js";

export class LogView {
  /**
   * @param {(worker: number | null) => void} onOpen Called with the worker whose log is wanted.
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(onOpen, trans = ENGLISH) {
    this.trans = trans;
    this.node = element("div", "t2-output");
    this.title = element("span", "t2-output-title");
    this.all = button("t2-link", trans.__("all workers"), () => onOpen(null));
    const choice = element("label", "t2-choose");
    this.choice = element("input", "t2-choose-box");
    this.choice.type = "number";
    this.choice.min = "0";
    this.choice.step = "1";
    this.choice.addEventListener("change", () => {
      const id = this.choice.valueAsNumber;
      onOpen(Number.isInteger(id) && id >= 0 && id < this.workers ? id : null);
    });
    keepKeys(this.choice);
    choice.append(document.createTextNode(`${trans.__("worker")} `), this.choice);
    const head = element("div", "t2-output-head t2-muted");
    head.append(this.title, this.all, element("span", "t2-space"), choice);
    this.choose = choice;
    this.lines = element("div", "t2-lines");
    this.lines.tabIndex = 0;
    this.lines.setAttribute("role", "log");
    this.lines.setAttribute("aria-live", "off");
    this.node.append(head, this.lines);
    this.content = new LogLines();
    this.workers = 0;
    /** @type {number | null} */
    this.worker = null;
    /** @type {string[]} */
    this.shown = [];
    this.isAtEnd = true;
    this.isWanted = false;
    // Asked for at each update, it would have the page laid out once more.
    this.lines.addEventListener(
      "scroll",
      () => {
        this.isAtEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 8;
      },
      { passive: true },
    );
  }

  /** @param {number} count */
  setWorkers(count) {
    this.workers = count;
    this.choice.max = String(count - 1);
    setShown(this.choose, count > 1);
  }

  /** @param {number | null} worker */
  open(worker) {
    this.worker = worker;
    this.isAtEnd = true;
    if (document.activeElement !== this.choice || worker === null) this.choice.value = worker === null ? "" : String(worker);
    this.draw();
  }

  draw() {
    const { trans } = this;
    const one = this.worker !== null;
    const lines = this.content.of(this.worker);
    setShown(this.node, one || this.isWanted || lines.length > 0);
    setText(this.title, one ? trans.__("Output of worker %1", this.worker) : trans.__("Output, the newest lines"));
    setShown(this.all, one);
    this.lines.setAttribute("aria-label", this.title.textContent ?? "");
    const next = lines.map((line) => `${one ? "" : line[0]}\t${line[1]}\t${line[2]}`);
    if (!next.length) {
      this.shown = [];
      const text = one ? trans.__("It has written nothing yet.") : trans.__("Nothing has been written yet.");
      if (this.lines.textContent !== text) this.lines.replaceChildren(element("div", "t2-out t2-muted", text));
      return;
    }
    if (!this.shown.length) this.lines.replaceChildren();
    if (this.replace(lines, next, one) && this.isAtEnd) this.lines.scrollTop = this.lines.scrollHeight;
  }

  /**
   * Make what is shown the new lines, with as few changes as there are.
   * @param {import("./log_lines.js").Line[]} lines
   * @param {string[]} next
   * @param {boolean} one
   */
  replace(lines, next, one) {
    const gone = linesGone(this.shown, next);
    for (let count = 0; count < gone; count++) this.lines.firstElementChild?.remove();
    const kept = this.shown.slice(gone);
    let hasChanged = gone > 0;
    for (let at = 0; at < next.length; at++) {
      if (kept[at] === next[at]) continue;
      hasChanged = true;
      const node = this.line(lines[at], one);
      if (at < kept.length) this.lines.children[at].replaceWith(node);
      else this.lines.append(node);
    }
    while (this.lines.children.length > next.length) {
      this.lines.lastElementChild?.remove();
      hasChanged = true;
    }
    this.shown = next;
    return hasChanged;
  }

  /**
   * @param {import("./log_lines.js").Line} line
   * @param {boolean} one
   */
  line([worker, stream, text], one) {
    const node = element("div", "t2-out");
    setData(node, "stream", stream);
    if (!one) node.append(element("span", "t2-who", String(worker)));
    node.append(element("span", "t2-what", text));
    return node;
  }
}
