/** Nodes of the side bar; what all views share is the package's. */

import { element, setText } from '../../t2notebook/views/static/dom.js';

export { element, setShown, setText } from '../../t2notebook/views/static/dom.js';

export function button(className: string, text: string, title: string, onClick: () => void): HTMLButtonElement {
  const node = element('button', `t2-Button ${className}`, text);
  node.type = 'button';
  node.title = title;
  node.addEventListener('click', event => {
    event.stopPropagation();
    onClick();
  });
  return node;
}

export class Bar {
  readonly node = element('span', 't2-Bar');

  constructor(label: string) {
    this.node.setAttribute('role', 'progressbar');
    this.node.setAttribute('aria-valuemin', '0');
    this.node.setAttribute('aria-valuemax', '100');
    this.label = label;
    this.node.append(this._fill);
  }

  set label(text: string) {
    this.node.setAttribute('aria-label', text);
  }

  set(fraction: number, tone: string): void {
    const percent = Math.round(100 * Math.min(1, Math.max(0, fraction)));
    this.node.setAttribute('aria-valuenow', String(percent));
    this._fill.style.width = `${percent}%`;
    this._fill.dataset.tone = tone;
  }

  private _fill = element('span', 't2-Bar-fill');
}

/** The first click arms it, a second one within a few seconds acts. */
export class SureButton {
  readonly node: HTMLButtonElement;

  constructor(
    private _texts: { idle: string; armed: string; busy: string; title: string; armedTitle: string },
    private _act: () => Promise<void>
  ) {
    this.node = button('t2-Kill', _texts.idle, _texts.title, () => void this._click());
    this.node.addEventListener('blur', () => this._phase === 'armed' && this._enter('idle'));
  }

  private async _click(): Promise<void> {
    if (this._phase === 'idle') {
      this._enter('armed');
    } else if (this._phase === 'armed') {
      this._enter('busy');
      try {
        await this._act();
      } catch {
        // who acts tells what went wrong
      } finally {
        this._timer = setTimeout(() => this._enter('idle'), 3000);
      }
    }
  }

  private _enter(phase: 'idle' | 'armed' | 'busy'): void {
    clearTimeout(this._timer);
    this._phase = phase;
    this.node.dataset.phase = phase;
    this.node.disabled = phase === 'busy';
    setText(this.node, this._texts[phase]);
    this.node.title = phase === 'armed' ? this._texts.armedTitle : this._texts.title;
    if (phase === 'armed') {
      this._timer = setTimeout(() => this._enter('idle'), 4000);
    }
  }

  private _phase: 'idle' | 'armed' | 'busy' = 'idle';
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
