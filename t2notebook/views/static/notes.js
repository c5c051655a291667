// What a view says of its job in words: why it waits, was lost, or failed, and the tracebacks.

import { element, setChildren, setData, setShown, setText } from "./dom.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Failure} Failure */

/** A line that stands out; it is gone while there is nothing to say. */
export class Callout {
  /**
   * @param {string} title
   * @param {string} tone
   */
  constructor(title, tone) {
    this.title = title;
    this.node = element("div", "t2-callout");
    this.node.dataset.tone = tone;
    this.node.hidden = true;
    this.text = "";
  }

  /**
   * @param {string} text
   * @param {string} [tone]
   */
  set(text, tone) {
    setShown(this.node, text !== "");
    if (tone !== undefined) setData(this.node, "tone", tone);
    if (text === this.text) return;
    this.text = text;
    this.node.replaceChildren(element("strong", "", `${this.title}: `), document.createTextNode(text));
  }
}

/** Why a job waits or has come to its end, on demand. */
export class WhyPanel {
  /** @param {import("./words.js").Catalogue} [trans] */
  constructor(trans = ENGLISH) {
    this.trans = trans;
    this.node = element("div", "t2-why");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", trans.__("Why"));
    this.node.hidden = true;
    this.message = element("div");
    this.list = element("ul", "t2-why-list");
    this.node.append(this.message, this.list);
  }

  /** @param {import("./source.js").Why | undefined} why */
  set(why) {
    const rows = why?.rows ?? [];
    const { trans } = this;
    const found = rows.length ? trans.__("Its workers wait for resources:") : trans.__("Nothing keeps it.");
    setText(this.message, why ? why.message || found : trans.__("Asking…"));
    if (rows.join("\n") === this.shown) return;
    this.shown = rows.join("\n");
    this.list.replaceChildren(...rows.map((row) => element("li", "", row)));
  }
}

/**
 * The last line of a traceback, which says most.
 * @param {string} text
 */
export function lastLine(text) {
  const line = text.trimEnd().split("\n").pop() ?? "";
  return line.length > 160 ? `${line.slice(0, 160)}…` : line;
}

/** Failures with their tracebacks folded. */
export class Failures {
  /** @param {import("./words.js").Catalogue} [trans] */
  constructor(trans = ENGLISH) {
    this.trans = trans;
    this.node = element("div", "t2-failures");
    /** @type {Map<string, FailureFold>} */
    this.folds = new Map();
  }

  /** @param {Failure[]} failures */
  set(failures) {
    const next = new Map();
    for (const { title, text } of failures) {
      const fold = this.folds.get(text) ?? new FailureFold(text, this.trans);
      setText(fold.title, title);
      next.set(text, fold);
    }
    this.folds = next;
    setChildren(this.node, [...next.values()].map(({ node }) => node));
    setShown(this.node, next.size > 0);
  }
}

class FailureFold {
  /**
   * @param {string} text
   * @param {import("./words.js").Catalogue} trans
   */
  constructor(text, trans) {
    this.node = element("details", "t2-failure");
    this.title = element("span", "t2-failure-title");
    const summary = element("summary");
    summary.append(this.title, element("code", "t2-failure-last", lastLine(text)));
    const pre = element("pre", "", text);
    pre.tabIndex = 0;
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", trans.__("Traceback"));
    this.node.append(summary, pre);
  }
}
