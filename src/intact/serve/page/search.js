// A growing search: branches with their texts, scores, pruning, costs, and finally the winner.

import { Branch, figure, shortened } from "/page/branch.js";
import { button, count, element } from "/page/dom.js";
import { showTokens } from "/page/tokens.js";
import { duration } from "/page/waiting.js";

/** Number of answers listed with their votes. */
const LISTED = 12;
/** Seconds of writing after which the speed is known well enough to be shown. */
const SPEED_AFTER = 1;
const ORDERS = {
  written: ["branch", (branch) => branch.number],
  score: ["score", (branch) => -(branch.value ?? -Infinity)],
  logprob: ["log-probability", (branch) => -(branch.logprob ?? -Infinity)],
  tokens: ["length", (branch) => -branch.tokens],
};

/** Describe how close the vote for an answer was, like `intact.reason.parts.closeness`; "" without a vote. */
export function closenessOf(votes, answer) {
  const weights = Object.values(votes);
  const weight = votes[answer ?? ""] ?? 0;
  const total = weights.reduce((sum, one) => sum + one, 0);
  if (weight <= 0 || Math.min(...weights) < 0 || (total <= 1 && weights.length === 1)) return "";
  const isCount = total < 1e6 && weights.every(Number.isInteger);
  const tied = weights.filter((one) => one === weight).length;
  const words = isCount ? `${count(weight)} of ${count(total)} votes` : `${((100 * weight) / total).toFixed(1)}% of the weight`;
  return tied > 1 ? `${words} (tie, the first of ${tied})` : words;
}

export class Search {
  constructor() {
    Object.assign(this, { branches: new Map(), budget: null, tokens: 0, deepest: 0, order: "written", wanted: "", answers: new Map(), began: null, over: false });
    this.runs = element("div");
    this.tree = element("ul", { className: "tree", "aria-label": "Texts of the search" });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Budget spent", hidden: true });
    this.spent = element("span");
    this.speed = element("span", { className: "speed" });
    this.alive = element("span");
    this.title = element("strong");
    this.paper = element("span");
    this.outcome = element("div");
    this.root = element(
      "section", { className: "search", "aria-label": "Search" },
      element("p", { className: "figures" }, this.title, this.paper),
      element("p", { className: "figures" }, this.bar, this.spent, this.speed, this.alive),
      this.outcome, this.runs, this.tools(), this.tree,
    );
  }

  /** Return the controls that filter, sort and fold the tree. */
  tools() {
    const filter = element("input", { type: "search", className: "filter", placeholder: "texts with …" });
    filter.addEventListener("input", () => {
      this.wanted = filter.value.toLowerCase();
      this.filter();
    });
    const orders = Object.entries(ORDERS).map(([value, [words]]) => element("option", { value }, words));
    const order = element("select", { className: "order" }, ...orders);
    order.addEventListener("change", () => {
      this.order = order.value;
      this.sort();
    });
    const hide = element("input", { type: "checkbox", className: "hide-dropped" });
    hide.addEventListener("change", () => this.tree.classList.toggle("without-dropped", hide.checked));
    const foldAll = (folded) => () => this.branches.forEach((branch) => branch.collapse(folded));
    return element(
      "div", { className: "row tools" },
      element("label", { className: "field" }, "Filter", filter), element("label", { className: "field" }, "Sort by", order),
      element("label", { className: "field" }, hide, "hide dropped"),
      button("Collapse all", foldAll(true)), button("Expand all", foldAll(false)),
    );
  }

  /** Show the texts that contain the search words, with their ancestors. */
  filter() {
    for (const branch of this.branches.values()) branch.item.hidden = false;
    if (!this.wanted) return;
    const kept = new Set();
    for (const branch of this.branches.values()) {
      if (!branch.text.textContent.toLowerCase().includes(this.wanted)) continue;
      for (let item = branch.item; item; item = item.parentElement.closest("li")) kept.add(item);
    }
    for (const branch of this.branches.values()) branch.item.hidden = !kept.has(branch.item);
  }

