/** The list of jobs with its filter: only what has changed is drawn. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { button, element, setShown, setText } from './dom.js';
import { JobItem, type IJobActions } from './item.js';
import { inTrouble, isActive, type JobStore, type Which } from '../../t2notebook/views/static/job_list.js';

/** Jobs that are shown until more are asked for. */
const MOST = 300;
const AT_FIRST = 40;

export class JobListView {
  readonly node = element('div', 't2-List');

  constructor(
    private _store: JobStore,
    private _actions: IJobActions,
    private _trans: TranslationBundle
  ) {
    const filter = element('div', 't2-Filter');
    this._text.type = 'search';
    this._text.placeholder = _trans.__('Filter');
    this._text.title = _trans.__('By name, id, state, notebook, message');
    this._text.setAttribute('aria-label', _trans.__('Filter jobs'));
    this._text.addEventListener('input', () => this.draw());
    this._which.setAttribute('aria-label', _trans.__('Which jobs'));
    const choices: [Which, string][] = [
      ['all', _trans.__('All')],
      ['active', _trans.__('Running')],
      ['ended', _trans.__('Ended')],
      ['trouble', _trans.__('In trouble')]
    ];
    for (const [value, label] of choices) {
      const option = element('option', '', label);
      option.value = value;
      this._which.append(option);
    }
    this._which.addEventListener('change', () => this.draw());
    filter.append(this._text, this._which);
    this._summary.setAttribute('role', 'status');
    this._list.setAttribute('role', 'list');
    this._more = button('t2-More', '', _trans.__('Show more jobs'), () => {
      this._limit += MOST;
      this.draw();
    });
    this.node.append(filter, this._summary, this._list, this._more);
  }

  /** Show what the store has; those in `changed` may look different, all if it is not given. */
  draw(): void {
    const now = Date.now() / 1000;
    const rows = this._store.ordered(this._text.value, this._which.value as Which);
    const limit = this._isFirst ? Math.min(AT_FIRST, this._limit) : this._limit;
    const shown = rows.slice(0, limit);
    const items = new Map<string, JobItem>();
    for (const row of shown) {
      const item = this._items.get(row.job_id) ?? new JobItem(row.job_id, this._actions, this._trans);
      item.set(row, now);
      items.set(row.job_id, item);
    }
    this._items = items;
    this._order([...items.values()].map(item => item.node));
    this._say(rows.length);
    const left = rows.length - this._limit;
    setShown(this._more, left > 0);
    setText(this._more, this._trans.__('%1 more', left));
    if (this._isFirst && shown.length) {
      // What can be seen comes first; the rest with the next frame.
      this._isFirst = false;
      if (rows.length > limit) {
        requestAnimationFrame(() => this.draw());
      }
    }
  }

  tick(now: number): void {
    for (const item of this._items.values()) {
      if (item.isTicking) {
        item.tick(now);
      }
    }
  }

  /** Draw as at the first time again: what can be seen at once. */
  begin(): void {
    this._isFirst = true;
  }

  private _say(count: number): void {
    const trans = this._trans;
    const active = this._store.count(isActive);
    const trouble = this._store.count(inTrouble);
    let text: string;
    if (!this._store.rows.size) {
      text = this._store.isComplete
        ? trans.__('No jobs yet. A cell that begins with %%%%twister2 submit starts one.')
        : trans.__('Looking for jobs…');
    } else if (!count) {
      text = trans.__('No job matches.');
    } else {
      const parts = [trans._n('%1 job', '%1 jobs', count), trans.__('%1 running', active)];
      if (trouble) {
        parts.push(trans.__('%1 in trouble', trouble));
      }
      text = parts.join(', ');
    }
    setText(this._summary, text);
  }

  private _order(nodes: HTMLElement[]): void {
    const list = this._list;
    let next = list.firstElementChild;
    for (const node of nodes) {
      if (node === next) {
        next = next.nextElementSibling;
      } else {
        list.insertBefore(node, next);
      }
    }
    while (next) {
      const after = next.nextElementSibling;
      next.remove();
      next = after;
    }
  }

  private _items = new Map<string, JobItem>();
  private _text = element('input', 't2-Input');
  private _which = element('select', 't2-Input');
  private _summary = element('div', 't2-Summary t2-Muted');
  private _list = element('ul', 't2-Items');
  private _more: HTMLButtonElement;
  private _limit = MOST;
  private _isFirst = true;
}
