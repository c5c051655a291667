/** The line above the jobs: that the connection is broken, else what somebody asked for in vain. */

export class Trouble {
  constructor(private _draw: (text: string) => void) {}

  /** The connection is broken, and why; empty when it is not. */
  set connection(text: string) {
    this._connection = text;
    this._draw(this.text);
  }

  /** Something that was asked for failed: told until something else is done. */
  failed(error: unknown): void {
    this._failure = (error as Error).message;
    this._draw(this.text);
  }

  /** Somebody does something else: what failed before is told no longer. */
  forget(): void {
    this._failure = '';
    this._draw(this.text);
  }

  get text(): string {
    return this._connection || this._failure;
  }

  private _connection = '';
  private _failure = '';
}
