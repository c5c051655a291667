/** The workers of a job as a table, those in trouble first. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { ITask } from './api.js';
import { element } from './dom.js';
import { clock, percent } from './format.js';

const MOST = 500;
const BAD = new Set(['FAILED', 'ERROR', 'LOST', 'DROPPED', 'GONE', 'GONE_BY_OPERATOR', 'UNREACHABLE']);

export function taskTone(state: string): string {
  if (BAD.has(state)) {
    return 'bad';
  }
  return state === 'FINISHED' ? 'good' : state === 'RUNNING' ? 'run' : state === 'KILLED' ? 'off' : 'wait';
}

export function byTrouble(one: ITask, other: ITask): number {
  const rank = (task: ITask) => (BAD.has(task.state) ? 0 : 1);
  return rank(one) - rank(other) || one.worker_id - other.worker_id;
}

export class WorkersView {
  readonly node = element('div', 't2-Workers');

  constructor(
    private _trans: TranslationBundle,
    private _onOpen: (workerId: number) => void
  ) {
    this.node.tabIndex = 0;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Workers'));
  }

  draw(tasks: ITask[]): void {
    const trans = this._trans;
    const table = element('table', 't2-Table');
    const head = element('tr');
    for (const heading of ['#', trans.__('State'), trans.__('Host'), trans.__('Done')]) {
      const cell = element('th', '', heading);
      cell.scope = 'col';
      head.append(cell);
    }
    const thead = element('thead');
    thead.append(head);
    const body = element('tbody');
    body.append(
      ...[...tasks]
        .sort(byTrouble)
        .slice(0, MOST)
        .flatMap(task => this._rows(task))
    );
    table.append(thead, body);
    const left = tasks.length - MOST;
    const note = left > 0 ? [element('div', 't2-Muted', trans.__('and %1 more workers', left))] : [];
    const { scrollTop } = this.node;
    this.node.replaceChildren(table, ...note);
    this.node.scrollTop = scrollTop;
  }

  private _rows(task: ITask): HTMLElement[] {
    const row = element('tr');
    row.dataset.tone = taskTone(task.state);
    const id = element('th');
    id.scope = 'row';
    const open = element('button', 't2-Button t2-Link', String(task.worker_id));
    open.type = 'button';
    open.title = this._trans.__('Output of worker %1', task.worker_id);
    open.setAttribute('aria-label', open.title);
    open.addEventListener('click', () => this._onOpen(task.worker_id));
    id.append(open);
    const state = element('td');
    const dot = element('span', 't2-Dot');
    dot.setAttribute('aria-hidden', 'true');
    state.append(dot, document.createTextNode(task.state));
    const done = task.progress === null || task.progress === undefined ? '' : percent(task.progress);
    const host = element('td', '', task.host);
    host.title = [task.agent, task.started ? clock(task.started) : ''].filter(Boolean).join(', ');
    const told = task.exit_code ? [this._trans.__('exit code %1', task.exit_code)] : [];
    const text = [task.message || task.reason, ...told].filter(Boolean).join('; ');
    row.append(id, state, host, element('td', 't2-Number', done));
    if (!text) {
      return [row];
    }
    // Below the others, since a side bar is narrow.
    row.className = 't2-mod-told';
    const below = element('tr');
    const message = element('td', 't2-Cell-message', text);
    message.colSpan = 4;
    below.append(message);
    return [row, below];
  }
}
