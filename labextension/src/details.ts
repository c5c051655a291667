/** One job: what it is, its workers, their output, and why it waits or has ended. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { Bar, button, element, setShown, setText } from './dom.js';
import { clock, duration, memory, number, percent } from './format.js';
import { countText, killButton, type IJobActions } from './item.js';
import { elapsed, hasEnded, isActive, isLost, stateText, tone, type IJobRow } from './jobs.js';
import type { Jobs } from './model.js';
import { OutputView } from './output.js';
import { WhyView } from './why.js';
import { WorkersView } from './workers.js';

export type Page = 'workers' | 'output' | 'why';

/** Milliseconds between two looks at the workers while the job changes. */
const PAUSE_MS = 1000;

export class DetailsView {
  readonly node = element('div', 't2-Details');

  constructor(
    readonly jobId: string,
    private _jobs: Jobs,
    actions: IJobActions,
    onBack: () => void,
    onNotebook: (path: string) => void
  ) {
    const trans = _jobs.trans;
    this._trans = trans;
    const head = element('div', 't2-Item-line');
    this._back = button('t2-Back', '‹', trans.__('Back to all jobs'), onBack);
    this._back.setAttribute('aria-label', trans.__('Back to all jobs'));
    head.append(this._back, this._name, this._state);
    this._bar = new Bar(trans.__('Progress'));
    const progress = element('div', 't2-Item-line');
    progress.append(this._bar.node, this._percent, this._elapsed);
    const kill = killButton(trans, () => actions.kill(jobId));
    this._kill = kill.node;
    this._notebook = button('t2-Link', '', '', () => onNotebook(this._row?.notebook ?? ''));
    const tools = element('div', 't2-Details-tools');
    tools.append(
      kill.node,
      button('', trans.__('Attach'), trans.__('Add a cell to the notebook that attaches to this job'), () =>
        actions.attach(jobId)
      ),
      this._notebook
    );
    this._workers = new WorkersView(trans, workerId => this.open('output', workerId));
    this._output = new OutputView(_jobs.api, jobId, () => !this._row || !isActive(this._row), trans);
    this._why = new WhyView(trans);
    this._makeTabs();
    const views = [this._workers.node, this._output.node, this._why.node];
    this.node.append(head, progress, this._facts, this._message, tools, this._tabs, this._error, ...views);
    this._error.setAttribute('role', 'status');
  }

  focus(): void {
    this._back.focus();
  }

  /** Show the job as it is now. */
  draw(): void {
    const row = this._jobs.store.rows.get(this.jobId);
    if (!row) {
      setText(this._name, this.jobId);
      return;
    }
    const isNew = row !== this._row;
    this._row = row;
    const trans = this._trans;
    this.node.dataset.tone = tone(row);
    setText(this._name, row.name);
    setText(this._state, stateText(row));
    this._bar.set(row.progress, tone(row));
    setText(this._percent, percent(row.progress));
    setShown(this._bar.node, isActive(row));
    setShown(this._percent, isActive(row));
    setText(this._facts, this._factsOf(row));
    const isTold = Boolean(row.message) && row.state !== 'COMPLETED';
    setText(this._message, isTold ? row.message : '');
    setShown(this._message, isTold);
    setShown(this._kill, !hasEnded(row));
    setShown(this._notebook, row.notebook !== '');
    setText(this._notebook, trans.__('Open notebook'));
    this._notebook.title = row.notebook;
    this._output.workers = row.workers;
    this.tick(Date.now() / 1000);
    if (isNew) {
      this._lookSoon();
    }
  }

  tick(now: number): void {
    const seconds = this._row ? elapsed(this._row, now) : null;
    setText(this._elapsed, seconds === null ? '' : duration(seconds));
  }

