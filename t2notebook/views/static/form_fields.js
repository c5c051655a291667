// The inputs of the resource form, each with what is chosen.

import { element, setShown, setText } from "./dom.js";

// Ends of sliders while the cluster is not known.
/** @type {Record<string, number>} */
const ENDS = { workers: 16, cpus: 8, ram: 8192, disk: 100, gpus: 0 };
/** @param {import("./words.js").Catalogue} trans */
export function fieldsOf(trans) {
  return [
    { key: "workers", label: trans.__("Workers"), unit: "", min: 1, step: 1 },
    { key: "cpus", label: trans.__("CPUs each"), unit: "", min: 0.1, step: 0.1 },
    { key: "ram", label: trans.__("Memory each"), unit: "MiB", min: 64, step: 64 },
    { key: "disk", label: trans.__("Disk each"), unit: "GiB", min: 0, step: 1 },
    { key: "gpus", label: trans.__("GPUs each"), unit: "", min: 0, step: 1 },
  ];
}

/**
 * @param {number} value
 * @param {number} step
 */
export function rounded(value, step) {
  return Number((Math.round(value / step) * step).toFixed(3));
}

let formCount = 0;

/** A slider and a box of one number. The slider's end is what the cluster has, and never below the number. */
export class Field {
  /**
   * @param {ReturnType<typeof fieldsOf>[number]} field
   * @param {() => void} onChange
   * @param {import("./words.js").Catalogue} trans
   */
  constructor({ key, label, unit, min, step }, onChange, trans) {
    this.key = key;
    this.min = min;
    this.step = step;
    /** @type {number | undefined} */
    this.fits = undefined;
    const id = `t2-field-${++formCount}`;
    this.node = element("div", "t2-field");
    const name = element("label", "t2-field-name", label);
    name.htmlFor = id;
    this.range = element("input", "t2-range");
    this.range.type = "range";
    this.range.min = String(min);
    this.range.step = String(step);
    this.range.setAttribute("aria-label", trans.__("%1, slider", label));
    this.box = element("input", "t2-number-box");
    this.box.id = id;
    this.box.type = "number";
    this.box.min = key === "ram" || key === "cpus" ? "0" : String(min);
    this.box.step = key === "ram" || key === "cpus" || key === "disk" ? "any" : "1";
    const track = element("span", "t2-range-track");
    this.mark = element("span", "t2-range-mark");
    this.mark.hidden = true;
    track.append(this.range, this.mark);
    this.node.append(name, track, this.box, element("span", "t2-unit", unit));
    this.range.addEventListener("input", () => {
      this.value = rounded(this.range.valueAsNumber, step);
      this.box.value = String(this.value);
      onChange();
    });
    this.box.addEventListener("input", () => {
      if (Number.isNaN(this.box.valueAsNumber)) return;
      this.value = this.box.valueAsNumber;
      this.fit();
      onChange();
    });
    this.box.addEventListener("change", () => {
      if (this.box.value === "") this.box.value = String(this.value);
    });
    this.end = ENDS[key];
    this.value = min;
  }

  /** @param {number} value */
  set(value) {
    this.value = value;
    if (document.activeElement !== this.box) this.box.value = String(value);
    this.fit();
  }

  // The end never cuts off what somebody chose.
  fit() {
    const end = Math.max(this.end, this.min + this.step, this.value);
    // A step that does not reach the end would leave it out of reach.
    const max = this.min + Math.ceil((end - this.min) / this.step - 1e-9) * this.step;
    this.range.max = String(Number(max.toFixed(3)));
    this.range.value = String(this.value);
    if (this.fits === undefined) return;
    const at = (Math.min(this.fits, max) - this.min) / (max - this.min);
    this.mark.style.setProperty("--at", String(Math.max(0, at)));
  }

  /** @param {number} end */
  setEnd(end) {
    if (end > 0 || this.key === "gpus") this.end = end;
    this.fit();
  }

  /** @param {number | undefined} fits */
  setMark(fits) {
    this.fits = fits;
    setShown(this.mark, fits !== undefined && fits >= this.min);
    this.fit();
  }
}

/** Hosts to choose from; none chosen means any. */
export class Nodes {
  /**
   * @param {() => void} onChange
   * @param {import("./words.js").Catalogue} trans
   */
  constructor(onChange, trans) {
    this.trans = trans;
    this.node = element("details", "t2-choices");
    this.summary = element("summary");
    this.list = element("div", "t2-choice-list");
    this.node.append(this.summary, this.list);
    /** @type {Set<string>} */
    this.chosen = new Set();
    this.onChange = onChange;
    this.shown = "";
  }

