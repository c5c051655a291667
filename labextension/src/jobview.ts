/**
 * A job's live view in a notebook. The kernel's widget is shown where it comes; where it does not (the page was reloaded
 * while the kernel computes, the notebook was opened anew, the kernel is gone), the same view shows what the Jupyter
 * server knows of the job.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { loadViews, type Dispose, type IViews } from './views.js';

/** What a kernel publishes beside its widget: the id of the job, and the class of the HTML below. */
export const JOB_MIME = 'application/vnd.t2notebook.job+json';
const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
/** Before widgets, which have -10. */
const RANK = -20;
/** Milliseconds that the widget has to come. */
const PATIENCE = 1500;
/** Milliseconds between two looks whether the kernel can give its widget now, and how often it is asked while it is idle. */
const AGAIN = 3000;
const MOST_TRIES = 4;
const JOB_ID = /^[-a-z0-9]{1,80}$/;
/** No other class: what has it is hidden, and a notebook may come from anybody. */
const PLACE = /^t2-[0-9a-f]{12}$/;

class JobRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(
    private _load: () => Promise<IViews>,
    private _panelOf: (node: HTMLElement) => NotebookPanel | null
  ) {
    super();
    this.layout = new PanelLayout();
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    if (this.isAttached) {
      this._show();
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._show();
  }

  override dispose(): void {
    this._leave();
    super.dispose();
  }

  private _show(): void {
    if (!this._model || this._shown === this._model) {
      return;
    }
    this._leave();
    this._shown = this._model;
    this._showWidget(this._model);
    this._timer = window.setTimeout(() => void this._showServer(), PATIENCE);
    this._tries = 0;
    this._interval = window.setInterval(() => this._tryAgain(), AGAIN);
  }

  /** Let the notebook's own renderer show the kernel's widget; never that of a notebook that is not trusted. */
  private _showWidget(model: IRenderMime.IMimeModel): void {
    const registry = this._panelOf(this.node)?.content.rendermime;
    if (!registry || !model.trusted || !(WIDGET_MIME in model.data)) {
      return;
    }
    const child = registry.createRenderer(WIDGET_MIME);
    child.node.hidden = true;
    this._observer = new MutationObserver(() => {
      const isThere = child.node.querySelector('.t2-job') !== null;
      if (isThere === child.node.hidden) {
        child.node.hidden = !isThere;
        if (isThere) {
          this._end();
        } else {
          void this._showServer();
        }
      }
    });
    this._observer.observe(child.node, { childList: true, subtree: true });
    (this.layout as PanelLayout).addWidget(child);
    child.renderModel(model).catch(error => console.debug('t2notebook: no widget:', error));
  }

  /** Ask for the widget once more: the page may not have known the kernel's widgets yet, or the kernel had no time. */
  private _tryAgain(): void {
    const isIdle = this._panelOf(this.node)?.sessionContext.session?.kernel?.status === 'idle';
    if (this._model && this._dispose && isIdle && this._tries < MOST_TRIES) {
      this._tries++;
      this._dropWidget();
      this._showWidget(this._model);
    }
  }

  /** Show what the server knows, if it knows the job; else the HTML below stays. */
  private async _showServer(): Promise<void> {
    const model = this._model;
    const data = model?.data[JOB_MIME] as { job_id?: unknown; beside?: unknown } | undefined;
    if (this._dispose || this._isThere() || typeof data?.job_id !== 'string' || !JOB_ID.test(data.job_id)) {
      return;
    }
    const beside = typeof data.beside === 'string' && PLACE.test(data.beside) ? data.beside : '';
    let views: IViews;
    try {
      views = await this._load();
    } catch (error) {
      console.debug('t2notebook: the server has no views:', error);
      return;
    }
    if (this.isDisposed || this._model !== model || this._dispose || this._isThere()) {
      return;
    }
    const place = document.createElement('div');
    this.node.append(place);
    const source = views.streamSource(data.job_id, beside);
    const dispose = views.render({ model: source, el: place });
    this._dispose = () => {
      dispose();
      source.dispose();
      place.remove();
    };
  }

  private _isThere(): boolean {
    return this.node.querySelector('.t2-job') !== null;
  }

  private _end(): void {
    window.clearTimeout(this._timer);
    this._dispose?.();
    this._dispose = null;
  }

  private _leave(): void {
    this._end();
    window.clearInterval(this._interval);
    this._dropWidget();
  }

  private _dropWidget(): void {
    this._observer?.disconnect();
    this._observer = null;
    for (const child of [...(this.layout as PanelLayout).widgets]) {
      child.dispose();
    }
  }

  private _model: IRenderMime.IMimeModel | null = null;
  private _shown: IRenderMime.IMimeModel | null = null;
  private _observer: MutationObserver | null = null;
  private _dispose: Dispose | null = null;
  private _timer = 0;
  private _interval = 0;
  private _tries = 0;
}

export const jobViewPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:job-view',
  description: "A job's live view in notebooks, also without its kernel.",
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [INotebookTracker],
  activate: (app: JupyterFrontEnd, registry: IRenderMimeRegistry, notebooks: INotebookTracker | null) => {
    const load = () => loadViews(app.serviceManager.serverSettings);
    // Widgets are rendered by what belongs to the notebook, which knows its kernel.
    const panelOf = (node: HTMLElement) =>
      notebooks?.find(panel => panel.content.node.contains(node)) ?? null;
    registry.addFactory(
      { safe: true, mimeTypes: [JOB_MIME], createRenderer: () => new JobRenderer(load, panelOf) },
      RANK
    );
  }
};
