// One text of a search's tree: it grows, is scored, answers, and is dropped or chosen.

import { button, count, element } from "/page/dom.js";

const GLIMPSE = 80;
const ANSWER = 60;
const GROWING = 240;
/** States by stop reason (docs/spec/methods.md); other reasons end a step, after which the text may be continued. */
const STATES = {
  end: "done", closed: "done", length: "cut: token limit", context: "cut: context full", budget: "cut: budget spent",
  cancelled: "dropped: no longer needed", unlikely: "dropped: improbable", error: "failed",
};

const hasPairs = (text) => /[\ud800-\udfff]/.test(text);
const pointsOf = (text) => (hasPairs(text) ? Array.from(text).length : text.length);
const firstPoints = (text, points) => (hasPairs(text) ? Array.from(text).slice(0, points).join("") : text.slice(0, points));

/** Return the beginning of a text that may be long. */
export const shortened = (text, most = ANSWER) => (text.length > most ? `${text.slice(0, most)} …` : text);

export const figure = (value) => (Number.isInteger(value) ? count(value) : value.toPrecision(3));

export class Branch {
  constructor(path) {
    const number = Number(path.split("/").at(-1)) || 0;
    Object.assign(this, {
      path, number, tokens: 0, value: null, scorer: "", logprob: null, status: "writing", depth: path.split("/").length, parent: null, below: [],
      grown: { from: 0, text: "" }, note: "",
    });
    this.name = element("span", { className: "name" }, path.split("/").at(-1));
    this.state = element("span", { className: "state" });
    this.size = element("span");
    this.score = element("span");
    this.answer = element("span", { className: "answer" });
    this.glimpse = element("span", { className: "glimpse", dir: "auto" });
    this.text = element("p", { className: "text", dir: "auto" });
    const summary = element("summary", {}, this.name, this.state, this.size, this.score, this.answer, this.glimpse);
    this.details = element("details", {}, summary, this.text);
    this.children = element("ul", { hidden: true });
    this.fold = button("−", () => this.collapse(!this.children.classList.contains("folded")), { className: "fold", hidden: true });
    this.item = element("li", {}, this.fold, this.details, this.children);
    this.collapse(false);
  }

  collapse(folded) {
    this.children.classList.toggle("folded", folded);
    this.fold.textContent = folded ? "+" : "−";
    this.fold.setAttribute("aria-expanded", String(!folded));
    this.fold.setAttribute("aria-label", `${folded ? "Show" : "Hide"} what follows ${this.name.textContent}`);
  }

  add(child) {
    child.parent = this;
    this.below.push(child);
    this.children.append(child.item);
    this.children.hidden = this.fold.hidden = false;
  }

  /** Show more of an unfinished text, given its end and the number of characters before that. */
  grow(tail, at, tokens) {
    const { from, text } = this.grown;
    const isJoined = at >= from && at - from <= pointsOf(text);  // otherwise events between were lost
    this.grown = isJoined ? { from, text: firstPoints(text, at - from) + tail } : { from: at, text: tail };
    this.write(`${this.grown.from ? "… " : ""}${this.grown.text}`, tokens);
  }

  write(text, tokens) {
    this.text.textContent = text;
    this.tokens = tokens;
    this.size.textContent = `${count(tokens)} tokens`;
    const line = text.replace(/\s+/g, " ").trim();
    const most = this.status === "writing" ? GROWING : GLIMPSE;
    this.glimpse.textContent = line.length > most ? `… ${line.slice(-most)}` : line;
  }

  end(node) {
    this.status = node.error ? `failed: ${node.error}` : STATES[node.why] ?? "step";
    this.write(node.text, node.tokens);
    this.logprob = node.logprob ?? null;
    if (this.logprob !== null) this.details.title = `log-probability ${this.logprob.toFixed(2)}`;
  }

  judge(scorer, value, least, most) {
    const meter = element("meter", { min: least, max: most, value, title: `${scorer}: ${value}` });
    meter.setAttribute("aria-label", `score by ${scorer}`);
    Object.assign(this, { value, scorer });
    this.score.replaceChildren(meter, ` ${value.toPrecision(3)}`);
  }

  answers(answer) {
    this.answer.textContent = `→ ${shortened(answer)}`;
  }

  /** Return true if the search has dropped this text so far. */
  dropped(deepest) {
    return this.status.startsWith("dropped") || (this.status === "step" && this.depth < deepest && !this.below.length);
  }

  /** Explain why a text was not continued, from the scores of those that were. */
  reason(peers) {
    const kept = peers.filter((one) => one.depth === this.depth && one.below.length && one.value !== null && one.scorer === this.scorer);
    if (this.value === null || !kept.length) return "dropped: not continued";
    const least = Math.min(...kept.map(({ value }) => value));
    if (this.value === least) return `dropped: tied at ${figure(least)} with a text that was kept`;
    return this.value < least ? `dropped: score ${figure(this.value)}, the kept have ${figure(least)} or more` : "dropped: not continued";
  }

  /** @param peers all texts of the search */
  show(deepest, peers) {
    const dropped = this.dropped(deepest);
    this.item.classList.toggle("dropped", dropped);
    this.item.classList.toggle("winner", this.status.startsWith("★"));
    this.item.classList.toggle("writing", this.status === "writing");
    this.state.textContent = (dropped && this.status === "step" ? this.reason(peers) : this.status) + this.note;
  }
}
