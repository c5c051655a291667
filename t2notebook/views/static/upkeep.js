// What keeps a view of the cluster true: it is drawn at each change, says when it hears of nobody, and asks for nothing
// while nobody sees it.

import { cover, watchSight } from "./place.js";

/**
 * @param {HTMLElement} root The view.
 * @param {import("./source.js").Source} model
 * @param {import("./pulse.js").Pulse} pulse
 * @param {() => void} draw
 * @returns {() => void} Ends it, and takes the view away.
 */
export function keepUp(root, model, pulse, draw) {
  const beat = () => pulse.beat();
  model.on("change:state", draw);
  model.on("change:beat", beat);
  const uncover = cover(model.get("beside"));
  const unwatch = watchSight(root, model, (isShown) => {
    pulse.isPaused = !isShown;
    if (isShown) pulse.begin();
  });
  model.send({ kind: "show", is_shown: true });
  draw();
  return () => {
    pulse.dispose();
    model.off("change:state", draw);
    model.off("change:beat", beat);
    model.send({ kind: "show", is_shown: false });
    unwatch();
    uncover();
    root.remove();
  };
}
