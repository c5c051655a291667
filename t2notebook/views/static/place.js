// The output that a view stands in: what else is shown there, and whether anybody can see it.

import { element } from "./dom.js";

/**
 * Hide the static HTML that stands below a view, as long as the view lives.
 * @param {string} name Its class.
 * @returns {() => void} Shows it again.
 */
export function cover(name) {
  const style = element("style");
  if (name) {
    const own = `.${CSS.escape(name)}`;
    style.textContent =
      `${own}, .jp-OutputArea-child:has(${own}), .output_area:has(${own}) { display: none !important; }`;
  }
  document.head.append(style);
  return () => style.remove();
}

/**
 * Tell whoever gives the data whether anybody can see a view: nothing is read for nobody.
 * @param {Element} node
 * @param {import("./source.js").Source} model
 * @param {(isShown: boolean) => void} [onShow]
 * @returns {() => void} Ends it.
 */
export function watchSight(node, model, onShow = () => {}) {
  let isSeen = true;
  let isInside = true;
  const tell = () => {
    const now = isInside && document.visibilityState !== "hidden";
    if (now === isSeen) return;
    isSeen = now;
    onShow(now); // first: a page whose kernel is gone can send nothing
    model.send({ kind: "show", is_shown: now });
  };
  const observer = new IntersectionObserver((entries) => {
    isInside = entries[entries.length - 1].isIntersecting;
    tell();
  });
  observer.observe(node);
  document.addEventListener("visibilitychange", tell);
  return () => {
    observer.disconnect();
    document.removeEventListener("visibilitychange", tell);
  };
}
