/**
 * Live views in a notebook: of jobs, of the cluster, and the form of resources. The kernel's widget is shown where it
 * comes; where it does not (the page was reloaded while the kernel computes, the notebook was opened anew, the kernel is
 * gone), the same view shows what the Jupyter server knows. Of the form only the submit needs its kernel.
 */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import type { ServerConnection } from '@jupyterlab/services';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { loadCluster, loadForm, loadViews, type Dispose, type ISource } from './views.js';

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

/** What a kernel publishes beside its widget: what is shown, and the class of the HTML below. */
type Published = Record<string, unknown>;

/** A kind of view. */
interface IKind {
  mime: string;
  /** By which a view of this kind is known, whoever feeds it. */
  selector: string;
  /**
   * Draw what the server knows into `place`, if it knows anything.
   * @param isWanted Whether that is still so, when something has been waited for.
   */
  show(published: Published, beside: string, place: HTMLElement, isWanted: () => boolean): Promise<Dispose | null>;
}

class LiveRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(
    private _kind: IKind,
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
      const isThere = child.node.querySelector(this._kind.selector) !== null;
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
    const isWaiting = this._dispose !== null || !this._isThere();
    if (this._model && isWaiting && isIdle && this._tries < MOST_TRIES) {
      this._tries++;
      this._dropWidget();
      this._showWidget(this._model);
    }
  }

  /** Show what the server knows, if it knows anything; else the HTML below stays. */
  private async _showServer(): Promise<void> {
    const model = this._model;
    const published = model?.data[this._kind.mime];
    const isWanted = () => !this.isDisposed && this._model === model && !this._dispose && !this._isThere();
    if (!isWanted() || typeof published !== 'object' || published === null) {
      return;
    }
    const data = published as Published;
    const beside = typeof data.beside === 'string' && PLACE.test(data.beside) ? data.beside : '';
    const place = document.createElement('div');
    this.node.append(place);
    let dispose: Dispose | null = null;
    try {
      dispose = await this._kind.show(data, beside, place, isWanted);
    } catch (error) {
      console.debug('t2notebook: the server has no views:', error);
    }
    if (!dispose) {
      place.remove();
      return;
    }
    this._dispose = () => {
      dispose();
      place.remove();
    };
  }

  private _isThere(): boolean {
    return this.node.querySelector(this._kind.selector) !== null;
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

/** Draw with a source into a place, until it is ended. */
function drawn(
  render: (options: { model: ISource; el: HTMLElement; trans: TranslationBundle }) => Dispose,
  source: ISource,
  place: HTMLElement,
  trans: TranslationBundle
): Dispose {
  const end = render({ model: source, el: place, trans });
  return () => {
    end();
    source.dispose();
  };
}

/** The kinds of views that kernels publish. */
function kinds(settings: ServerConnection.ISettings, trans: TranslationBundle): IKind[] {
  return [
    {
      mime: 'application/vnd.t2notebook.job+json',
      selector: '.t2-job',
      show: async ({ job_id }, beside, place, isWanted) => {
        if (typeof job_id !== 'string' || !JOB_ID.test(job_id)) {
          return null;
        }
        const views = await loadViews(settings);
        return isWanted() ? drawn(views.render, views.streamSource(job_id, beside, trans), place, trans) : null;
      }
    },
    {
      mime: 'application/vnd.t2notebook.cluster+json',
      selector: '.t2-cluster',
      show: async ({ master }, beside, place, isWanted) => {
        if (typeof master !== 'string') {
          return null;
        }
        const views = await loadCluster(settings);
        const source = await views.clusterSource(master, beside, trans);
        if (source && isWanted()) {
          return drawn(views.render, source, place, trans);
        }
        source?.dispose();
        return null;
      }
    },
    {
      mime: 'application/vnd.t2notebook.form+json',
      selector: '.t2-form',
      show: async ({ master, values, others }, beside, place, isWanted) => {
        if (typeof master !== 'string' || typeof values !== 'object' || !Array.isArray(others)) {
          return null;
        }
        const views = await loadForm(settings);
        const source = await views.formSource({ master, values, others }, beside, trans);
        if (source && isWanted()) {
          return drawn(views.render, source, place, trans);
        }
        source?.dispose();
        return null;
      }
    }
  ];
}

export const liveViewPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:live-view',
  description: 'Live views of jobs and clusters in notebooks, also without their kernel.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [INotebookTracker, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    registry: IRenderMimeRegistry,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('t2notebook');
    // Widgets are rendered by what belongs to the notebook, which knows its kernel.
    const panelOf = (node: HTMLElement) =>
      notebooks?.find(panel => panel.content.node.contains(node)) ?? null;
    for (const kind of kinds(app.serviceManager.serverSettings, trans)) {
      registry.addFactory(
        { safe: true, mimeTypes: [kind.mime], createRenderer: () => new LiveRenderer(kind, panelOf) },
        RANK
      );
    }
  }
};
