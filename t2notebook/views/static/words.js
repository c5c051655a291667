// The own words of the views, in the language of the page: a catalogue gives each, and where a page has none it is English.

/**
 * A catalogue of translations; JupyterLab's `TranslationBundle` is one. `%1`, `%2`, … stand for the values; of a plural
 * `%1` is the number, and the values follow.
 *
 * @typedef {object} Catalogue
 * @property {(text: string, ...values: any[]) => string} __
 * @property {(one: string, many: string, number: number, ...values: any[]) => string} _n
 */

/**
 * @param {string} text
 * @param {any[]} values
 */
function filled(text, values) {
  return text.replace(/%(\d+)/g, (_, at) => String(values[Number(at) - 1]));
}

/** @type {Catalogue} */
export const ENGLISH = {
  __: (text, ...values) => filled(text, values),
  _n: (one, many, number, ...values) => filled(number === 1 ? one : many, [number, ...values]),
};
