// What is chosen in a form, kept in the page's tab: a page that is reloaded goes on with it, and the kernel is told of what
// was chosen while it did not answer.

/** @typedef {{values: Record<string, any>, isPending: boolean}} Chosen `isPending`: the kernel has not heard of it. */

/** @param {string} name Of the form: the class of the HTML beside it. */
const key = (name) => `t2notebook:form:${name}`;

/**
 * @param {string} name
 * @param {Chosen} chosen
 */
export function keepChosen(name, chosen) {
  try {
    if (name) sessionStorage.setItem(key(name), JSON.stringify(chosen));
  } catch {
    // a page without storage: it begins with what was published
  }
}

/**
 * @param {string} name
 * @returns {Chosen | null}
 */
export function chosenBefore(name) {
  try {
    return JSON.parse(sessionStorage.getItem(key(name)) ?? "null");
  } catch {
    return null;
  }
}
