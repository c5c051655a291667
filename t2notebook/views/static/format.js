// Texts of times and amounts, by the rules of `t2notebook.views.snapshot`.

/** @param {number} number */
function two(number) {
  return String(number).padStart(2, "0");
}

/**
 * Seconds as `42 s`, `3 m 12 s`, `1 h 04 m` or `2 d 03 h`.
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} m ${two(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} m`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/**
 * Seconds of what is over, with a digit more where it was short.
 * @param {number} seconds
 */
export function span(seconds) {
  if (seconds < 0.05) return `${Math.max(0, Math.round(1000 * seconds))} ms`;
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : duration(Math.round(seconds));
}

/**
 * The time of day here; with the day, unless that is today.
 * @param {number} seconds Since 1970.
 */
export function clock(seconds) {
  const moment = new Date(1000 * seconds);
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two);
  if (moment.toDateString() === new Date().toDateString()) return time.join(":");
  return `${moment.toLocaleDateString(undefined, { day: "2-digit", month: "short" })} ${time[0]}:${time[1]}`;
}

/** @param {number} fraction */
export function percent(fraction) {
  return `${Math.floor(100 * fraction + 1e-9)} %`;
}

/**
 * A number with at most so many digits after the point.
 * @param {number} value
 * @param {number} [digits]
 */
export function amount(value, digits = 1) {
  return String(Number(value.toFixed(digits)));
}

/** @param {number} value MiB. */
export function mebibytes(value) {
  return value < 1024 ? `${amount(value)} MiB` : `${amount(value / 1024, 2)} GiB`;
}

/** @param {number} number */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * A number and its noun.
 * @param {number} number
 * @param {string} noun
 */
export function counted(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}
