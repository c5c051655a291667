// Tabs, as screen readers know them.

import { button, element, keepKeys, setShown, setText } from "./dom.js";

let tabCount = 0;

export class Tabs {
  /**
   * @param {string} label
   * @param {[string, string, HTMLElement][]} pages Key, title and node of each.
   * @param {(key: string) => void} onOpen
   */
  constructor(label, pages, onOpen) {
    this.node = element("div", "t2-tabs");
    this.node.setAttribute("role", "tablist");
    this.node.setAttribute("aria-label", label);
    keepKeys(this.node);
    this.onOpen = onOpen;
    this.current = pages[0][0];
    const id = `t2-tabs-${++tabCount}`;
    /** @type {Map<string, {tab: HTMLButtonElement, page: HTMLElement}>} */
    this.pages = new Map();
    for (const [key, title, page] of pages) {
      const tab = button("t2-tab", title, () => this.open(key));
      tab.setAttribute("role", "tab");
      tab.id = `${id}-${key}`;
      page.id = `${id}-${key}-page`;
      page.setAttribute("role", "tabpanel");
      page.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-controls", page.id);
      this.pages.set(key, { tab, page });
      this.node.append(tab);
    }
    this.node.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const keys = [...this.pages.keys()].filter((key) => !this.pages.get(key)?.tab.hidden);
      const next = keys[(keys.indexOf(this.current) + step + keys.length) % keys.length];
      this.open(next);
      this.pages.get(next)?.tab.focus();
    });
    this.mark();
  }

  /** @param {string} key */
  open(key) {
    if (key === this.current) return;
    this.current = key;
    this.mark();
    this.onOpen(key);
  }

  mark() {
    for (const [key, { tab, page }] of this.pages) {
      const isOpen = key === this.current;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      setShown(page, isOpen);
    }
  }

  /**
   * @param {string} key
   * @param {string} title
   * @param {boolean} isThere
   */
  set(key, title, isThere) {
    const page = this.pages.get(key);
    if (!page) return;
    setText(page.tab, title);
    setShown(page.tab, isThere);
    if (!isThere && this.current === key) this.open([...this.pages.keys()][0]);
  }
}
