// Rows of which only those in sight exist.

/** Rows that exist above and below what is in sight, so that a little scrolling shows no gap. */
const SPARE = 4;

/**
 * The rows to draw: those from `first` up to, not including, `end`.
 * @param {number} top Pixels that are scrolled away.
 * @param {number} height Pixels in sight.
 * @param {number} rowHeight
 * @param {number} total
 */
export function rowsInSight(top, height, rowHeight, total) {
  const first = Math.floor(Math.max(0, top) / rowHeight) - SPARE;
  const end = Math.ceil((Math.max(0, top) + height) / rowHeight) + SPARE;
  const most = end - first;
  const last = Math.min(total, end);
  return { first: Math.max(0, Math.min(first, total - most)), end: Math.max(0, last) };
}

/**
 * @typedef {object} VirtualRow
 * @property {HTMLElement} node
 * @property {number} [place] Where it stands.
 */

/**
 * Keeps rows of one height in a body as long as they are in sight. Sizes are heard of, never asked for: asking would
 * have the page laid out once more at each update.
 *
 * @template {VirtualRow} R
 */
export class VirtualRows {
  /**
   * @param {HTMLElement} scroll
   * @param {HTMLElement} body
   * @param {number} rowHeight
   * @param {() => R} make
   * @param {(row: R, place: number) => void} fill
   */
  constructor(scroll, body, rowHeight, make, fill) {
    this.scroll = scroll;
    this.body = body;
    this.rowHeight = rowHeight;
    this.make = make;
    this.fill = fill;
    this.total = 0;
    this.top = 0;
    this.height = 0;
    this.width = 0;
    /** @type {Map<number, R>} */
    this.rows = new Map();
    /** @type {R[]} */
    this.spare = [];
    this.onScroll = () => {
      this.top = scroll.scrollTop;
      this.place(false);
    };
    scroll.addEventListener("scroll", this.onScroll, { passive: true });
    this.observer = new ResizeObserver((entries) => {
      ({ height: this.height, width: this.width } = entries[entries.length - 1].contentRect);
      this.top = scroll.scrollTop;
      this.place(false);
    });
    this.observer.observe(scroll);
  }

  /** @param {number} total Rows that there are; all that are in sight are filled anew. */
  draw(total) {
    if (total !== this.total) {
      this.total = total;
      this.body.style.height = `${total * this.rowHeight}px`;
    }
    this.place(true);
  }

  /** @param {boolean} isAnew Whether rows that are there already are to be filled again. */
  place(isAnew) {
    const most = Math.max(this.height, 12 * this.rowHeight);
    const { first, end } = rowsInSight(this.top, most, this.rowHeight, this.total);
    for (const [place, row] of this.rows) {
      if (place >= first && place < end) continue;
      this.rows.delete(place);
      if (row.node.contains(document.activeElement)) this.scroll.focus({ preventScroll: true });
      this.spare.push(row);
    }
    /** @type {Element | null} */
    let previous = null;
    for (let place = first; place < end; place++) {
      let row = this.rows.get(place);
      const isNew = !row;
      if (!row) {
        row = this.spare.pop() ?? this.make();
        row.place = place;
        this.rows.set(place, row);
        row.node.style.transform = `translateY(${place * this.rowHeight}px)`;
      }
      // In the page they stand in the order in which they are seen: so they are read out.
      /** @type {Element | null} */
      const next = previous ? previous.nextElementSibling : this.body.firstElementChild;
      if (next !== row.node) this.body.insertBefore(row.node, next);
      previous = row.node;
      if (isNew || isAnew) this.fill(row, place);
    }
    for (const row of this.spare.splice(0)) row.node.remove();
  }

  /**
   * Scroll so far that a row is in sight.
   * @param {number} place
   * @param {number} above Pixels at the top of the scrolled box that cover rows.
   */
  show(place, above) {
    const start = place * this.rowHeight;
    const seen = this.height - above;
    let top = this.scroll.scrollTop;
    if (start < top) top = start;
    else if (start + this.rowHeight > top + seen) top = start + this.rowHeight - seen;
    if (top !== this.scroll.scrollTop) this.scroll.scrollTop = top;
    this.top = top;
    this.place(false);
  }

  dispose() {
    this.observer.disconnect();
    this.scroll.removeEventListener("scroll", this.onScroll);
  }
}
