// The resource form: sliders and boxes for a job's workers, and what of them fits on the cluster. What is chosen goes to
// the kernel as a message with a number; the kernel's answer comes as one state, which says for which number it is.

import { AgentGrid } from "./agent_grid.js";
import { cover, element, Pulse, setShown, setText, watchSight } from "./dom.js";

const SEND_MS = 60;
const ANSWER_MS = 3000;
// Ends of sliders while the cluster is not known.
const ENDS = { workers: 16, cpus: 8, ram: 8192, disk: 100, gpus: 0 };
const FIELDS = [
  { key: "workers", label: "Workers", unit: "", min: 1, step: 1 },
  { key: "cpus", label: "CPUs each", unit: "", min: 0.1, step: 0.1 },
  { key: "ram", label: "Memory each", unit: "MiB", min: 64, step: 64 },
  { key: "disk", label: "Disk each", unit: "GiB", min: 0, step: 1 },
  { key: "gpus", label: "GPUs each", unit: "", min: 0, step: 1 },
];

function rounded(value, step) {
  return Number((Math.round(value / step) * step).toFixed(3));
}

let formCount = 0;

// A slider and a box of one number. The slider's end is what the cluster has, and never below the number.
class Field {
  constructor({ key, label, unit, min, step }, onChange) {
    Object.assign(this, { key, min, step });
    const id = `t2-field-${++formCount}`;
    this.node = element("div", "t2-field");
    const name = element("label", "t2-field-name", label);
    name.htmlFor = id;
    this.range = element("input", "t2-range");
    this.range.type = "range";
    this.range.min = String(min);
    this.range.step = String(step);
    this.range.setAttribute("aria-label", `${label}, slider`);
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

  setEnd(end) {
    if (end > 0 || this.key === "gpus") this.end = end;
    this.fit();
  }

  setMark(fits) {
    this.fits = fits;
    setShown(this.mark, fits !== undefined && fits >= this.min);
    this.fit();
  }
}

// Hosts to choose from; none chosen means any.
class Nodes {
  constructor(onChange) {
    this.node = element("details", "t2-choices");
    this.summary = element("summary");
    this.list = element("div", "t2-choice-list");
    this.node.append(this.summary, this.list);
    this.chosen = new Set();
    this.onChange = onChange;
    this.shown = "";
  }

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
        if (!hosts.includes(host)) label.append(element("span", "t2-muted", " (not there now)"));
        return label;
      }),
    );
    this.say();
    setShown(this.node, all.length > 1 || chosen.length > 0);
  }

  say() {
    const some = [...this.chosen].sort();
    const text = some.length ? `${some.slice(0, 4).join(", ")}${some.length > 4 ? `, and ${some.length - 4} more` : ""}` : "any";
    setText(this.summary, `Nodes: ${text}`);
  }
}

// A choice for each attribute that agents have, and a box for other constraints.
class Where {
  constructor(onChange) {
    this.node = element("div", "t2-where");
    this.selects = element("div", "t2-selects");
    const label = element("label", "t2-select");
    this.more = element("input", "t2-text-box");
    this.more.type = "text";
    this.more.placeholder = "unique:hostname";
    this.more.spellcheck = false;
    this.more.addEventListener("input", onChange);
    label.append(element("span", "", "More constraints"), this.more);
    this.node.append(this.selects, label);
    this.values = {};
    this.onChange = onChange;
    this.shown = "";
  }

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
        const options = [["", "any"], ...all.map((value) => [JSON.stringify([value]), value])];
        if (chosen.length > 1) options.push([JSON.stringify(chosen), chosen.join(" or ")]);
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

// How many workers share an executor: as many as an offer holds, or a number.
class PerExecutor {
  constructor(onChange) {
    this.node = element("label", "t2-select");
    this.box = element("input", "t2-number-box");
    this.box.type = "number";
    this.box.min = "1";
    this.box.step = "1";
    this.box.placeholder = "max";
    this.box.title = "Empty: as many as an offer holds";
    this.box.addEventListener("input", onChange);
    this.node.append(element("span", "", "Workers per executor"), this.box);
  }

