/** The jobs as the Jupyter server tells of them: kept by id, filtered and ordered for who looks. No DOM, no requests. */

export interface IJobRow {
  job_id: string;
  name: string;
  state: string;
  workers: number;
  running: number;
  finished_workers: number;
  failed_workers: number;
  progress: number;
  submitted: number | null;
  started: number | null;
  finished: number | null;
  message: string;
  cpus: number;
  mem: number;
  notebook: string;
  session: string;
  master: string;
  directory: string;
}

export interface IChange {
  all?: boolean;
  jobs?: IJobRow[];
  gone?: string[];
  complete?: boolean;
}

export type Which = 'all' | 'active' | 'ended' | 'trouble';

export type Tone = 'wait' | 'run' | 'good' | 'bad' | 'off';

const FINAL = new Set(['COMPLETED', 'FAILED', 'KILLED']);

export function hasEnded(row: IJobRow): boolean {
  return FINAL.has(row.state);
}

/** Whether it goes on: a job whose session was lost does not, as far as anybody can see. */
export function isActive(row: IJobRow): boolean {
  return !hasEnded(row) && row.session === 'living';
}

export function isLost(row: IJobRow): boolean {
  return !hasEnded(row) && row.session !== 'living';
}

export function inTrouble(row: IJobRow): boolean {
  return row.state === 'FAILED' || isLost(row) || row.failed_workers > 0;
}

export function tone(row: IJobRow): Tone {
  if (isLost(row) || row.state === 'FAILED') {
    return 'bad';
  }
  switch (row.state) {
    case 'COMPLETED':
      return 'good';
    case 'KILLED':
      return 'off';
    case 'STARTED':
      return 'run';
    default:
      return 'wait';
  }
}

export function stateText(row: IJobRow): string {
  return isLost(row) ? 'LOST' : row.state;
}

/** Seconds from the submit to the end, or to `now` (seconds since 1970); a lost job's clock stands. */
export function elapsed(row: IJobRow, now: number): number | null {
  if (row.submitted === null || isLost(row)) {
    return null;
  }
  return (row.finished ?? now) - row.submitted;
}

function rank(row: IJobRow): number {
  return isActive(row) ? 0 : isLost(row) ? 1 : 2;
}

/** What runs comes first, then what was lost, then the rest; the newest first in each. */
export function compare(one: IJobRow, other: IJobRow): number {
  return (
    rank(one) - rank(other) ||
    (other.submitted ?? 0) - (one.submitted ?? 0) ||
    (one.job_id < other.job_id ? 1 : -1)
  );
}

export function matches(row: IJobRow, text: string, which: Which): boolean {
  const isWanted =
    which === 'all' ||
    (which === 'active' && isActive(row)) ||
    (which === 'ended' && !isActive(row)) ||
    (which === 'trouble' && inTrouble(row));
  if (!isWanted) {
    return false;
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hay = `${row.name} ${row.job_id} ${stateText(row)} ${row.notebook} ${row.message ?? ''}`.toLowerCase();
  return words.every(word => hay.includes(word));
}

export class JobStore {
  readonly rows = new Map<string, IJobRow>();
  isComplete = false;

  /** Take a message of the stream in; returns the ids of what has changed. */
  apply(change: IChange): Set<string> {
    const changed = new Set<string>();
    if (change.all) {
      const known = new Set((change.jobs ?? []).map(row => row.job_id));
      for (const jobId of this.rows.keys()) {
        if (!known.has(jobId)) {
          changed.add(jobId);
          this.rows.delete(jobId);
        }
      }
      this.isComplete = false;
    }
    for (const row of change.jobs ?? []) {
      this.rows.set(row.job_id, row);
      changed.add(row.job_id);
    }
    for (const jobId of change.gone ?? []) {
      this.rows.delete(jobId);
      changed.add(jobId);
    }
    if (change.complete) {
      this.isComplete = true;
    }
    return changed;
  }

  ordered(text = '', which: Which = 'all'): IJobRow[] {
    return [...this.rows.values()].filter(row => matches(row, text, which)).sort(compare);
  }

  count(test: (row: IJobRow) => boolean): number {
    let found = 0;
    for (const row of this.rows.values()) {
      found += test(row) ? 1 : 0;
    }
    return found;
  }
}
