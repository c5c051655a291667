/** The views in the Python package, as the Jupyter server serves them: one library for every page. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

export type Dispose = () => void;

/** What feeds a view; see `source.js` there. */
export interface ISource {
  get(name: string): unknown;
  on(event: string, listener: () => void): void;
  dispose(): void;
}

export interface IViews {
  /** Draw a job into `el`; `page` is what is opened besides, `logs` or `why`. */
  render(options: { model: ISource; el: HTMLElement; page?: string; trans: TranslationBundle }): Dispose;
  /** A job as the Jupyter server knows it; the view hides HTML of the class `beside`. */
  streamSource(jobId: string, beside: string, trans: TranslationBundle): ISource;
}

export interface IClusterViews {
  render(options: { model: ISource; el: HTMLElement; trans: TranslationBundle }): Dispose;
  /** A cluster as the Jupyter server knows it; null if it knows none at this address. */
  clusterSource(master: string, beside: string, trans: TranslationBundle): Promise<ISource | null>;
}

export interface IFormViews {
  render(options: { model: ISource; el: HTMLElement; trans: TranslationBundle }): Dispose;
  /** A form that the Jupyter server feeds; null if it cannot. */
  formSource(published: object, beside: string, trans: TranslationBundle): Promise<ISource | null>;
}

const loaded = new Map<string, Promise<unknown>>();

/** Import a view and its style once; the server has the same version of both as of what it sends them. */
function once<T>(name: string, load: () => Promise<T>): Promise<T> {
  const known = loaded.get(name) as Promise<T> | undefined;
  if (known) {
    return known;
  }
  const loading = load().catch(error => {
    loaded.delete(name);
    throw error;
  });
  loaded.set(name, loading);
  return loading;
}

export function loadViews(settings: ServerConnection.ISettings): Promise<IViews> {
  const base = baseOf(settings);
  return once('jobs', async () => {
    const [view, source] = await Promise.all([
      import(/* webpackIgnore: true */ `${base}/job_view.js`),
      import(/* webpackIgnore: true */ `${base}/stream_source.js`),
      addStyle(base, 'job_view.css')
    ]);
    return { render: view.default.render, streamSource: source.streamSource };
  });
}

export function loadCluster(settings: ServerConnection.ISettings): Promise<IClusterViews> {
  const base = baseOf(settings);
  return once('cluster', async () => {
    const [view, source] = await Promise.all([
      import(/* webpackIgnore: true */ `${base}/cluster_view.js`),
      import(/* webpackIgnore: true */ `${base}/cluster_source.js`),
      addStyle(base, 'resource_form.css'),
      addStyle(base, 'cluster_view.css')
    ]);
    return { render: view.default.render, clusterSource: source.clusterSource };
  });
}

export function loadForm(settings: ServerConnection.ISettings): Promise<IFormViews> {
  const base = baseOf(settings);
  return once('form', async () => {
    const [view, source] = await Promise.all([
      import(/* webpackIgnore: true */ `${base}/resource_form.js`),
      import(/* webpackIgnore: true */ `${base}/form_source.js`),
      addStyle(base, 'resource_form.css'),
      addStyle(base, 'cluster_view.css')
    ]);
    return { render: view.default.render, formSource: source.formSource };
  });
}

function baseOf(settings: ServerConnection.ISettings): string {
  return URLExt.join(settings.baseUrl, 't2notebook', 'static');
}

async function addStyle(base: string, name: string): Promise<void> {
  const style = document.createElement('link');
  style.rel = 'stylesheet';
  style.href = `${base}/${name}`;
  document.head.append(style);
  await new Promise(resolve => (style.onload = style.onerror = resolve));
}
