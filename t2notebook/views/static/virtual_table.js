// A table of any length that is sorted by a click on a heading and walked through with the arrow keys.

import { button, element, keepKeys, setChildren, setData } from "./dom.js";
import { fittingColumns, gridTemplate } from "./fitting.js";
import { nextSort } from "./sorting.js";
import { TableCell } from "./table_cell.js";
import { VirtualRows } from "./virtual_rows.js";

/** @typedef {import("./source.js").Tone} Tone */

/**
 * @typedef {object} ColumnOfTable
 * @property {string} key
 * @property {string} heading
 * @property {"name" | "text" | "state" | "bar" | "stack"} kind
 * @property {number} least Pixels that it needs.
 * @property {number} grow Share of the room that is left.
 * @property {number} rank Which goes first where there is no room: the highest; 0 never goes.
 * @property {boolean} [isNumeric]
 */

/**
 * What a cell shows.
 *
 * @typedef {object} Cell
 * @property {string} text
 * @property {string} [title]
 * @property {Tone} [tone]
 * @property {number | null} [fraction] Of a bar; it has none if that is not known.
 * @property {string} [label] Of a bar, for who cannot see it.
 * @property {[Tone, number][]} [parts] Of a stack: shares of 1.
 */

/**
 * Rows as `Workers` and `AgentSums` have them.
 *
 * @typedef {object} Rows
 * @property {number} length
 * @property {(index: number) => number | string} id By which a row is known when it moves.
 * @property {(index: number) => Tone} tone
 * @property {() => Set<string>} filled
 * @property {(sort: import("./sorting.js").Sort | null) => number[]} order
 * @property {(key: string, index: number) => Cell} cell
 */

const ROW_HEIGHT = 27;
const HEAD_HEIGHT = 28;
// Rows in sight; a table with as many has no scroll bar.
const MOST_ROWS = 12;
const KEYS = { ArrowDown: 1, ArrowUp: -1, PageDown: MOST_ROWS - 1, PageUp: 1 - MOST_ROWS, Home: -Infinity, End: Infinity };

class TableRow {
  /** @param {VirtualTable} table */
  constructor(table) {
    this.table = table;
    this.node = element("div", "t2-row");
    this.node.setAttribute("role", "row");
    this.place = -1;
    this.index = -1;
    /** @type {Map<string, TableCell>} */
    this.cells = new Map();
    this.node.addEventListener("click", (event) => {
      const isOfButton = event.target instanceof Element && event.target.closest("button");
      if (!isOfButton && !String(document.getSelection())) table.open(this);
    });
  }

  /**
   * @param {number} index
   * @param {number} place
   */
  set(index, place) {
    const { shown, rows } = this.table;
    this.index = index;
    this.place = place;
    setData(this.node, "tone", rows.tone(index));
    const rowIndex = String(place + 2); // the headings are the first
    if (this.node.getAttribute("aria-rowindex") !== rowIndex) this.node.setAttribute("aria-rowindex", rowIndex);
    const nodes = [];
    for (const column of shown) {
      let cell = this.cells.get(column.key);
      if (!cell) {
        cell = new TableCell(column, () => this.table.open(this));
        this.cells.set(column.key, cell);
      }
      cell.set(rows.cell(column.key, index));
      nodes.push(cell.node);
    }
    setChildren(this.node, nodes);
    const id = rows.id(index);
    const isOpen = this.table.opened === id;
    this.node.classList.toggle("t2-selected", isOpen);
    const name = this.cells.get(shown[0].key)?.text;
    if (!name) return;
    const label = this.table.nameOf(id);
    if (name.getAttribute("aria-label") !== label) name.setAttribute("aria-label", label);
    name.setAttribute("aria-pressed", String(isOpen));
    name.tabIndex = place === this.table.cursor ? 0 : -1;
  }

  focus() {
    this.cells.get(this.table.shown[0].key)?.text.focus({ preventScroll: true });
  }
}

