/** One job: the package's own view of it, fed by the Jupyter server, and all that one of its workers writes. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { button, element, setShown, setText } from './dom.js';
import type { IJobActions } from './item.js';
import { isActive, type JobRow } from '../../t2notebook/views/static/job_list.js';
import type { Jobs } from './model.js';
import { OutputView } from './output.js';
import { loadViews, type Dispose } from './views.js';

/** `why` is the job, with why it waits or how it came to its end. */
export type Page = 'job' | 'output' | 'why';

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
    this._back = button('t2-Back', '‹', trans.__('Back to all jobs'), onBack);
    this._back.setAttribute('aria-label', trans.__('Back to all jobs'));
    this._notebook = button('', trans.__('Open notebook'), '', () => onNotebook(this._row?.notebook ?? ''));
    const head = element('div', 't2-Item-line');
    head.append(
      this._back,
      button('', trans.__('Attach'), trans.__('Add a cell to the notebook that attaches to this job'), () =>
        actions.attach(jobId)
      ),
      this._notebook
    );
    this._output = new OutputView(_jobs.api, jobId, () => !this._row || !isActive(this._row), trans);
    this._error.setAttribute('role', 'status');
    this._makeTabs(trans);
    this.node.append(head, this._tabs, this._error, this._place, this._output.node);
  }

  focus(): void {
    this._back.focus();
  }

  /** Whether the list has had the job. */
  get isKnown(): boolean {
    return this._row !== null;
  }

  /** Take what the list knows of the job. */
  draw(): void {
    const row = this._jobs.store.rows.get(this.jobId);
    if (row) {
      this._row = row;
      this._notebook.title = row.notebook;
      this._output.workers = row.workers;
    }
    setShown(this._notebook, Boolean(this._row?.notebook));
  }

  open(page: Page, workerId?: number): void {
    this._page = page;
    const isOutput = page === 'output';
    for (const [name, tab] of this._buttons) {
      const isOpen = (name === 'output') === isOutput;
      tab.setAttribute('aria-selected', String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
    }
    setShown(this._place, !isOutput);
    setShown(this._output.node, isOutput);
    setText(this._error, '');
    if (isOutput) {
      this._leave();
      this._output.show(workerId);
    } else {
      this._output.hide();
      void this._show();
    }
  }

  /** Nobody looks: ask for nothing, and hold no connection, until somebody does again. */
  rest(): void {
    this._output.hide();
    this._leave();
  }

  wake(): void {
    this.draw();
    this.open(this._page);
  }

  dispose(): void {
    this.rest();
    this.node.remove();
  }

  private _makeTabs(trans: TranslationBundle): void {
    this._tabs.setAttribute('role', 'tablist');
    const pages: [Page, string, HTMLElement][] = [
      ['job', trans.__('Job'), this._place],
      ['output', trans.__('Output'), this._output.node]
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
      if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
        const next = this._page === 'output' ? 'job' : 'output';
        this.open(next);
        this._buttons.get(next)?.focus();
      }
    });
  }

  private async _show(): Promise<void> {
    this._leave();
    const turn = ++this._turn;
    try {
      const views = await loadViews(this._jobs.api.settings);
      if (turn === this._turn) {
        const { trans } = this._jobs;
        const source = views.streamSource(this.jobId, '', trans);
        const end = views.render({ model: source, el: this._place, page: this._page, trans });
        this._end = () => {
          end();
          source.dispose();
        };
      }
    } catch {
      // A script that cannot be loaded does not say why; a request does.
      const trans = this._jobs.trans;
      const unknown = trans.__('The view of the job cannot be loaded: its scripts on the Jupyter server are not ours.');
      const cause = await this._jobs.api.summary().then(
        () => unknown,
        error => (error as Error).message
      );
      if (turn === this._turn) {
        setText(this._error, cause);
      }
    }
  }

  private _leave(): void {
    this._turn++;
    this._end?.();
    this._end = null;
  }

  private _row: JobRow | null = null;
  private _page: Page = 'job';
  private _buttons = new Map<Page, HTMLButtonElement>();
  private _back: HTMLButtonElement;
  private _notebook: HTMLButtonElement;
  private _error = element('div', 't2-Message');
  private _tabs = element('div', 't2-Tabs');
  private _place = element('div', 't2-Place');
  private _output: OutputView;
  private _end: Dispose | null = null;
  private _turn = 0;
}
