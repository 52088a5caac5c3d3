// One message on the page: its text as Markdown, source or tokens, its actions, and its branches.

import { button, count, element } from "/page/dom.js";
import { explain } from "/page/probabilities.js";
import { download, verify } from "/page/receipts.js";
import { fileList } from "/page/files.js";
import { copyText, render, renderQuestion } from "/page/render.js";
import { Search } from "/page/search.js";
import { showTokens } from "/page/tokens.js";
import { outputsOf, replay } from "/page/traces.js";

const GLIMPSE = 12;  // words of growing thoughts on their folded line
const VIEWS = { markdown: "Markdown", source: "source", tokens: "tokens" };

/** Messages whose thoughts are unfolded. */
const unfolded = new WeakSet();

export class Message {
  /**
   * @param node the message (conversation.js)
   * @param siblings all messages at this place, including node
   * @param does the actions of its buttons: edit, again, select, compare
   */
  constructor(node, siblings, does) {
    Object.assign(this, { node, branches: siblings.length, view: "markdown", search: null, pending: false, pause: 0 });
    this.text = element("div", { className: "text" });
    this.thoughts = element("div", { className: "text" });
    this.thought = element("summary");
    this.thinking = element("details", { className: "thoughts", hidden: true, open: unfolded.has(node) }, this.thought, this.thoughts);
    this.thinking.addEventListener("toggle", () => {
      unfolded[this.thinking.open ? "add" : "delete"](node);
      this.drawThoughts();
    });
    this.figures = element("p", { className: "figures" });
    this.problem = element("p", { className: "wrong", role: "alert", hidden: true });
    this.actions = element("div", { className: "actions" }, ...this.makeActions(siblings, does));
    const title = node.role === "user" ? "You" : [node.model, node.method?.replaceAll("_", " ")].filter(Boolean).join(", ") || "Answer";
    this.root = element("article", { className: node.role, tabIndex: -1 }, element("h2", {}, title), ...fileList(node.files), this.thinking, this.text, this.figures, this.problem, this.actions);
    if (node.run?.start) {
      this.startSearch();
      replay(this.search, node.run);
    }
    this.show();
  }

  makeActions(siblings, { edit, again, select, compare }) {
    const { node } = this;
    const made = [];
    if (siblings.length > 1) {
      const at = siblings.indexOf(node);
      made.push(element(
        "span", { className: "branches", role: "group", "aria-label": "Versions of this message" },
        button("‹", () => select(siblings[at - 1]), { ariaLabel: "Earlier version", disabled: at === 0 }),
        element("span", {}, `${at + 1} of ${siblings.length}`),
        button("›", () => select(siblings[at + 1]), { ariaLabel: "Later version", disabled: at === siblings.length - 1 }),
      ));
    }
    const copy = button("Copy", () => copyText(copy, node.content), { className: "copy-message" });
    made.push(copy);
    if (node.role === "user") return [...made, button("Edit", () => edit(node), { className: "edit" })];
    made.push(button(node.error ? "Try again" : "Regenerate", () => again(node), { className: "again" }));
    made.push(button("Compare with …", ({ currentTarget }) => compare(node, currentTarget), { className: "another" }));
    const views = Object.entries(VIEWS).map(([value, words]) => element("option", { value }, words));
    this.choice = element("select", { className: "view", ariaLabel: "View of the text" }, ...views);
    this.choice.addEventListener("change", () => {
      this.view = this.choice.value;
      this.show();
    });
    return [...made, this.choice];
  }

  startSearch() {
    this.search = new Search();
    this.figures.before(this.search.root);
  }

  /** Show an event of a search, and store it. */
  handle(event) {
    if (!this.search) this.startSearch();
    this.search.handle(event);
    const { event: kind, ...value } = event;
    this.node.run ??= { start: null, nodes: [], result: null, outputs: [] };
    if (kind === "start") this.node.run.start = value;
    else if (kind === "node") this.node.run.nodes.push(value.node);
    else if (kind === "answer") (this.node.run.answers ??= []).push([value.branch, value.answer]);
    else if (kind === "result") this.node.run.result = value;
  }

  /** Append to the text; it is drawn in the next animation frame, using at most a quarter of the time for drawing. */
  append(text, part = "content") {
    this.node[part] = (this.node[part] ?? "") + text;
    if (part === "thoughts") {
      this.began ??= performance.now();
      this.node.thoughtSeconds = (performance.now() - this.began) / 1000;
    }
    if (this.pending) return;
    this.pending = true;
    setTimeout(() => requestAnimationFrame(() => {
      this.pending = false;
      const began = performance.now();
      this.drawText();
      this.pause = 3 * (performance.now() - began);
    }), this.pause);
  }

  drawText() {
    const { node } = this;
    this.drawThoughts();
    if (this.view === "tokens" && node.logprobs?.length) showTokens(this.text, node.logprobs);
    else if (this.view === "markdown" && node.role === "assistant") render(this.text, node.content);
    else if (node.role === "user") renderQuestion(this.text, node.content);
    else this.text.textContent = node.content;
    this.text.classList.toggle("plain", this.view !== "markdown" || node.role === "user");
  }

  /** Draw the thoughts, folded by default: a line says how long they are, and their last words while they grow. */
  drawThoughts() {
    const { thoughts, thoughtSeconds: seconds, content } = this.node;
    this.thinking.hidden = !thoughts;
    if (!thoughts) return;
    const words = thoughts.trim().split(/\s+/);
    const took = seconds === undefined ? "" : `, ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    const isGrowing = this.root?.hasAttribute("aria-busy") && !content;
    this.thought.textContent = isGrowing ? `Thinking${took} … ${words.slice(-GLIMPSE).join(" ")}` : `Thoughts: ${count(words.length)} words${took}`;
    if (this.thinking.open) render(this.thoughts, thoughts);
  }

  show() {
    const { node } = this;
    this.drawText();
    if (this.choice) this.choice.options[2].disabled = !node.logprobs?.length;
    const figures = [];
    if (node.seed !== undefined) figures.push(`seed ${node.seed}`);
    if (node.usage && !node.method) figures.push(`${count(node.usage.completion_tokens)} tokens`);
    if (node.speed) figures.push(`${count(node.speed)} tokens a second`);
    if (node.finish === "length") figures.push("cut at the token limit");
    if (node.stopped) figures.push("stopped");
    this.figures.replaceChildren(...figures.map((words) => element("span", {}, words)));
    this.problem.hidden = !node.error;
    this.problem.textContent = node.error ?? "";
    if (node.receipt) this.showReceipt();
  }

  showReceipt() {
    const { node } = this;
    const name = node.answer ?? "answer";
    this.figures.append(download(node.receipt, name), button("Verify", () => {
      document.getElementById("receipts").hidden = false;
      verify(node.receipt, name, node.model);
    }, { className: "verify" }));
    if (!this.search) return;
    const show = button("Show token probabilities", () => explain(this.search, outputsOf(node.receipt), node.model), { className: "explain" });
    this.figures.append(show);
  }

  set busy(value) {
    if (value) this.root.setAttribute("aria-busy", "true");
    else this.root.removeAttribute("aria-busy");
  }
}