export class VirtualTable {
  /**
   * @param {string} label
   * @param {ColumnOfTable[]} columns The first one names the row.
   * @param {(id: any) => string} nameOf What a click on a row does, in words.
   * @param {(id: any) => void} onOpen
   */
  constructor(label, columns, nameOf, onOpen) {
    this.columns = columns;
    this.nameOf = nameOf;
    this.onOpen = onOpen;
    this.node = element("div", "t2-scroll");
    this.node.tabIndex = -1;
    this.table = element("div", "t2-table");
    this.table.setAttribute("role", "table");
    this.table.setAttribute("aria-label", label);
    const head = element("div", "t2-head-group");
    head.setAttribute("role", "rowgroup");
    this.head = element("div", "t2-head");
    this.head.setAttribute("role", "row");
    this.head.setAttribute("aria-rowindex", "1");
    head.append(this.head);
    this.body = element("div", "t2-body");
    this.body.setAttribute("role", "rowgroup");
    keepKeys(this.body);
    this.table.append(head, this.body);
    this.node.append(this.table);
    /** @type {Map<string, HTMLElement>} */
    this.headings = new Map(columns.map((column) => [column.key, this.heading(column)]));
    /** @type {ColumnOfTable[]} */
    this.shown = columns.slice(0, 1);
    /** @type {Rows} */
    this.rows = { length: 0, id: (index) => index, tone: () => "ended", filled: () => new Set(), order: () => [], cell: () => ({ text: "" }) };
    /** @type {number[]} */
    this.order = [];
    /** @type {import("./sorting.js").Sort | null} */
    this.sort = null;
    /** @type {number | string | null} */
    this.opened = null;
    this.cursor = 0;
    /** @type {number | string | null} The row at the cursor. */
    this.current = null;
    this.width = 0;
    this.template = "";
    this.virtual = new VirtualRows(
      this.node,
      this.body,
      ROW_HEIGHT,
      () => new TableRow(this),
      (row, place) => row.set(this.order[place], place),
    );
    this.body.addEventListener("keydown", (event) => this.onKey(event));
    this.observer = new ResizeObserver((entries) => {
      const { width } = entries[entries.length - 1].contentRect;
      if (width === this.width) return;
      this.width = width;
      this.draw(this.rows);
    });
    this.observer.observe(this.node);
  }

  /** @param {ColumnOfTable} column */
  heading(column) {
    const cell = element("div", `t2-cell t2-col-${column.key}${column.isNumeric ? " t2-number" : ""}`);
    cell.setAttribute("role", "columnheader");
    const click = button("t2-sort", column.heading, () => {
      this.sort = nextSort(this.sort, column.key);
      this.cursor = 0;
      this.node.scrollTop = 0;
      this.draw(this.rows);
    });
    cell.append(click);
    return cell;
  }

  /** @param {Rows} rows */
  draw(rows) {
    this.rows = rows;
    const filled = rows.filled();
    const width = this.width || 900;
    const shown = fittingColumns(this.columns, filled, width);
    const template = gridTemplate(shown, width);
    if (template !== this.template) {
      this.template = template;
      this.table.style.setProperty("--t2-columns", template);
    }
    this.shown = shown;
    setChildren(this.head, shown.map(({ key }) => /** @type {HTMLElement} */ (this.headings.get(key))));
    for (const [key, node] of this.headings) {
      const isBy = this.sort?.key === key;
      const way = isBy ? (this.sort?.isDown ? "descending" : "ascending") : "none";
      if (node.getAttribute("aria-sort") !== way) node.setAttribute("aria-sort", way);
    }
    this.order = rows.order(this.sort && filled.has(this.sort.key) ? this.sort : null);
    this.cursor = Math.max(0, Math.min(this.cursor, this.order.length - 1));
    const height = `${HEAD_HEIGHT + Math.min(this.order.length, MOST_ROWS) * ROW_HEIGHT}px`;
    if (this.node.style.height !== height) this.node.style.height = height;
    this.table.setAttribute("aria-rowcount", String(this.order.length + 1));
    this.virtual.draw(this.order.length);
    this.followFocus();
  }

  /** The focus stays with its row when that has come to stand elsewhere. */
  followFocus() {
    const { rows, order } = this;
    if (this.current === null || !this.body.contains(document.activeElement)) return;
    if (order.length && rows.id(order[this.cursor]) === this.current) return;
    const place = order.findIndex((index) => rows.id(index) === this.current);
    if (place >= 0) this.moveTo(place);
  }

  /** @param {number} place */
  moveTo(place) {
    this.cursor = place;
    this.current = this.rows.id(this.order[place]);
    this.virtual.show(place, HEAD_HEIGHT);
    this.redraw();
    this.virtual.rows.get(place)?.focus();
  }

  /** Draw the rows in sight again, in the same order: times went on. */
  redraw() {
    this.virtual.place(true);
  }

  /** @param {TableRow} row */
  open(row) {
    this.cursor = row.place;
    this.current = this.rows.id(row.index);
    this.onOpen(this.current);
  }

  /** @param {number | string | null} id */
  select(id) {
    this.opened = id;
    this.redraw();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const step = KEYS[/** @type {keyof typeof KEYS} */ (event.key)];
    if (this.order.length) this.moveTo(Math.max(0, Math.min(this.order.length - 1, this.cursor + step)));
  }

  dispose() {
    this.observer.disconnect();
    this.virtual.dispose();
  }
}
