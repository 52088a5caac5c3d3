// A search as it grows: branches with their texts, scores, prunings, what was spent, and in the end the winner.

import { count, element } from "/page/dom.js";

const GLIMPSE = 80;

/** One text of the tree. */
class Branch {
  constructor(path) {
    this.name = element("span", { className: "name" }, path.split("/").at(-1));
    this.state = element("span", { className: "state" });
    this.size = element("span");
    this.score = element("span");
    this.glimpse = element("span", { className: "glimpse" });
    this.text = element("p", { className: "text" });
    const summary = element("summary", {}, this.name, this.state, this.size, this.score, this.glimpse);
    this.details = element("details", {}, summary, this.text);
    this.children = element("ul");
    this.item = element("li", {}, this.details, this.children);
    this.depth = path.split("/").length;
    this.status = "writing";
  }

  write(text, tokens) {
    this.text.textContent = text;
    this.size.textContent = `${count(tokens)} tokens`;
    const line = text.replace(/\s+/g, " ").trim();
    this.glimpse.textContent = line.length > GLIMPSE ? `… ${line.slice(-GLIMPSE)}` : line;
  }

  end(node) {
    this.write(node.text, node.tokens);
    this.status = node.error ? "failed" : { end: "done", length: "cut" }[node.why] ?? "step";
    this.details.title = `log-probability ${node.logprob.toFixed(2)}`;
  }

  judge(scorer, value, least, most) {
    const meter = element("meter", { min: least, max: most, value, title: `${scorer}: ${value}` });
    this.score.replaceChildren(meter, ` ${value.toPrecision(3)}`);
  }

  /** Return whether the search has dropped this text so far. */
  dropped(deepest) {
    return this.status === "cancelled" || (this.status === "step" && this.depth < deepest && !this.children.children.length);
  }

  show(deepest) {
    const dropped = this.dropped(deepest);
    this.item.classList.toggle("dropped", dropped);
    this.item.classList.toggle("winner", this.status.startsWith("★"));
    this.state.textContent = dropped && this.status === "step" ? "dropped" : this.status;
  }
}

export class Search {
  constructor() {
    this.branches = new Map();
    this.runs = element("div");
    this.tree = element("ul", { className: "tree", "aria-label": "Texts of the search" });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Budget spent" });
    this.spent = element("span");
    this.alive = element("span");
    this.title = element("strong");
    this.paper = element("span");
    this.outcome = element("div");
    this.root = element(
      "section", { className: "search", "aria-label": "Search" },
      element("p", { className: "figures" }, this.title, this.paper),
      element("p", { className: "figures" }, this.bar, this.spent, this.alive),
      this.outcome, this.runs, this.tree,
    );
    this.budget = null;
    this.tokens = 0;
    this.deepest = 0;
  }

  /** Handle an event of the server (docs/server.md, Methods). */
  tell(value) {
    this[`on_${value.event}`]?.(value);
    this.show();
  }

  on_start({ method, paper, budget }) {
    this.title.textContent = method.replaceAll("_", " ");
    this.paper.textContent = paper;
    this.budget = budget.tokens ?? null;
  }

  on_begin({ branch, parent }) {
    this.at(branch, parent);
  }

  on_writing({ tokens, texts }) {
    this.tokens = tokens;
    for (const { branch, text, tokens: size } of texts) this.branches.get(branch)?.write(text, size);
  }

  on_node({ node }) {
    if (node.kind === "extend") this.at(node.branch, node.parent).end(node);
    else if (node.kind === "score") this.judge(node);
    else if (node.kind === "run") this.ran(node);
  }

  on_result(result) {
    this.tokens = result.cost.tokens;
    for (const branch of this.branches.values()) if (branch.status === "writing") branch.status = "cancelled";
    const parts = result.chosen?.split("/") ?? [];
    for (let length = parts.length; length; length -= 1) {
      const branch = this.branches.get(parts.slice(0, length).join("/"));
      if (branch) branch.status = length === parts.length ? "★ chosen" : "★ on the way";
    }
    const { cost } = result;
    const line = [
      ["answer", result.answer ?? "none was found"], ["tokens", count(cost.tokens)], ["in a row", count(cost.sequential)],
      ["scored", count(cost.scores)], ["multiply-adds", `${count(cost.operations / 1e9)} G`],
    ].map(([name, value]) => element("span", {}, `${name} `, element("strong", {}, String(value))));
    if (result.why === "spent") line.push(element("span", { className: "wrong" }, "the budget was spent"));
    this.outcome.replaceChildren(element("p", { className: "figures" }, ...line), ...this.votes(result.votes));
  }

  votes(votes) {
    const rows = Object.entries(votes).sort((a, b) => b[1] - a[1]);
    if (!rows.length) return [];
    const most = rows[0][1];
    const head = element("tr", {}, element("th", { scope: "col" }, "answer"), element("th", { scope: "col" }, "votes"));
    const lines = rows.map(([answer, weight]) => element(
      "tr", {}, element("td", {}, answer),
      element("td", {}, element("meter", { min: 0, max: most, value: weight }), ` ${Number(weight.toPrecision(4))}`),
    ));
    return [element("table", { className: "votes" }, element("thead", {}, head), element("tbody", {}, ...lines))];
  }

  judge({ scorer, scores }) {
    const values = scores.map(([, value]) => value);
    const least = Math.min(0, ...values);
    const most = Math.max(1, ...values);
    for (const [path, value] of scores) this.branches.get(path)?.judge(scorer, value, least, most);
  }

  ran({ code, stdout, ended }) {
    const summary = element("summary", {}, `a program was run: ${ended}`);
    this.runs.append(element("details", {}, summary, element("p", { className: "text" }, `${code}\n\n${stdout}`)));
  }

  at(path, parent) {
    let branch = this.branches.get(path);
    if (!branch) {
      branch = new Branch(path);
      this.branches.set(path, branch);
      (this.branches.get(parent)?.children ?? this.tree).append(branch.item);
      this.deepest = Math.max(this.deepest, branch.depth);
    }
    return branch;
  }

  show() {
    const all = [...this.branches.values()];
    for (const branch of all) branch.show(this.deepest);
    const [writing, dropped] = [(b) => b.status === "writing", (b) => b.dropped(this.deepest)].map((is) => all.filter(is).length);
    this.alive.textContent = `${count(all.length)} texts, ${count(writing)} being written, ${count(dropped)} dropped`;
    this.spent.textContent = this.budget ? `${count(this.tokens)} of ${count(this.budget)} tokens` : `${count(this.tokens)} tokens`;
    if (this.budget) this.bar.value = this.tokens / this.budget;
    this.bar.hidden = !this.budget;
  }
}
