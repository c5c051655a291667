/** Which page of a browser tells of an event: each gets it, one tells it. */

export interface INews {
  job_id: string;
  state: string;
  has_ended: boolean;
}

const KEY = 't2notebook:told';
const LOCK = 't2notebook:told';
const MOST = 100;

/** Whether somebody wants to hear of it. */
export function isNews(event: INews, when: 'all' | 'failed' | 'never'): boolean {
  if (!event.has_ended || when === 'never') {
    return false;
  }
  return when === 'all' || event.state === 'FAILED' || event.state === 'LOST';
}

/** Take `id` for this page; false when another page has told it. */
export function take(id: string, storage: Pick<Storage, 'getItem' | 'setItem'>): boolean {
  let told: string[] = [];
  try {
    told = JSON.parse(storage.getItem(KEY) ?? '[]');
  } catch {
    // somebody else's, or broken
  }
  if (!Array.isArray(told)) {
    told = [];
  }
  if (told.includes(id)) {
    return false;
  }
  storage.setItem(KEY, JSON.stringify([...told, id].slice(-MOST)));
  return true;
}

/** Take `id`, the page that is looked at before the others. */
export async function claim(id: string): Promise<boolean> {
  const wait = document.hasFocus() ? 0 : document.visibilityState === 'visible' ? 150 : 500;
  if (wait) {
    await new Promise(resolve => setTimeout(resolve, wait + 150 * Math.random()));
  }
  try {
    // Only pages that come over TLS or from this machine have locks.
    return navigator.locks
      ? await navigator.locks.request(LOCK, async () => take(id, window.localStorage))
      : take(id, window.localStorage);
  } catch {
    return true; // no storage: better twice than never
  }
}
