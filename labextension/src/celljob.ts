/** Which job a cell has submitted, by the name that the magic gives it. */

import { notebookName } from './format.js';
import type { JobRow } from '../../t2notebook/views/static/job_list.js';

export function isJobCell(source: string): boolean {
  return /^\s*%%twister2\b/.test(source);
}

/** The name that a cell gives its job, or undefined if that depends on its number. */
export function givenName(source: string): string | undefined {
  const [line] = source.trimStart().split('\n');
  const found = /\s--name(?:=|\s+)(?:"([^"]*)"|'([^']*)'|(\S+))/.exec(line);
  return found ? (found[1] ?? found[2] ?? found[3]) : undefined;
}

/** The newest job of a cell of the notebook at `path`. */
export function cellJob(
  source: string,
  executionCount: number | null,
  path: string,
  rows: Iterable<JobRow>
): JobRow | undefined {
  const given = givenName(source);
  const fromHere = (row: JobRow) => !row.notebook || notebookName(row.notebook) === notebookName(path);
  const isIts = (row: JobRow) =>
    given !== undefined ? row.name === given : executionCount !== null && row.name.endsWith(`-${executionCount}`);
  let newest: JobRow | undefined;
  for (const row of rows) {
    if (fromHere(row) && isIts(row) && (row.submitted ?? 0) > (newest?.submitted ?? -1)) {
      newest = row;
    }
  }
  return newest;
}
