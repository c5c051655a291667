// The head of a job's view: its state, how far it is, and what can be done with it.

import { Bar, button, element, setData, setShown, setText } from "./dom.js";
import { duration, percent } from "./format.js";
import { KillButton } from "./kill_button.js";
import { killThroughServer } from "./server.js";
import { ENGLISH } from "./words.js";

const ANSWER_MS = 3000;

export class JobHeader {
  /**
   * @param {import("./source.js").Source} model
   * @param {{onLogs: () => void, onWhy: () => void}} actions
   * @param {import("./words.js").Catalogue} [trans]
   */
  constructor(model, { onLogs, onWhy }, trans = ENGLISH) {
    this.trans = trans;
    this.line = element("div", "t2-line");
    this.name = element("strong", "t2-name");
    this.chip = element("span", "t2-chip");
    // Read out when the job's state changes, not with each worker that starts.
    this.said = element("span", "t2-said");
    this.said.setAttribute("role", "status");
    this.counts = element("span", "t2-counts");
    this.bar = new Bar(trans.__("Progress of the job"));
    this.bar.node.classList.add("t2-bar-job");
    this.percent = element("span", "t2-percent");
    this.elapsed = element("span", "t2-elapsed");
    this.elapsed.title = trans.__("since the job was submitted");
    this.logs = button("t2-action", trans.__("Logs"), onLogs);
    this.why = button("t2-action", trans.__("Why"), onWhy);
    this.why.title = trans.__("Why it waits, or how it came to its end");
    this.model = model;
    this.why.setAttribute("aria-expanded", "false");
    this.kill = new KillButton(async () => {
      setShown(this.failed, false);
      const { isServers } = this;
      const why = await killThroughServer(model.get("snapshot").job_id, isServers, trans);
      if (isServers) return this.answer(why);
      if (!why) {
        this.tellLater(trans.__("It is killed; the kernel is busy, and this view says so when it has time."));
        return;
      }
      model.send({ kind: "kill" });
      this.tellLater(trans.__("The kernel is busy: it takes the click when the running cell ends."));
    }, trans);
    const done = element("span", "t2-job-done");
    done.append(this.bar.node, this.percent, this.elapsed);
    const actions = element("span", "t2-actions");
    actions.append(this.logs, this.why, this.kill.node);
    this.line.append(this.name, this.chip, this.said, this.counts, element("span", "t2-space"), done, actions);
    this.facts = element("div", "t2-muted t2-id");
    this.id = element("span");
    this.busy = element("span", "t2-muted");
    this.busy.hidden = true;
    this.facts.append(this.id, this.busy);
    this.failed = element("div", "t2-callout");
    this.failed.dataset.tone = "bad";
    this.failed.setAttribute("role", "alert");
    this.failed.hidden = true;
    this.busyTimer = 0;
    /** @type {import("./source.js").Snapshot | null} */
    this.current = null;
  }

  /** @param {string} text Told when the kernel has not answered for a while. */
  tellLater(text) {
    clearTimeout(this.busyTimer);
    this.busyTimer = window.setTimeout(() => {
      setText(this.busy, text);
      setShown(this.busy, Boolean(this.current?.live) && !this.current?.notice);
    }, ANSWER_MS);
  }

  /** Whether the data are the Jupyter server's, so that there is no kernel to be asked. */
  get isServers() {
    return this.model.get("via") === "server";
  }

  /** @param {string} why Empty if the job has been killed. */
  answer(why) {
    setText(this.failed, why ? this.trans.__("It could not be killed: %1", why) : "");
    setShown(this.failed, Boolean(why));
    if (why && this.kill.phase === "sent") this.kill.enter("idle");
  }

  /** @param {import("./source.js").Snapshot} snapshot */
  draw(snapshot) {
    this.current = snapshot;
    setText(this.name, snapshot.name);
    setText(this.chip, snapshot.chip);
    setText(this.said, `${snapshot.name}: ${snapshot.state.toLowerCase()}`);
    setData(this.chip, "tone", snapshot.tone);
    setText(this.counts, snapshot.counts_text);
    this.bar.set(snapshot.progress, snapshot.tone);
    setText(this.percent, percent(snapshot.progress));
    setText(this.elapsed, snapshot.elapsed_text);
    setText(this.id, [snapshot.job_id, snapshot.each, snapshot.notice].filter(Boolean).join(" · "));
    if (snapshot.notice) setShown(this.busy, false);
    if (snapshot.final) setShown(this.failed, false);
    // A job whose session was lost can be killed through the server, which takes it over.
    if (snapshot.final || (!snapshot.live && !this.isServers)) {
      this.kill.enter("ended");
      setShown(this.kill.node, !snapshot.final);
      setShown(this.busy, false);
    } else if (this.kill.phase === "ended") {
      this.kill.enter("idle");
      setShown(this.kill.node, true);
    } else if (this.kill.phase === "sent" && snapshot.notice?.startsWith("It could not")) this.kill.enter("idle");
  }

  /** @param {number} ahead Seconds since the last update. */
  tick(ahead) {
    if (this.current?.live) setText(this.elapsed, duration(this.current.elapsed + ahead));
  }

  /** @param {boolean} isGone Whether there is nobody who would take a kill. */
  setGone(isGone) {
    if (this.current?.live) setShown(this.kill.node, !isGone);
    if (isGone && this.kill.phase !== "ended") this.kill.enter("idle");
    if (isGone) setShown(this.busy, false);
  }

  dispose() {
    clearTimeout(this.busyTimer);
    this.kill.dispose();
  }
}
