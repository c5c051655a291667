// The view of a job for any page: as an anywidget, whose model is a comm, or with another source of data.

import { element, setText } from "./dom.js";
import { JobPanel } from "./job_panel.js";
import { Relay } from "./relay.js";
import { ENGLISH } from "./words.js";

/** @typedef {import("./source.js").Source} Source */

/**
 * Draw a job into a node, and keep it true.
 * @param {{model: Source, el: HTMLElement, page?: string, trans?: import("./words.js").Catalogue}} place A view that belongs to a kernel goes on with what
 *   the Jupyter server knows while the kernel is silent. With the page `why` it begins with why the job waits.
 * @returns {() => void} Ends it.
 */
function render({ model, el, page, trans = ENGLISH }) {
  const relay = model.get("kernel_id") ? new Relay(model) : null;
  /** @type {JobPanel | null} */
  let panel = null;
  const note = element("div", "t2-asking", trans.__("Asking for the job…"));
  note.setAttribute("role", "status");
  const look = () => {
    if (panel) return;
    setText(note, model.get("trouble") || trans.__("Asking for the job…"));
    if (!model.get("snapshot")) return;
    note.remove();
    panel = new JobPanel(relay ?? model, el, trans);
    if (page === "why") panel.askWhy();
  };
  const events = ["change:snapshot", "change:trouble"];
  for (const event of events) model.on(event, look);
  // Where HTML stands below, that is what is seen until then.
  if (!model.get("snapshot") && !model.get("beside")) el.append(note);
  look();
  return () => {
    for (const event of events) model.off(event, look);
    note.remove();
    panel?.dispose();
    relay?.dispose();
  };
}

export default { render };
