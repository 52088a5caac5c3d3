// What an answer waits for: a model that loads, memory, a place in the queue, or the reading of the question.

import { ask } from "/page/api.js";
import { count, element } from "/page/dom.js";

const INTERVAL = 400;  // milliseconds
const UNITS = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];

/** Format a number of bytes, in the unit that fits another one. */
export function bytes(value, total = value) {
  const [unit, size] = UNITS.find(([, least]) => total >= least) ?? ["bytes", 1];
  const digits = size === 1e9 ? 2 : 0;
  return `${(value / size).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
}

/** Format a duration. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Describe the state of a model, as listed by /v1/models, to someone who waits for its answer: words, and a fraction or null. */
export function describe({ id, status, loading, error, requests = {} }) {
  if (loading) {
    const { stage, bytes: done, total_bytes: total, seconds_left: left } = loading;
    if (stage === "opening" || !total) return { words: `Loading ${id}: opening its files`, fraction: null };
    const verb = stage === "weights" ? `Loading ${id}` : `Checking the weights of ${id}`;
    const time = left === null ? "" : `, about ${duration(left)} left`;
    return { words: `${verb}: ${bytes(done, total)} of ${bytes(total)}${time}`, fraction: done / total };
  }
  if (status === "loading") return { words: `Loading ${id}`, fraction: null };
  if (status === "failed") return { words: error ?? `${id} cannot be loaded`, fraction: null };
  if (status === "unloaded") return { words: `${id} waits until the memory of other models is free`, fraction: null };
  const { running = 0, waiting = 0 } = requests;
  if (waiting) return { words: `In the queue: ${plural(running, "request")} running, ${count(waiting)} waiting`, fraction: null };
  return { words: "Reading the question", fraction: null };
}

/** A line above an answer that says what it waits for, until `end` is called. */
export class Waiting {
  /** @param name the requested model */
  constructor(name) {
    Object.assign(this, { name, began: performance.now(), ended: new AbortController() });
    this.bar = element("progress", { max: 1, "aria-label": "Loaded" });
    this.words = element("span", { role: "status" }, "Asking the server");
    this.time = element("span", { className: "elapsed", "aria-hidden": "true" });
    this.root = element("p", { className: "waiting figures" }, this.bar, this.words, this.time);
    this.follow();
  }

  async follow() {
    const { signal } = this.ended;
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
      if (signal.aborted) return;
      const state = await ask(`/v1/models/${encodeURIComponent(this.name)}`, undefined, signal).catch(() => null);
      if (signal.aborted) return;
      this.show(state === null ? { words: "The server does not answer at the moment", fraction: null } : describe(state));
    }
  }

  show({ words, fraction }) {
    if (this.words.textContent !== words) this.words.textContent = words;
    this.time.textContent = duration((performance.now() - this.began) / 1000);
    if (fraction === null) this.bar.removeAttribute("value");
    else this.bar.value = fraction;
  }

  end() {
    this.ended.abort();
    this.root.remove();
  }
}
