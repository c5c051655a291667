// Small helpers of all views: nodes, times, and what a view has to do with the output that it stands in.

// A kernel answers each second; after so much silence a view says that it may be out of date.
const SILENCE_MS = 10000;

export function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setShown(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} m ${two(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} m`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

// The time of day here; with the day, unless that is today.
export function clock(seconds) {
  const moment = new Date(1000 * seconds);
  const two = (number) => String(number).padStart(2, "0");
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two);
  if (moment.toDateString() === new Date().toDateString()) return time.join(":");
  return `${moment.toLocaleDateString(undefined, { day: "2-digit", month: "short" })} ${time[0]}:${time[1]}`;
}

export class Bar {
  constructor(label) {
    this.node = element("span", "t2-bar");
    this.node.setAttribute("role", "progressbar");
    this.node.setAttribute("aria-label", label);
    this.node.setAttribute("aria-valuemin", "0");
    this.node.setAttribute("aria-valuemax", "100");
    this.fill = element("span", "t2-bar-fill");
    this.node.append(this.fill);
  }

  set(fraction, tone) {
    const percent = Math.floor(100 * (fraction ?? 0));
    this.node.setAttribute("aria-valuenow", String(percent));
    this.fill.style.width = `${percent}%`;
    this.fill.dataset.tone = tone;
  }
}

// Hides the static HTML that stands below this view, as long as this view lives.
export function cover(name) {
  const style = element("style");
  if (name) {
    const own = `.${CSS.escape(name)}`;
    style.textContent =
      `${own}, .jp-OutputArea-child:has(${own}), .output_area:has(${own}) { display: none !important; }`;
  }
  document.head.append(style);
  return () => style.remove();
}

// Whether a view hears of its kernel: each answer of it is a beat. How long a pause means something follows from those
// before, since a large cluster takes its time.
export class Pulse {
  constructor(onChange) {
    this.onChange = onChange;
    this.isStale = false;
    this.gap = 0;
    this.heardAt = performance.now();
    this.timer = setInterval(() => this.tick(), 1000);
  }

  beat() {
    const now = performance.now();
    this.gap = now - this.heardAt;
    this.begin();
  }

  // Somebody looks again: nothing was to be heard meanwhile.
  begin() {
    this.heardAt = performance.now();
    this.tick();
  }

  tick() {
    if (document.visibilityState === "hidden" || this.isPaused) return;
    const isStale = performance.now() - this.heardAt > Math.max(SILENCE_MS, 3 * this.gap);
    if (isStale === this.isStale) return;
    this.isStale = isStale;
    this.onChange();
  }

  get text() {
    const when = clock(Date.now() / 1000 - (performance.now() - this.heardAt) / 1000);
    return `Not live: nothing was heard from the kernel since ${when}. If it was restarted, run this cell again.`;
  }

  dispose() {
    clearInterval(this.timer);
  }
}

// Tells the kernel whether anybody can see the view: it reads no output for nobody.
export function watchSight(node, model, onShow = () => {}) {
  let isSeen = true;
  let isInside = true;
  const tell = () => {
    const now = isInside && document.visibilityState !== "hidden";
    if (now === isSeen) return;
    isSeen = now;
    onShow(now); // first: a page whose kernel is gone can send nothing
    model.send({ kind: "show", is_shown: now });
  };
  const observer = new IntersectionObserver((entries) => {
    isInside = entries.at(-1).isIntersecting;
    tell();
  });
  observer.observe(node);
  document.addEventListener("visibilitychange", tell);
  return () => {
    observer.disconnect();
    document.removeEventListener("visibilitychange", tell);
  };
}
