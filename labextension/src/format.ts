/** Numbers and times as people read them; the same rules as the views in the notebook. */

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) {
    return `${minutes} m ${two(whole % 60)} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 24
    ? `${hours} h ${two(minutes % 60)} m`
    : `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/** The time of day here; with the day, unless that is today. */
export function clock(seconds: number, now: Date = new Date()): string {
  const moment = new Date(1000 * seconds);
  const time = moment.toTimeString().slice(0, 8);
  if (moment.toDateString() === now.toDateString()) {
    return time;
  }
  const day = moment.toLocaleDateString(undefined, { day: '2-digit', month: 'short' });
  return `${day} ${time.slice(0, 5)}`;
}

export function memory(mebibytes: number): string {
  return mebibytes < 10240 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}

export function number(value: number): string {
  return String(Math.round(10 * value) / 10);
}

export function percent(fraction: number): string {
  return `${Math.round(100 * Math.min(1, Math.max(0, fraction)))} %`;
}

/** A path's last part, without the suffix of notebooks. */
export function notebookName(path: string): string {
  return (path.split('/').pop() ?? '').replace(/\.ipynb$/, '');
}
