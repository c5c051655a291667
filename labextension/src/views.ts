/** The views of jobs in the Python package, as the Jupyter server serves them: one library for every page. */

import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

export type Dispose = () => void;

/** What feeds a view; see `source.js` there. */
export interface ISource {
  get(name: string): unknown;
  on(event: string, listener: () => void): void;
  dispose(): void;
}

export interface IViews {
  /** Draw a job into `el`; `page` is what is opened besides, `logs` or `why`. */
  render(options: { model: ISource; el: HTMLElement; page?: string }): Dispose;
  /** A job as the Jupyter server knows it; the view hides HTML of the class `beside`. */
  streamSource(jobId: string, beside?: string): ISource;
}

let views: Promise<IViews> | null = null;

/** Import the view and its style once; the server has the same version of both as of what it sends them. */
export function loadViews(settings: ServerConnection.ISettings): Promise<IViews> {
  views ??= load(URLExt.join(settings.baseUrl, 't2notebook', 'static')).catch(error => {
    views = null;
    throw error;
  });
  return views;
}

async function load(base: string): Promise<IViews> {
  const [view, source] = await Promise.all([
    import(/* webpackIgnore: true */ `${base}/job_view.js`),
    import(/* webpackIgnore: true */ `${base}/stream_source.js`)
  ]);
  const style = document.createElement('link');
  style.rel = 'stylesheet';
  style.href = `${base}/job_view.css`;
  document.head.append(style);
  await new Promise(resolve => (style.onload = style.onerror = resolve));
  return { render: view.default.render, streamSource: source.streamSource };
}
