// The resource form: sliders and boxes for a job's workers, and what of them fits on the cluster. What is chosen goes to
// the kernel as a message with a number; the kernel's answer comes as one state, which says for which number it is.

import { AgentGrid } from "./agent_grid.js";
import { element, setShown, setText } from "./dom.js";
import { Field, fieldsOf, Nodes, PerExecutor, rounded, Where } from "./form_fields.js";
import { chosenBefore, keepChosen } from "./form_memory.js";
import { Pulse } from "./pulse.js";
import { keepUp } from "./upkeep.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Source} Source */

const SEND_MS = 60;
const ANSWER_MS = 3000;
/** @param {{model: Source, el: HTMLElement, trans?: import("./words.js").Catalogue}} place */
function render({ model, el, trans = ENGLISH }) {
  const root = element("section", "t2-form");
  root.setAttribute("aria-label", trans.__("Resources of a job"));
  const isRelayed = model.get("via") === "server";
  let sequence = 0;
  let sendTimer = 0;
  let answerTimer = 0;
  const change = () => {
    clearTimeout(sendTimer);
    sendTimer = setTimeout(send, SEND_MS);
  };
  const fields = fieldsOf(trans).map((field) => new Field(field, change, trans));
  const byKey = Object.fromEntries(fields.map((field) => [field.key, field]));
  const nodes = new Nodes(change, trans);
  const where = new Where(change, trans);
  const perExecutor = new PerExecutor(change, trans);
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
  const grid = new AgentGrid(trans);
  const note = element(
    "div",
    "t2-muted",
    trans.__("An upper bound: others may be quicker, and Mesos may hold something back for them."),
  );
  const hint = element("div", "t2-hint");
  const hintText = element("span");
  const use = element("button", "t2-use", trans.__("Use that"));
  use.type = "button";
  use.addEventListener("click", () => {
    const found = model.get("state").hint;
    for (const key of ["cpus", "ram"]) if (found[key]) byKey[key].set(found[key]);
    send();
  });
  hint.append(hintText, use);
  right.append(fits, plan, trouble, cluster, grid.node, note, hint);

  const foot = element("div", "t2-form-foot");
  const submit = element("button", "t2-submit", trans.__("Submit"));
  submit.type = "button";
  const line = element("code", "t2-form-line");
  line.tabIndex = 0;
  line.setAttribute("role", "region");
  line.setAttribute("aria-label", trans.__("The same as a line"));
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
    if (isRelayed) return; // no kernel is asked
    answerTimer = setTimeout(() => {
      setText(notice, trans.__("No answer from the kernel: it gets to this when the running cell has ended."));
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
      setText(notice, trans.__("No answer from the kernel: it submits when the running cell has ended."));
    }, ANSWER_MS);
  });

  const drawLife = () => {
    root.dataset.stale = String(pulse.isStale);
    setShown(stale, pulse.isStale || isRelayed);
    const relayed = isRelayed
      ? trans.__("Live, but from the Jupyter server: the kernel is busy or gone, and is told what you choose as soon as it answers.")
      : "";
    setText(stale, pulse.isStale ? pulse.text : relayed);
    stale.className = pulse.isStale ? "t2-cluster-trouble" : "t2-muted";
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
      if (!isRelayed && !state.problem) keepChosen(model.get("beside"), { values, isPending: false });
    }
    submit.title = state.cell
      ? trans.__("Submit the cell of the job %1 with these numbers", state.cell)
      : isRelayed
        ? trans.__("Only the kernel can submit")
        : trans.__("Run a %1 cell first; this submits it again with these numbers", "%%twister2 submit");
    setText(submit, state.cell ? trans.__("Submit %1", state.cell) : trans.__("Submit"));
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
      const parts = [trans._n("%1 agent", "%1 agents", forecast.number_of_agents)];
      if (more > 0) parts.push(trans.__("%1 shown", forecast.agents.length));
      if (forecast.absent) parts.push(trans.__("%1 away", forecast.absent));
      setText(cluster, trans.__("%1 of %2", parts.join(", "), forecast.master));
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
    setText(fits, state.fits || (state.trouble ? "" : trans.__("Asking the cluster…")));
    fits.dataset.tone = state.tone;
    setText(plan, state.plan);
    setShown(plan, Boolean(state.plan));
    setText(trouble, state.trouble ? trans.__("What the cluster has is not known: %1", state.trouble) : "");
    setShown(trouble, Boolean(state.trouble));
  };

  const pulse = new Pulse(drawLife, isRelayed, trans);
  sequence = model.get("state").sequence;
  const before = isRelayed ? null : chosenBefore(model.get("beside"));
  if (before?.isPending) {
    model.send({ kind: "change", values: before.values, sequence: ++sequence });
    keepChosen(model.get("beside"), { ...before, isPending: false });
  }
  drawLife();
  const end = keepUp(root, model, pulse, draw);
  return () => {
    clearTimeout(sendTimer);
    clearTimeout(answerTimer);
    end();
  };
}

export default { render };
