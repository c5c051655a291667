// Nodes: small helpers of all views.

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/**
 * A button that sends no form.
 * @param {string} className
 * @param {string} text
 * @param {() => void} [onClick]
 */
export function button(className, text, onClick) {
  const node = element("button", className, text);
  node.type = "button";
  if (onClick) node.addEventListener("click", onClick);
  return node;
}

/**
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {HTMLElement} node
 * @param {boolean} shown
 */
export function setShown(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/**
 * @param {HTMLElement} node
 * @param {string} name
 * @param {string} value
 */
export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/**
 * @param {HTMLElement} node
 * @param {string} title
 */
export function setTitle(node, title) {
  if (node.title !== title) node.title = title;
}

/**
 * Put these nodes into one, and nothing else; nodes that are there already stay.
 * @param {Element} parent
 * @param {Element[]} nodes
 */
export function setChildren(parent, nodes) {
  const { children } = parent;
  if (nodes.length === children.length && nodes.every((node, at) => node === children[at])) return;
  parent.replaceChildren(...nodes);
}

/**
 * Let keys that are pressed in a node be its own: JupyterLab, which takes arrow keys for its cells, leaves them to it.
 * @param {HTMLElement} node
 */
export function keepKeys(node) {
  node.dataset.lmSuppressShortcuts = "true";
}

/** A progress bar. */
export class Bar {
  /** @param {string} label */
  constructor(label) {
    this.node = element("span", "t2-bar");
    this.node.setAttribute("role", "progressbar");
    this.node.setAttribute("aria-valuemin", "0");
    this.node.setAttribute("aria-valuemax", "100");
    this.fill = element("span", "t2-bar-fill");
    this.node.append(this.fill);
    this.percent = -1;
    this.name(label);
  }

  /** @param {string} label */
  name(label) {
    if (this.node.getAttribute("aria-label") !== label) this.node.setAttribute("aria-label", label);
  }

  /**
   * @param {number | null} fraction
   * @param {string} tone
   */
  set(fraction, tone) {
    const whole = Math.floor(100 * (fraction ?? 0) + 1e-9);
    setData(this.fill, "tone", tone);
    if (whole === this.percent) return;
    this.percent = whole;
    this.node.setAttribute("aria-valuenow", String(whole));
    // A transform costs no layout.
    this.fill.style.transform = `scaleX(${Math.min(1, Math.max(0, whole / 100))})`;
  }
}