  sort() {
    const by = ORDERS[this.order][1];
    for (const branch of [...this.branches.values()].sort((a, b) => by(a) - by(b) || a.number - b.number)) {
      branch.item.parentElement.append(branch.item);
    }
  }

  /** Handle a server event (docs/server.md, Methods); changes are drawn in the next animation frame. */
  handle(value) {
    this[`on_${value.event}`]?.(value);
    if (value.event === "result") {
      this.show();
    } else if (!this.pending) {
      this.pending = true;
      requestAnimationFrame(() => this.show());
    }
  }

  on_start({ method, paper = "", budget }) {
    this.title.textContent = method.replaceAll("_", " ");
    this.paper.textContent = paper;
    this.budget = budget.tokens ?? null;
  }

  on_begin({ branch, parent }) {
    this.at(branch, parent);
  }

  on_writing({ tokens, texts }) {
    this.began ??= { time: performance.now(), tokens };
    this.tokens = tokens;
    for (const { branch, text, at = 0, tokens: size } of texts) this.branches.get(branch)?.grow(text, at, size);
  }

  /** Count the answer of a completed text, before the method decides. */
  on_answer({ branch, answer }) {
    this.branches.get(branch)?.answers(answer);
    this.answers.set(branch, answer);
    if (this.over) return;
    const votes = new Map();
    for (const one of this.answers.values()) votes.set(one, (votes.get(one) ?? 0) + 1);
    const most = Math.max(...votes.values());
    const leading = [...votes].filter(([, number]) => number === most).map(([one]) => one);
    const words = leading.length > 1 ? `a tie of ${count(leading.length)} with ${count(most)} each` : `${shortened(leading[0])} leads with ${count(most)} of ${count(this.answers.size)}`;
    const line = element("p", { className: "figures" }, element("span", {}, "answers so far: ", element("strong", {}, words)));
    this.outcome.replaceChildren(line, ...this.votes([...votes]));
  }

  on_node({ node }) {
    if (node.kind === "extend") this.at(node.branch, node.parent).end(node);
    else if (node.kind === "score") this.judge(node);
    else if (node.kind === "shared") this.shared(node);
    else if (node.kind === "run") this.ran(node);
    else if (node.kind === "tool") this.used(node);
  }

  on_result(result) {
    this.tokens = result.cost.tokens;
    this.over = true;
    for (const branch of this.branches.values()) if (branch.status === "writing") branch.status = "dropped: no longer needed";
    const parts = result.chosen?.split("/") ?? [];
    for (let length = parts.length; length; length -= 1) {
      const branch = this.branches.get(parts.slice(0, length).join("/"));
      if (branch) branch.status = length === parts.length ? "★ chosen" : "★ on the way";
    }
    this.noteTie(this.branches.get(result.chosen));
    const { cost } = result;
    const closeness = closenessOf(result.votes ?? {}, result.answer);
    const line = [
      ["answer", result.answer ?? "none was found"], ...(closeness ? [["by", closeness]] : []), ["tokens", count(cost.tokens)], ["in a row", count(cost.sequential ?? 0)],
      ["scored", count(cost.scores ?? 0)], ["multiply-adds", `${count((cost.operations ?? 0) / 1e9)} G`],
    ].map(([name, value]) => element("span", {}, `${name} `, element("strong", {}, String(value))));
    if (result.why === "spent") line.push(element("span", { className: "wrong" }, "the budget was spent"));
    this.outcome.replaceChildren(element("p", { className: "figures" }, ...line), ...this.votes(Object.entries(result.votes ?? {})));
  }

  /** Say how many finished texts have the score of the chosen one. */
  noteTie(chosen) {
    if (!chosen || chosen.value === null) return;
    const tied = [...this.branches.values()].filter((one) => one.value === chosen.value && one.scorer === chosen.scorer && !one.below.length);
    if (tied.length > 1) chosen.note = `, one of ${count(tied.length)} with the score ${figure(chosen.value)}`;
  }

