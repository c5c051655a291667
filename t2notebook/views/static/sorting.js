// The order of rows: by a column, or as they come. Pure.

/** @typedef {{key: string, isDown: boolean}} Sort */

/**
 * Indices of rows in the order of their values; rows without one come last, whichever way it goes, and equal ones stay
 * as they are.
 * @param {number} length
 * @param {(index: number) => number | string | null | undefined} valueOf
 * @param {boolean} isDown
 * @returns {number[]}
 */
export function sorted(length, valueOf, isDown) {
  const values = Array.from({ length }, (_, index) => valueOf(index));
  /** @type {number[]} */
  const known = [];
  /** @type {number[]} */
  const unknown = [];
  for (let index = 0; index < length; index++) {
    const value = values[index];
    (value === null || value === undefined || value === "" ? unknown : known).push(index);
  }
  const sign = isDown ? -1 : 1;
  known.sort((one, other) => {
    const [first, second] = [values[one], values[other]];
    if (typeof first === "number" && typeof second === "number") return sign * (first - second) || one - other;
    const order = naturally(String(first), String(second));
    return sign * order || one - other;
  });
  return known.concat(unknown);
}

const numbers = new Intl.Collator("en", { numeric: true });

/**
 * Compare texts as people do: `node-9` comes before `node-10`.
 * @param {string} one
 * @param {string} other
 */
export function naturally(one, other) {
  return numbers.compare(one, other);
}

/**
 * The next order when somebody clicks on a heading: up, down, and then as the rows come by themselves.
 * @param {Sort | null} sort
 * @param {string} key
 * @returns {Sort | null}
 */
export function nextSort(sort, key) {
  if (sort?.key !== key) return { key, isDown: false };
  return sort.isDown ? null : { key, isDown: true };
}

/**
 * Indices with the given ones first.
 * @param {number} length
 * @param {number[]} first
 */
export function withFirst(length, first) {
  const isFirst = new Set(first);
  const rest = [];
  for (let index = 0; index < length; index++) if (!isFirst.has(index)) rest.push(index);
  return [...isFirst, ...rest];
}