  /**
   * @param {string[]} chosen
   * @param {string[]} hosts
   */
  set(chosen, hosts) {
    this.chosen = new Set(chosen);
    const all = [...new Set([...hosts, ...chosen])].sort();
    const key = JSON.stringify([all, [...chosen].sort()]);
    if (key === this.shown) return;
    this.shown = key;
    this.list.replaceChildren(
      ...all.map((host) => {
        const label = element("label", "t2-choice");
        const box = element("input");
        box.type = "checkbox";
        box.checked = this.chosen.has(host);
        box.addEventListener("change", () => {
          if (box.checked) this.chosen.add(host);
          else this.chosen.delete(host);
          this.say();
          this.shown = "";
          this.onChange();
        });
        label.append(box, document.createTextNode(host));
        if (!hosts.includes(host)) label.append(element("span", "t2-muted", ` ${this.trans.__("(not there now)")}`));
        return label;
      }),
    );
    this.say();
    setShown(this.node, all.length > 1 || chosen.length > 0);
  }

  say() {
    const some = [...this.chosen].sort();
    const { trans } = this;
    const first = some.slice(0, 4).join(", ");
    const text = some.length > 4 ? trans.__("%1, and %2 more", first, some.length - 4) : first || trans.__("any");
    setText(this.summary, trans.__("Nodes: %1", text));
  }
}

/** A choice for each attribute that agents have, and a box for other constraints. */
export class Where {
  /**
   * @param {() => void} onChange
   * @param {import("./words.js").Catalogue} trans
   */
  constructor(onChange, trans) {
    this.trans = trans;
    this.node = element("div", "t2-where");
    this.selects = element("div", "t2-selects");
    const label = element("label", "t2-select");
    this.more = element("input", "t2-text-box");
    this.more.type = "text";
    this.more.placeholder = "unique:hostname";
    this.more.spellcheck = false;
    this.more.addEventListener("input", onChange);
    label.append(element("span", "", trans.__("More constraints")), this.more);
    this.node.append(this.selects, label);
    /** @type {Record<string, string[]>} */
    this.values = {};
    this.onChange = onChange;
    this.shown = "";
  }

  /**
   * @param {Record<string, string[]>} values
   * @param {string} more
   * @param {Record<string, string[]>} attributes
   */
  set(values, more, attributes) {
    this.values = { ...values };
    if (document.activeElement !== this.more) this.more.value = more;
    const key = JSON.stringify([values, attributes]);
    if (key === this.shown) return;
    this.shown = key;
    const names = [...new Set([...Object.keys(attributes), ...Object.keys(values)])].sort();
    this.selects.replaceChildren(
      ...names.map((name) => {
        const label = element("label", "t2-select");
        const select = element("select", "t2-select-box");
        const chosen = values[name] ?? [];
        const all = [...new Set([...(attributes[name] ?? []), ...chosen])];
        const options = [["", this.trans.__("any")], ...all.map((value) => [JSON.stringify([value]), value])];
        if (chosen.length > 1) options.push([JSON.stringify(chosen), chosen.join(` ${this.trans.__("or")} `)]);
        for (const [value, text] of options) {
          const option = element("option", "", text);
          option.value = value;
          select.append(option);
        }
        select.value = chosen.length ? JSON.stringify(chosen) : "";
        select.addEventListener("change", () => {
          if (select.value) this.values[name] = JSON.parse(select.value);
          else delete this.values[name];
          this.shown = "";
          this.onChange();
        });
        label.append(element("span", "", name), select);
        return label;
      }),
    );
  }
}

/** How many workers share an executor: as many as an offer holds, or a number. */
export class PerExecutor {
  /**
   * @param {() => void} onChange
   * @param {import("./words.js").Catalogue} trans
   */
  constructor(onChange, trans) {
    this.trans = trans;
    this.node = element("label", "t2-select");
    this.box = element("input", "t2-number-box");
    this.box.type = "number";
    this.box.min = "1";
    this.box.step = "1";
    this.box.placeholder = "max";
    this.box.title = trans.__("Empty: as many as an offer holds");
    this.box.addEventListener("input", onChange);
    this.node.append(element("span", "", trans.__("Workers per executor")), this.box);
  }

  get value() {
    return this.box.value === "" ? "max" : this.box.valueAsNumber;
  }

  /** @param {number | string} value */
  set(value) {
    if (document.activeElement !== this.box) this.box.value = value === "max" ? "" : String(value);
  }
}
