/** A job in the list: two lines, and what can be done to it. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { Bar, button, element, setShown, setText, SureButton } from './dom.js';
import { clock, duration, notebookName, percent, span } from './format.js';
import { elapsed, hasEnded, isActive, stateText, tone, type JobRow } from '../../t2notebook/views/static/job_list.js';

export interface IJobActions {
  open(jobId: string, page?: 'job' | 'output' | 'why'): void;
  kill(jobId: string): Promise<void>;
  attach(jobId: string): void;
}

export function killButton(trans: TranslationBundle, act: () => Promise<void>): SureButton {
  return new SureButton(
    {
      idle: trans.__('Kill'),
      armed: trans.__('Kill?'),
      busy: trans.__('Killing…'),
      title: trans.__('End this job and its workers; the kernel need not be free for it'),
      armedTitle: trans.__('Click again to kill the job')
    },
    act
  );
}

/** How far it has come, in words. */
export function countText(row: JobRow, trans: TranslationBundle): string {
  if (row.state === 'COMPLETED') {
    return trans._n('%1 worker', '%1 workers', row.workers);
  }
  const parts = [];
  if (isActive(row) && row.running) {
    parts.push(trans.__('%1 of %2 running', row.running, row.workers));
  } else if (isActive(row)) {
    parts.push(trans.__('0 of %1 running', row.workers));
  } else {
    parts.push(trans._n('%1 worker', '%1 workers', row.workers));
  }
  if (row.finished_workers) {
    parts.push(trans.__('%1 finished', row.finished_workers));
  }
  if (row.failed_workers) {
    parts.push(trans.__('%1 failed', row.failed_workers));
  }
  return parts.join(', ');
}

export class JobItem {
  readonly node = element('li', 't2-Item');

  constructor(
    readonly jobId: string,
    actions: IJobActions,
    private _trans: TranslationBundle
  ) {
    const head = element('div', 't2-Item-line');
    const dot = element('span', 't2-Dot');
    dot.setAttribute('aria-hidden', 'true');
    this._name = button('t2-Item-name', '', '', () => actions.open(jobId));
    head.append(dot, this._name, this._state);
    this._bar = new Bar('');
    const progress = element('div', 't2-Item-line t2-Item-progress');
    progress.append(this._bar.node, this._percent, this._elapsed);
    this._progress = progress;
    const line = element('div', 't2-Item-line t2-Muted');
    line.append(this._counts, this._notebook, this._begun);
    const tools = element('div', 't2-Item-tools');
    const kill = killButton(_trans, () => actions.kill(jobId));
    this._kill = kill.node;
    tools.append(
      kill.node,
      button('', _trans.__('Attach'), _trans.__('Add a cell to the notebook that attaches to this job'), () =>
        actions.attach(jobId)
      ),
      button('', _trans.__('Output'), _trans.__('What its workers write'), () => actions.open(jobId, 'output')),
      button('', _trans.__('Why'), _trans.__('Why it waits, or how it ended'), () => actions.open(jobId, 'why'))
    );
    this.node.append(head, progress, line, this._message, tools);
    this.node.addEventListener('click', event => {
      if (event.target instanceof HTMLElement && !event.target.closest('button')) {
        actions.open(jobId);
      }
    });
  }

  /** Show `row`; costs nothing if it is shown already. */
  set(row: JobRow, now: number): void {
    if (row !== this._row) {
      this._row = row;
      this._draw(row);
    }
    this.tick(now);
  }

  /** Let the clock go on. */
  tick(now: number): void {
    const row = this._row;
    if (!row) {
      return;
    }
    const seconds = isActive(row) ? elapsed(row, now) : null;
    setText(this._elapsed, seconds === null ? '' : duration(seconds));
  }

  get isTicking(): boolean {
    return this._row !== null && isActive(this._row);
  }

  private _draw(row: JobRow): void {
    const trans = this._trans;
    this.node.dataset.tone = tone(row);
    this.node.dataset.jobId = row.job_id;
    setText(this._name, row.name);
    this._name.title = row.job_id;
    this._name.setAttribute('aria-label', trans.__('Job %1, %2', row.name, stateText(row)));
    setText(this._state, stateText(row));
    this._bar.label = trans.__('Progress of %1', row.name);
    this._bar.set(row.progress, tone(row));
    setShown(this._progress, isActive(row));
    setText(this._percent, percent(row.progress));
    const hasTime = row.submitted !== null && row.finished !== null;
    const took = hasTime ? [trans.__('took %1', span(row.finished! - row.submitted!))] : [];
    setText(this._counts, [countText(row, trans), ...took].join(', '));
    setText(this._begun, isActive(row) || row.submitted === null ? '' : clock(row.submitted));
    const from = notebookName(row.notebook);
    setText(this._notebook, from);
    this._notebook.title = row.notebook;
    const isTold = Boolean(row.message) && row.state !== 'COMPLETED';
    setText(this._message, isTold ? row.message : '');
    this._message.title = isTold ? row.message : '';
    setShown(this._message, isTold);
    setShown(this._kill, !hasEnded(row));
  }

  private _row: JobRow | null = null;
  private _name: HTMLButtonElement;
  private _state = element('span', 't2-Chip');
  private _bar: Bar;
  private _percent = element('span', 't2-Number');
  private _elapsed = element('span', 't2-Number t2-Muted');
  private _progress: HTMLElement;
  private _counts = element('span', 't2-Counts');
  private _notebook = element('span', 't2-Notebook');
  private _begun = element('span', 't2-Number');
  private _message = element('div', 't2-Message');
  private _kill: HTMLButtonElement;
}