  open(page: Page, workerId?: number): void {
    this._page = page;
    for (const [name, tab] of this._buttons) {
      tab.setAttribute('aria-selected', String(name === page));
      tab.tabIndex = name === page ? 0 : -1;
    }
    setShown(this._workers.node, page === 'workers');
    setShown(this._output.node, page === 'output');
    setShown(this._why.node, page === 'why');
    setText(this._error, '');
    if (page === 'output') {
      this._output.show(workerId);
    } else {
      this._output.hide();
      this._lookedAt = 0;
      this._lookSoon();
    }
  }

  /** Nobody looks: ask for nothing until somebody does again. */
  rest(): void {
    this._isResting = true;
    clearTimeout(this._timer);
    this._timer = undefined;
    this._output.hide();
  }

  wake(): void {
    this._isResting = false;
    this.draw();
    this.open(this._page);
  }

  /** Ask for nothing any more. */
  dispose(): void {
    this.rest();
    this.node.remove();
  }

  private _factsOf(row: IJobRow): string {
    const each = row.workers ? `${number(row.cpus / row.workers)} cpu, ${memory(row.mem / row.workers)}` : '';
    return [
      countText(row, this._trans),
      each && this._trans.__('each %1', each),
      row.submitted === null ? '' : this._trans.__('submitted %1', clock(row.submitted)),
      isLost(row) || row.master === 'local' ? '' : row.master,
      row.job_id
    ]
      .filter(Boolean)
      .join(' · ');
  }

  private _makeTabs(): void {
    this._tabs.setAttribute('role', 'tablist');
    const pages: [Page, string, HTMLElement][] = [
      ['workers', this._trans.__('Workers'), this._workers.node],
      ['output', this._trans.__('Output'), this._output.node],
      ['why', this._trans.__('Why'), this._why.node]
    ];
    for (const [page, label, view] of pages) {
      const tab = button('t2-Tab', label, '', () => this.open(page));
      tab.setAttribute('role', 'tab');
      view.id = `t2-page-${page}`;
      tab.setAttribute('aria-controls', view.id);
      this._buttons.set(page, tab);
      this._tabs.append(tab);
    }
    this._tabs.addEventListener('keydown', event => {
      const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
      if (step) {
        const at = pages.findIndex(([page]) => page === this._page);
        const [next] = pages[(at + step + pages.length) % pages.length];
        this.open(next);
        this._buttons.get(next)?.focus();
      }
    });
  }

  /** Ask for workers or reasons again, at most once a second. */
  private _lookSoon(): void {
    if (this._page === 'output' || this._timer !== undefined || this._isResting) {
      return;
    }
    const wait = Math.max(0, this._lookedAt + PAUSE_MS - Date.now());
    this._timer = setTimeout(() => {
      this._timer = undefined;
      void this._look();
    }, wait);
  }

  private async _look(): Promise<void> {
    this._lookedAt = Date.now();
    const page = this._page;
    try {
      if (page === 'workers') {
        this._workers.draw(await this._jobs.api.tasks(this.jobId));
      } else if (page === 'why') {
        this._why.draw(await this._jobs.api.why(this.jobId));
      }
      setText(this._error, '');
    } catch (error) {
      setText(this._error, (error as Error).message);
    }
  }

  private _trans: TranslationBundle;
  private _row: IJobRow | null = null;
  private _page: Page = 'workers';
  private _buttons = new Map<Page, HTMLButtonElement>();
  private _back: HTMLButtonElement;
  private _name = element('span', 't2-Details-name');
  private _state = element('span', 't2-Chip');
  private _bar: Bar;
  private _percent = element('span', 't2-Number');
  private _elapsed = element('span', 't2-Number t2-Muted');
  private _facts = element('div', 't2-Facts t2-Muted');
  private _message = element('div', 't2-Message t2-Message-whole');
  private _error = element('div', 't2-Message');
  private _tabs = element('div', 't2-Tabs');
  private _kill: HTMLButtonElement;
  private _notebook: HTMLButtonElement;
  private _workers: WorkersView;
  private _output: OutputView;
  private _why: WhyView;
  private _lookedAt = 0;
  private _isResting = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
