// Columns that a table has room for. Pure.

/** @typedef {import("./virtual_table.js").ColumnOfTable} ColumnOfTable */

// Columns that grow so much hold texts that are cut anyway.
const LONG = 2;

/**
 * The columns of a table that is so wide: what says least goes first, so that nothing has to be scrolled sideways.
 * @param {ColumnOfTable[]} columns
 * @param {Set<string>} filled Keys of the columns that have anything to show.
 * @param {number} width Pixels.
 */
export function fittingColumns(columns, filled, width) {
  const shown = columns.filter(({ key }) => filled.has(key));
  let needed = shown.reduce((sum, { least }) => sum + least, 0);
  // The last of equal rank goes first.
  const byRank = [...shown].reverse().sort((one, other) => other.rank - one.rank);
  for (const column of byRank) {
    if (needed <= width || column.rank === 0) break;
    shown.splice(shown.indexOf(column), 1);
    needed -= column.least;
  }
  return shown;
}

/**
 * The columns' widths as CSS has them, the same in every row.
 * @param {ColumnOfTable[]} shown
 * @param {number} width Pixels.
 */
export function gridTemplate(shown, width) {
  const needed = shown.reduce((sum, { least }) => sum + least, 0);
  const hasGrowing = shown.some(({ grow }) => grow > 0);
  return shown
    .map(({ least, grow }) => {
      if (!grow) return hasGrowing ? `${least}px` : `minmax(${least}px, 1fr)`;
      // In a page that is narrower than all that must be shown, long texts give way.
      const hasRoom = needed <= width || grow < LONG;
      return `minmax(${hasRoom ? least : Math.min(least, 50)}px, ${grow}fr)`;
    })
    .join(" ");
}
