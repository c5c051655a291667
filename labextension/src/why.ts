/** Why a job waits, or how it came to its end. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { IWhy } from './api.js';
import { element } from './dom.js';
import { number } from './format.js';

const MOST = 100;

export class WhyView {
  readonly node = element('div', 't2-Why');

  constructor(private _trans: TranslationBundle) {}

  draw(why: IWhy): void {
    const trans = this._trans;
    const text =
      why.message ||
      (why.why.length
        ? trans.__('Its workers wait for resources:')
        : why.state === 'PENDING'
          ? trans.__('Its workers wait; no offer has come yet.')
          : trans.__('Nothing keeps it waiting.'));
    const lines = why.why.slice(0, MOST).map(row => {
      const item = element('li');
      const figures =
        row.offered === null || row.offered === undefined || row.asked === null || row.asked === undefined
          ? ''
          : trans.__('offered %1, asked %2', number(row.offered), number(row.asked));
      const told = [row.lacked && trans.__('lacks %1', row.lacked), figures].filter(Boolean).join(': ');
      const message = row.message.startsWith(`${row.host}: `) ? row.message.slice(row.host.length + 2) : row.message;
      item.append(element('strong', '', row.host || '–'), ` ${message || told}`);
      return item;
    });
    const list = element('ul', 't2-Reasons');
    list.append(...lines);
    const left = why.why.length - MOST;
    const more = left > 0 ? [element('div', 't2-Muted', trans.__('and %1 more', left))] : [];
    this.node.replaceChildren(element('p', 't2-Why-text', text), ...(lines.length ? [list] : []), ...more);
  }
}
