/** Requests to the server extension. An error's text names the real cause. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

export interface ICluster {
  master: string;
  sessions: number;
  is_embedded: boolean;
  error: string;
  slaves_active?: number;
  cpus_total?: number;
  cpus_used?: number;
  mem_total?: number;
  mem_used?: number;
  tasks_running?: number;
}

export class Api {
  constructor(
    readonly settings: ServerConnection.ISettings,
    private _trans: TranslationBundle
  ) {}

  get streamUrl(): string {
    const url = URLExt.join(this.settings.wsUrl, 't2notebook', 'api', 'stream');
    return this.settings.appendToken && this.settings.token
      ? `${url}?token=${encodeURIComponent(this.settings.token)}`
      : url;
  }

  summary(): Promise<{ version: string; active: number }> {
    return this._ask('summary');
  }

  async kill(jobId: string): Promise<void> {
    await this._ask(`jobs/${jobId}/kill`, {});
  }

  logs(jobId: string, worker: number, stream: string, offset: number): Promise<{ text: string; offset: number }> {
    return this._ask(`jobs/${jobId}/logs/${worker}?stream=${stream}&offset=${offset}`);
  }

  async cell(jobId: string): Promise<string> {
    return (await this._ask<{ source: string }>(`jobs/${jobId}/cell`)).source;
  }

  async clear(): Promise<string[]> {
    return (await this._ask<{ cleared: string[] }>('clear', {})).cleared;
  }

  async clusters(): Promise<ICluster[]> {
    return (await this._ask<{ clusters: ICluster[] }>('clusters')).clusters;
  }

  /** Say why a request failed, also for a stream that cannot tell itself. */
  async _ask<T>(path: string, content?: object): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, 't2notebook', 'api') + '/' + path;
    const init = content ? { method: 'POST', body: JSON.stringify(content) } : {};
    let answer: Response;
    try {
      answer = await ServerConnection.makeRequest(url, init, this.settings);
    } catch (error) {
      throw new Error(this._trans.__('The Jupyter server does not answer: %1', (error as Error).message));
    }
    const text = await answer.text();
    let record: { message?: string } | null = null;
    try {
      record = JSON.parse(text);
    } catch {
      // an HTML page, of the server itself or of a proxy before it
    }
    if (answer.ok && record) {
      return record as T;
    }
    throw new Error(this._cause(answer.status, record?.message));
  }

  private _cause(status: number, message?: string): string {
    if (status === 404 && (!message || message === 'Not Found')) {
      return this._trans.__(
        'The Jupyter server has no t2notebook: install it in the environment that Jupyter runs in (there “jupyter server extension list” tells whether it is enabled and can be loaded), and start Jupyter again.'
      );
    }
    if (status === 403 && (!message || message === 'Forbidden')) {
      return this._trans.__('The Jupyter server refuses: you are logged out, or may not do this. Reload the page.');
    }
    return message || this._trans.__('The Jupyter server answers HTTP %1.', status);
  }
}
