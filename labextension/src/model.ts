/** The jobs of this page: what the panel's stream says while it is open, and what comes over the server's event bus. */

import { Signal, type ISignal } from '@lumino/signaling';
import { Token } from '@lumino/coreutils';
import type { Event, ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import { Api } from './api.js';
import { isActive, JobStore, type Change } from '../../t2notebook/views/static/job_list.js';
import { JobStream } from './stream.js';

export const SCHEMA_ID = 'https://schema.t2notebook.invalid/job/v1';

export interface IJobEvent {
  job_id: string;
  name: string;
  state: string;
  message?: string;
  notebook?: string;
  seconds?: number;
  has_ended: boolean;
  active: number;
}

export const IJobs = new Token<Jobs>('t2notebook:IJobs', 'Twister2 jobs that the Jupyter server knows.');

export class Jobs {
  readonly store = new JobStore();
  readonly stream: JobStream;
  readonly api: Api;
  /** How many jobs go on, as far as was heard last. */
  active = 0;

  constructor(
    services: ServiceManager.IManager,
    readonly trans: TranslationBundle
  ) {
    this.api = new Api(services.serverSettings, trans);
    this.stream = new JobStream(
      this.api,
      change => this._onChange(change),
      () => this._stateChanged.emit()
    );
    services.events.stream.connect((_, emission) => this._onEmission(emission));
  }

  /** Ids of jobs that have changed, while the stream is open. */
  get changed(): ISignal<this, Set<string>> {
    return this._changed;
  }

  /** The stream opened, broke, or was closed. */
  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  get activeChanged(): ISignal<this, number> {
    return this._activeChanged;
  }

  /** Whether any job goes on has changed, maybe. */
  get shownChanged(): ISignal<this, void> {
    return this._shownChanged;
  }

  /** A job's state has changed; comes without a connection of our own. */
  get happened(): ISignal<this, IJobEvent> {
    return this._happened;
  }

  /** Somebody wants the details of a job to be shown. */
  readonly wanted = new Signal<this, string>(this);

  /** Ask once; the rest is told. */
  async ask(): Promise<void> {
    try {
      this._setActive((await this.api.summary()).active);
    } catch (error) {
      console.debug('t2notebook:', (error as Error).message);
    }
  }

  /** Resolves when the open stream has told of all jobs, or after a moment. */
  async loaded(): Promise<void> {
    const end = Date.now() + 2000;
    while (!this.store.isComplete && Date.now() < end) {
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  private _onChange(change: Change): void {
    const changed = this.store.apply(change);
    this._setActive(this.store.count(isActive));
    this._changed.emit(changed);
  }

  private _onEmission(emission: Event.Emission): void {
    if (emission.schema_id !== SCHEMA_ID) {
      return;
    }
    const event = emission as unknown as IJobEvent;
    if (this.stream.state !== 'open') {
      this._setActive(event.active);
    }
    this._happened.emit(event);
  }

  private _setActive(active: number): void {
    if (active !== this.active) {
      this.active = active;
      this._activeChanged.emit(active);
      this._shownChanged.emit();
    }
  }

  private _changed = new Signal<this, Set<string>>(this);
  private _stateChanged = new Signal<this, void>(this);
  private _activeChanged = new Signal<this, number>(this);
  private _shownChanged = new Signal<this, void>(this);
  private _happened = new Signal<this, IJobEvent>(this);
}
