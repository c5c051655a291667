// What is known under some names, and who wants to hear of changes.

export class Values {
  /** @param {Record<string, any>} [content] */
  constructor(content = {}) {
    /** @type {Record<string, any>} */
    this.content = content;
    /** @type {Map<string, Set<() => void>>} */
    this.listeners = new Map();
  }

  /** @param {string} name */
  get(name) {
    return this.content[name];
  }

  /**
   * @param {string} event
   * @param {() => void} listener
   */
  on(event, listener) {
    const known = this.listeners.get(event);
    if (known) known.add(listener);
    else this.listeners.set(event, new Set([listener]));
  }

  /**
   * @param {string} event
   * @param {() => void} listener
   */
  off(event, listener) {
    this.listeners.get(event)?.delete(listener);
  }

  /** @param {string} event */
  tell(event) {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener();
  }

  /**
   * Take what is new, all of it before anybody hears of it.
   * @param {Record<string, any>} content
   */
  take(content) {
    Object.assign(this.content, content);
    for (const name of Object.keys(content)) this.tell(`change:${name}`);
  }
}
