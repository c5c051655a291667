/** The side bar: a list of all jobs, or one of them; while it is hidden it holds no connection and no timer. */

import { Widget } from '@lumino/widgets';
import type { Message } from '@lumino/messaging';

import { ClustersView } from './clusters.js';
import { DetailsView, type Page } from './details.js';
import { button, element, setShown, setText } from './dom.js';
import type { IJobActions } from './item.js';
import { JobListView } from './list.js';
import type { Jobs } from './model.js';
import { Trouble } from './trouble.js';

/** Milliseconds between two looks at the clusters, while the panel is open. */
const CLUSTERS_MS = 5000;

export interface IPanelOptions {
  jobs: Jobs;
  attach: (jobId: string) => void;
  openNotebook: (path: string) => void;
  clear: () => void;
}

export class JobsPanel extends Widget {
  constructor(private _options: IPanelOptions) {
    super();
    const { jobs } = _options;
    const trans = jobs.trans;
    this.addClass('t2-Panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Twister2 jobs'));
    this._actions = {
      open: (jobId, page) => this.showJob(jobId, page),
      kill: jobId => this._kill(jobId),
      attach: _options.attach
    };
    const head = element('div', 't2-Head');
    head.append(
      element('span', 't2-Title', trans.__('Twister2 jobs')),
      button('', trans.__('Clear ended'), trans.__('Remove all jobs that have ended, with their results'), _options.clear)
    );
    const trouble = element('div', 't2-Trouble');
    trouble.setAttribute('role', 'alert');
    this._trouble = new Trouble(text => {
      setText(trouble, text);
      setShown(trouble, text !== '');
    });
    this._trouble.forget();
    this._list = new JobListView(jobs.store, this._actions, trans);
    this._clusters = new ClustersView(trans);
    this._overview.append(head, this._clusters.node, this._list.node);
    this.node.append(trouble, this._overview);
    jobs.changed.connect(() => this._onChanged());
    jobs.stateChanged.connect(() => this._onState());
  }

  /** Show one job. */
  showJob(jobId: string, page: Page = 'job'): void {
    this._trouble.forget();
    this._details?.dispose();
    const { jobs } = this._options;
    this._details = new DetailsView(
      jobId,
      jobs,
      this._actions,
      () => this.showAll(),
      path => this._options.openNotebook(path)
    );
    setShown(this._overview, false);
    this.node.append(this._details.node);
    this._details.draw();
    this._details.open(page);
    this._details.focus();
  }

  showAll(): void {
    this._trouble.forget();
    const jobId = this._details?.jobId;
    this._details?.dispose();
    this._details = null;
    setShown(this._overview, true);
    this._list.draw();
    this._overview.querySelector<HTMLElement>(`[data-job-id="${jobId}"] .t2-Item-name`)?.focus();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._wake();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._wake();
    }
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._rest();
  }

  protected override onBeforeDetach(message: Message): void {
    this._rest();
    super.onBeforeDetach(message);
  }

  private _wake(): void {
    this._options.jobs.stream.open();
    this._ticker ??= setInterval(() => this._tick(), 1000);
    this._list.begin();
    this._list.draw();
    this._details?.wake();
    void this._look();
  }

  private _rest(): void {
    this._options.jobs.stream.close();
    clearInterval(this._ticker);
    clearTimeout(this._looking);
    this._ticker = this._looking = undefined;
    this._details?.rest();
  }

  private _onChanged(): void {
    const { store } = this._options.jobs;
    if (!this._details) {
      this._list.draw();
    } else if (this._details.isKnown && store.isComplete && !store.rows.has(this._details.jobId)) {
      this.showAll(); // it was cleared
    } else {
      this._details.draw();
    }
  }

  private _onState(): void {
    const { stream, trans } = this._options.jobs;
    const isBroken = stream.state === 'broken';
    const text = stream.trouble || trans.__('The connection to the Jupyter server is broken; trying again…');
    this._trouble.connection = isBroken ? text : '';
    this.toggleClass('t2-mod-stale', isBroken);
  }

  private _tick(): void {
    const now = Date.now() / 1000;
    if (!this._details) {
      this._list.tick(now);
    }
  }

  /** The clusters' use changes without a job's state: it is asked for, as long as somebody looks. */
  private async _look(): Promise<void> {
    const { jobs } = this._options;
    clearTimeout(this._looking);
    this._looking = setTimeout(() => void this._look(), CLUSTERS_MS);
    try {
      if (jobs.stream.state === 'open' || jobs.stream.state === 'opening') {
        this._clusters.draw(await jobs.api.clusters());
      }
    } catch {
      this._clusters.draw([]);
    }
  }

  private async _kill(jobId: string): Promise<void> {
    this._trouble.forget();
    try {
      await this._options.jobs.api.kill(jobId);
    } catch (error) {
      this._trouble.failed(error);
      throw error;
    }
  }

  private _actions: IJobActions;
  private _trouble: Trouble;
  private _overview = element('div', 't2-Overview');
  private _list: JobListView;
  private _clusters: ClustersView;
  private _details: DetailsView | null = null;
  private _ticker: ReturnType<typeof setInterval> | undefined;
  private _looking: ReturnType<typeof setTimeout> | undefined;
}
