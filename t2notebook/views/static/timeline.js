// A bar for each worker, from the submit until now: how long it waited, was started, and ran, and those of its tasks that
// ended before.

import { button, element, keepKeys, setChildren, setData, setShown, setText, setTitle } from "./dom.js";
import { span } from "./format.js";
import { axisEnd, axisTicks, phasesOf, phasesText } from "./phases.js";
import { VirtualRows } from "./virtual_rows.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./workers.js").Workers} Workers */

const BAR_HEIGHT = 22;
const MOST_BARS = 14;
const AXIS_HEIGHT = 20;
/** @param {import("./words.js").Catalogue} trans */
function legendOf(trans) {
  return [
    ["waiting", "waiting", trans.__("waits for an offer")],
    ["starting", "active", trans.__("is started")],
    ["running", "active", trans.__("runs")],
    ["running", "good", trans.__("finished")],
    ["running", "bad", trans.__("failed")],
    ["running", "ended", trans.__("killed")],
  ];
}

class TimelineRow {
  /**
   * @param {(id: number) => void} onOpen
   * @param {import("./words.js").Catalogue} trans
   */
  constructor(onOpen, trans) {
    this.trans = trans;
    this.node = element("div", "t2-lane");
    this.node.setAttribute("role", "listitem");
    this.id = -1;
    this.place = -1;
    this.name = button("t2-open t2-lane-name", "", () => onOpen(this.id));
    this.name.tabIndex = -1;
    this.track = element("div", "t2-lane-track");
    this.track.setAttribute("role", "img");
    this.node.append(this.name, this.track);
    /** @type {HTMLElement[]} */
    this.bars = [];
  }

  /**
   * @param {Workers} workers
   * @param {number} index
   * @param {number} end
   * @param {number | string | null} opened
   * @param {boolean} isCursor
   */
  set(workers, index, end, opened, isCursor) {
    this.id = workers.id(index);
    setText(this.name, String(this.id));
    const { trans } = this;
    const label = trans.__("Output of worker %1", this.id);
    if (this.name.getAttribute("aria-label") !== label) this.name.setAttribute("aria-label", label);
    this.name.setAttribute("aria-pressed", String(opened === this.id));
    this.name.tabIndex = isCursor ? 0 : -1;
    this.node.classList.toggle("t2-selected", opened === this.id);
    const phases = phasesOf(workers, index);
    while (this.bars.length < phases.length) {
      const bar = element("span", "t2-phase");
      this.bars.push(bar);
      this.track.append(bar);
    }
    for (let at = 0; at < this.bars.length; at++) {
      const [bar, phase] = [this.bars[at], phases[at]];
      setShown(bar, Boolean(phase));
      if (!phase) continue;
      setData(bar, "kind", phase.kind);
      setData(bar, "tone", phase.tone);
      bar.classList.toggle("t2-earlier", phase.isEarlier);
      bar.style.left = `${((100 * phase.from) / end).toFixed(3)}%`;
      bar.style.width = `${((100 * (phase.to - phase.from)) / end).toFixed(3)}%`;
    }
    const [, words] = workers.state(index);
    const text = trans.__("Worker %1, %2: %3", this.id, words, phasesText(phases, span, trans));
    if (this.track.getAttribute("aria-label") !== text) this.track.setAttribute("aria-label", text);
    setTitle(this.track, text);
  }
}

export class Timeline {
  /**
   * @param {(id: number) => void} onOpen
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(onOpen, trans = ENGLISH) {
    this.node = element("div", "t2-timeline");
    const axis = element("div", "t2-axis");
    axis.setAttribute("aria-hidden", "true");
    this.axis = element("div", "t2-axis-track");
    axis.append(element("span", "t2-axis-name", trans.__("Worker")), this.axis);
    this.scroll = element("div", "t2-scroll t2-lanes");
    this.scroll.tabIndex = -1;
    this.body = element("div", "t2-body");
    this.body.setAttribute("role", "list");
    this.body.setAttribute("aria-label", trans.__("Timeline of the workers"));
    keepKeys(this.body);
    this.scroll.append(axis, this.body);
    const legend = element("div", "t2-legend t2-muted");
    for (const [kind, tone, text] of legendOf(trans)) {
      const sample = element("span", "t2-phase t2-sample");
      sample.dataset.kind = kind;
      sample.dataset.tone = tone;
      const item = element("span", "t2-legend-item");
      item.append(sample, document.createTextNode(text));
      legend.append(item);
    }
    this.node.append(this.scroll, legend);
    /** @type {Workers | null} */
    this.workers = null;
    /** @type {number[]} */
    this.order = [];
    /** @type {number | string | null} */
    this.opened = null;
    this.cursor = 0;
    this.end = 1;
    /** @type {HTMLElement[]} */
    this.ticks = [];
    this.virtual = new VirtualRows(
      this.scroll,
      this.body,
      BAR_HEIGHT,
      () => new TimelineRow(onOpen, trans),
      (row, place) => {
        if (this.workers) row.set(this.workers, this.order[place], this.end, this.opened, place === this.cursor);
      },
    );
    this.body.addEventListener("keydown", (event) => this.onKey(event));
  }

  /**
   * @param {Workers} workers
   * @param {number[]} order Their indices, as the table has them.
   */
  draw(workers, order) {
    this.workers = workers;
    this.order = order;
    this.cursor = Math.max(0, Math.min(this.cursor, order.length - 1));
    const height = `${AXIS_HEIGHT + Math.min(order.length, MOST_BARS) * BAR_HEIGHT}px`;
    if (this.scroll.style.height !== height) this.scroll.style.height = height;
    this.end = axisEnd(workers.now);
    this.drawAxis();
    this.virtual.draw(order.length);
  }

  /** @param {number | string | null} id */
  select(id) {
    this.opened = id;
    this.virtual.place(true);
  }

  drawAxis() {
    // A mark needs the room of its text; at first the width is not known.
    const most = Math.max(2, Math.min(6, Math.floor((this.virtual.width || 600) / 75)));
    const times = axisTicks(this.end, most);
    const isShort = times.length > 1 && times[1] < 1;
    this.ticks = times.map((time, at) => {
      const tick = this.ticks[at] ?? element("span", "t2-tick");
      setText(tick, isShort ? `${time} s` : time ? span(time).replace(".0 s", " s").replace(" 00 s", "").replace(" 00 m", "") : "0");
      tick.style.left = `${(100 * time) / this.end}%`;
      tick.classList.toggle("t2-tick-last", time > 0.9 * this.end);
      return tick;
    });
    setChildren(this.axis, this.ticks);
    const step = times.length > 1 ? (100 * times[1]) / this.end : 100;
    this.body.style.setProperty("--t2-step", `${step.toFixed(3)}%`);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.cursor = Math.max(0, Math.min(this.order.length - 1, this.cursor + step));
    this.virtual.show(this.cursor, AXIS_HEIGHT);
    this.virtual.place(true);
    this.virtual.rows.get(this.cursor)?.name.focus({ preventScroll: true });
  }

  dispose() {
    this.virtual.dispose();
  }
}