  get value() {
    return this.box.value === "" ? "max" : this.box.valueAsNumber;
  }

  set(value) {
    if (document.activeElement !== this.box) this.box.value = value === "max" ? "" : String(value);
  }
}

function render({ model, el }) {
  const root = element("section", "t2-form");
  root.setAttribute("aria-label", "Resources of a job");
  let sequence = 0;
  let sendTimer = 0;
  let answerTimer = 0;
  const change = () => {
    clearTimeout(sendTimer);
    sendTimer = setTimeout(send, SEND_MS);
  };
  const fields = FIELDS.map((field) => new Field(field, change));
  const byKey = Object.fromEntries(fields.map((field) => [field.key, field]));
  const nodes = new Nodes(change);
  const where = new Where(change);
  const perExecutor = new PerExecutor(change);
  const left = element("div", "t2-form-fields");
  const places = element("div", "t2-form-places");
  places.append(perExecutor.node, where.node, nodes.node);
  left.append(...fields.map((field) => field.node), places);

  const right = element("div", "t2-form-cluster");
  const fits = element("div", "t2-fits");
  fits.setAttribute("role", "status");
  const plan = element("div", "t2-plan");
  const trouble = element("div", "t2-plan");
  const cluster = element("div", "t2-muted");
  const grid = new AgentGrid();
  const note = element(
    "div",
    "t2-muted",
    "An upper bound: others may be quicker, and Mesos may hold something back for them.",
  );
  const hint = element("div", "t2-hint");
  const hintText = element("span");
  const use = element("button", "t2-use", "Use that");
  use.type = "button";
  use.addEventListener("click", () => {
    const found = model.get("state").hint;
    for (const key of ["cpus", "ram"]) if (found[key]) byKey[key].set(found[key]);
    send();
  });
  hint.append(hintText, use);
  right.append(fits, plan, trouble, cluster, grid.node, note, hint);

  const foot = element("div", "t2-form-foot");
  const submit = element("button", "t2-submit", "Submit");
  submit.type = "button";
  const line = element("code", "t2-form-line");
  line.tabIndex = 0;
  line.setAttribute("role", "region");
  line.setAttribute("aria-label", "The same as a line");
  const notice = element("div", "t2-form-notice");
  notice.setAttribute("role", "status");
  foot.append(submit, line);
  const body = element("div", "t2-form-body");
  const stale = element("div", "t2-cluster-trouble");
  stale.setAttribute("role", "status");
  stale.hidden = true;
  body.append(left, right);
  root.append(stale, body, foot, notice);
  el.append(root);

  const chosen = () => ({
    ...Object.fromEntries(fields.map((field) => [field.key, field.value])),
    workers_per_executor: perExecutor.value,
    nodes: [...nodes.chosen].sort(),
    attributes: where.values,
    more: where.more.value,
  });

  const send = () => {
    clearTimeout(sendTimer);
    sendTimer = 0;
    clearTimeout(answerTimer);
    // Another page may show this form, too.
    sequence = Math.max(sequence, model.get("state").sequence) + 1;
    model.send({ kind: "change", values: chosen(), sequence });
    root.dataset.asking = "true";
    answerTimer = setTimeout(() => {
      setText(notice, "No answer from the kernel: it gets to this when the running cell has ended.");
    }, ANSWER_MS);
  };

  submit.addEventListener("click", () => {
    if (sendTimer) send();
    submit.disabled = true;
    model.send({ kind: "submit" });
    setText(notice, "");
    clearTimeout(answerTimer); // a change before it would go on waiting for its own answer
    answerTimer = setTimeout(() => {
      submit.disabled = false;
      setText(notice, "No answer from the kernel: it submits when the running cell has ended.");
    }, ANSWER_MS);
  });

  const drawLife = () => {
    root.dataset.stale = String(pulse.isStale);
    setShown(stale, pulse.isStale);
    setText(stale, pulse.isStale ? pulse.text : "");
  };

  const draw = () => {
    const state = model.get("state");
    const isOwn = state.sequence >= sequence && !sendTimer;
    const { values, forecast } = state;
    if (isOwn) {
      clearTimeout(answerTimer);
      root.dataset.asking = "false";
      submit.disabled = Boolean(state.problem) || !state.cell;
      setText(notice, state.problem || state.notice);
      notice.dataset.tone = state.problem || state.notice ? "bad" : "";
      perExecutor.set(values.workers_per_executor);
    }
    submit.title = state.cell
      ? `Submit the cell of the job ${state.cell} with these numbers`
      : "Run a %%twister2 submit cell first; this submits it again with these numbers";
    setText(submit, state.cell ? `Submit ${state.cell}` : "Submit");
    setText(line, state.line);
    for (const field of fields) if (isOwn) field.set(values[field.key]);
    if (forecast) {
      byKey.workers.setEnd(Math.max(1, forecast.later.workers));
      byKey.workers.setMark(forecast.now.workers);
      byKey.cpus.setEnd(rounded(forecast.largest.cpus, 0.1));
      byKey.ram.setEnd(forecast.largest.mem);
      byKey.disk.setEnd(Math.floor(forecast.largest.disk / 1024));
      byKey.gpus.setEnd(forecast.largest.gpus);
      setShown(byKey.gpus.node, forecast.largest.gpus > 0 || values.gpus > 0);
      if (isOwn) {
        nodes.set(values.nodes, forecast.hosts);
        where.set(values.attributes, values.more, forecast.attributes);
      }
      grid.draw(forecast.agents, values);
      const more = forecast.number_of_agents - forecast.agents.length;
      const parts = [`${forecast.number_of_agents} agent${forecast.number_of_agents === 1 ? "" : "s"}`];
      if (more > 0) parts.push(`${forecast.agents.length} shown`);
      if (forecast.absent) parts.push(`${forecast.absent} away`);
      setText(cluster, `${parts.join(", ")} of ${forecast.master}`);
    } else {
      setShown(byKey.gpus.node, values.gpus > 0);
      byKey.workers.setMark(undefined);
      if (isOwn) {
        nodes.set(values.nodes, []);
        where.set(values.attributes, values.more, {});
      }
      grid.draw([], values);
      setText(cluster, "");
    }
    setShown(note, Boolean(forecast));
    const found = state.hint ?? {};
    setText(hintText, found.text ?? "");
    setShown(hint, Boolean(found.text));
    setShown(use, ["cpus", "ram"].some((key) => found[key] && found[key] !== values[key]));
    setText(fits, state.fits || (state.trouble ? "" : "Asking the cluster…"));
    fits.dataset.tone = state.tone;
    setText(plan, state.plan);
    setShown(plan, Boolean(state.plan));
    setText(trouble, state.trouble ? `What the cluster has is not known: ${state.trouble}` : "");
    setShown(trouble, Boolean(state.trouble));
  };

  const pulse = new Pulse(drawLife);
  const beat = () => pulse.beat();
  model.on("change:state", draw);
  model.on("change:beat", beat);
  const uncover = cover(model.get("beside"));
  const unwatch = watchSight(root, model, (isShown) => {
    pulse.isPaused = !isShown;
    if (isShown) pulse.begin();
  });
  sequence = model.get("state").sequence;
  model.send({ kind: "show", is_shown: true });
  draw();
  return () => {
    clearTimeout(sendTimer);
    clearTimeout(answerTimer);
    pulse.dispose();
    model.off("change:state", draw);
    model.off("change:beat", beat);
    model.send({ kind: "show", is_shown: false });
    unwatch();
    uncover();
  };
}

export default { render };
