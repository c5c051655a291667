/** What one worker writes, followed as long as it is looked at. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Api } from './api.js';
import { element, setText } from './dom.js';

const PAUSE_MS = 1000;
/** Characters that stay in the page. */
const MOST = 200_000;
/** Bytes from the end with which it begins. */
const TAIL = 32_768;

export class OutputView {
  readonly node = element('div', 't2-Output');

  constructor(
    private _api: Api,
    private _jobId: string,
    private _isOver: () => boolean,
    private _trans: TranslationBundle
  ) {
    const line = element('div', 't2-Filter');
    this._worker.type = 'number';
    this._worker.min = '0';
    this._worker.value = '0';
    this._worker.setAttribute('aria-label', _trans.__('Worker'));
    this._stream.setAttribute('aria-label', _trans.__('Stream'));
    for (const stream of ['stdout', 'stderr']) {
      this._stream.append(element('option', '', stream));
    }
    this._worker.addEventListener('change', () => this._begin());
    this._stream.addEventListener('change', () => this._begin());
    line.append(element('span', 't2-Muted', _trans.__('Worker')), this._worker, this._stream);
    this._text.tabIndex = 0;
    this._text.setAttribute('role', 'log');
    this._text.setAttribute('aria-live', 'off');
    this._text.setAttribute('aria-label', _trans.__('Output of the worker'));
    this._note.setAttribute('role', 'status');
    this.node.append(line, this._note, this._text);
  }

  set workers(count: number) {
    this._worker.max = String(count - 1);
  }

  show(workerId?: number): void {
    if (workerId !== undefined) {
      this._worker.value = String(workerId);
    }
    this._isShown = true;
    this._begin();
  }

  hide(): void {
    this._isShown = false;
    clearTimeout(this._timer);
    this._turn++;
  }

  private _begin(): void {
    clearTimeout(this._timer);
    this._offset = -TAIL;
    this._kept = '';
    setText(this._text, '');
    setText(this._note, this._trans.__('Reading…'));
    void this._read(++this._turn);
  }

  private async _read(turn: number): Promise<void> {
    let text = '';
    const wasOver = this._isOver();
    try {
      const page = await this._api.logs(
        this._jobId,
        Math.max(0, Number(this._worker.value) || 0),
        this._stream.value,
        this._offset
      );
      if (turn !== this._turn) {
        return;
      }
      text = page.text;
      this._offset = page.offset;
      this._append(text);
      setText(this._note, this._kept ? '' : this._trans.__('It has written nothing yet.'));
    } catch (error) {
      if (turn === this._turn) {
        setText(this._note, (error as Error).message);
      }
      return;
    }
    if (this._isShown && (text || !wasOver)) {
      this._timer = setTimeout(() => void this._read(turn), text ? 50 : PAUSE_MS);
    }
  }

  private _append(text: string): void {
    if (!text) {
      return;
    }
    const node = this._text;
    const isAtEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 8;
    this._kept += text;
    if (this._kept.length > MOST) {
      this._kept = this._kept.slice(this._kept.indexOf('\n', this._kept.length - MOST) + 1);
      node.textContent = this._kept;
    } else {
      node.append(document.createTextNode(text));
    }
    if (isAtEnd) {
      node.scrollTop = node.scrollHeight;
    }
  }

  private _worker = element('input', 't2-Input t2-Worker');
  private _stream = element('select', 't2-Input');
  private _note = element('div', 't2-Muted t2-Note');
  private _text = element('pre', 't2-Log');
  private _offset = 0;
  private _kept = '';
  private _turn = 0;
  private _isShown = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
