/** The WebSocket with all jobs: open while somebody looks, opened again when it breaks meanwhile. */

import type { Api } from './api.js';
import type { Change } from '../../t2notebook/views/static/job_list.js';

const DELAYS = [500, 1000, 2000, 5000, 10000];

export type StreamState = 'closed' | 'opening' | 'open' | 'broken';

export class JobStream {
  state: StreamState = 'closed';
  /** Why it is broken, in words. */
  trouble = '';

  constructor(
    private _api: Api,
    private _onChange: (change: Change) => void,
    private _onState: () => void
  ) {}

  open(): void {
    if (!this._isWanted) {
      this._isWanted = true;
      this._failures = 0;
      this._connect();
    }
  }

  close(): void {
    this._isWanted = false;
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    socket?.close();
    this._enter('closed');
  }

  private _connect(): void {
    if (this.state !== 'broken') {
      this._enter('opening');
    }
    const socket = new this._api.settings.WebSocket(this._api.streamUrl);
    this._socket = socket;
    socket.onmessage = (event: MessageEvent) => {
      if (this._socket === socket) {
        this._failures = 0;
        this.trouble = '';
        this._enter('open');
        this._onChange(JSON.parse(event.data));
      }
    };
    socket.onclose = () => {
      if (this._socket === socket) {
        this._socket = null;
        void this._retry();
      }
    };
  }

  private async _retry(): Promise<void> {
    const delay = DELAYS[Math.min(this._failures++, DELAYS.length - 1)];
    this._enter('broken');
    this._timer = setTimeout(() => this._isWanted && this._connect(), delay);
    if (this._failures > 1 && !this.trouble) {
      // A WebSocket does not say why it failed; a request does.
      try {
        await this._api.summary();
      } catch (error) {
        this.trouble = (error as Error).message;
        this._onState();
      }
    }
  }

  private _enter(state: StreamState): void {
    if (this.state !== state) {
      this.state = state;
      this._onState();
    }
  }

  private _socket: WebSocket | null = null;
  private _isWanted = false;
  private _failures = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