  /** Return a table of answers with their votes, given as pairs. */
  votes(pairs) {
    const all = pairs.sort((a, b) => b[1] - a[1]);
    const rows = all.slice(0, LISTED);
    if (!rows.length) return [];
    const most = rows[0][1];
    const head = element("tr", {}, element("th", { scope: "col" }, "answer"), element("th", { scope: "col" }, "votes"));
    const lines = rows.map(([answer, weight]) => {
      const meter = element("meter", { min: 0, max: most, value: weight, "aria-label": `votes for ${answer}` });
      return element("tr", {}, element("td", {}, answer), element("td", {}, meter, ` ${Number(weight.toPrecision(4))}`));
    });
    const table = element("table", { className: "votes" }, element("thead", {}, head), element("tbody", {}, ...lines));
    return all.length > rows.length ? [table, element("p", { className: "figures" }, `and ${count(all.length - rows.length)} other answers`)] : [table];
  }

  /** Describe how fast the budget is being spent, and for how long it lasts at most. */
  pace() {
    const seconds = this.began ? (performance.now() - this.began.time) / 1000 : 0;
    const rate = (this.tokens - (this.began?.tokens ?? 0)) / seconds;
    if (seconds < SPEED_AFTER || !(rate > 0)) return "";
    const left = this.budget ? `, the budget lasts ${duration((this.budget - this.tokens) / rate)} more` : "";
    return `${figure(Math.round(rate))} tokens a second${left}`;
  }

  /** Show a text that several workers wrote together. */
  shared({ branch, text, steps, conclusion }) {
    const tokens = steps.reduce((sum, step) => sum + step[3].length, conclusion.length);
    this.at(branch, branch.split("/").slice(0, -1).join("/")).end({ text, tokens, why: "end" });
  }

  judge({ scorer, scores }) {
    const values = scores.map(([, value]) => value);
    const least = Math.min(0, ...values);
    const most = Math.max(1, ...values);
    for (const [path, value] of scores) this.branches.get(path)?.judge(scorer, value, least, most);
  }

  ran({ code, stdout, ended }) {
    const summary = element("summary", {}, `program run: ${ended}`);
    this.runs.append(element("details", {}, summary, element("p", { className: "text" }, `${code}\n\n${stdout ?? ""}`)));
  }

  /** Add a tool call to the transcript, with its input and output as text. */
  used({ tool, values, text, ended, replayable }) {
    const summary = element("summary", {}, `the tool ${tool} was used: ${ended}${replayable === false ? ", recorded" : ""}`);
    const { code, before, ...rest } = values ?? {};
    const given = [...(before?.length ? [`# earlier cells: ${count(before.length)}`] : []), ...(code === undefined ? [] : [code])];
    const others = Object.entries(rest).map(([name, value]) => `${name}: ${value}`);
    const inputs = [...others, ...given].map(String).join("\n");
    const parts = [inputs, text].filter(Boolean).map((part) => element("p", { className: "text" }, part));
    this.runs.append(element("details", { className: "tool" }, summary, ...parts));
  }

  /** Show the probability of each token under the pointer; `values` are by branch, as in a receipt. */
  explain(tokens) {
    for (const [path, list] of tokens) if (this.branches.has(path)) showTokens(this.branches.get(path).text, list);
  }

  at(path, parent) {
    let branch = this.branches.get(path);
    if (!branch) {
      branch = new Branch(path);
      this.branches.set(path, branch);
      if (this.branches.has(parent)) this.branches.get(parent).add(branch);
      else this.tree.append(branch.item);
      this.deepest = Math.max(this.deepest, branch.depth);
    }
    return branch;
  }

  show() {
    this.pending = false;
    const all = [...this.branches.values()];
    for (const branch of all) branch.show(this.deepest, all);
    const [writing, dropped] = [(b) => b.status === "writing", (b) => b.dropped(this.deepest)].map((is) => all.filter(is).length);
    this.alive.textContent = `${count(all.length)} texts, ${count(writing)} being written, ${count(dropped)} dropped`;
    this.spent.textContent = this.budget ? `${count(this.tokens)} of ${count(this.budget)} tokens` : `${count(this.tokens)} tokens`;
    if (this.budget) this.bar.value = this.tokens / this.budget;
    this.bar.hidden = !this.budget;
    this.speed.textContent = this.over ? "" : this.pace();
    this.sort();
    if (this.wanted) this.filter();
  }
}
