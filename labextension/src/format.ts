/** Texts of the side bar; those of times and amounts are the package's, as in the views in the notebook. */

export { amount, clock, duration, mebibytes, percent, span } from '../../t2notebook/views/static/format.js';

/** A path's last part, without the suffix of notebooks. */
export function notebookName(path: string): string {
  return (path.split('/').pop() ?? '').replace(/\.ipynb$/, '');
}
