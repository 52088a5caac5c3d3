// The file of a shared conversation: it shows messages and trees, and verifies the receipts, with the model's file if given.

import { WorkerEngine } from "/js/src/engine.js";
import { BlobSource } from "/js/src/sources.js";
import { problem, words } from "/js/page/words.js";
import { canonical } from "/js/src/digests.js";
import { byId, button, count, element, save } from "/page/dom.js";
import { composed, fileList } from "/page/files.js";
import { render, renderQuestion } from "/page/render.js";
import { Search } from "/page/search.js";
import { askedIn, check, isRun, PROMPT_UNKNOWN } from "/page/shared/claims.js";
import { sharedOf } from "/page/shared/document.js";
import { showTokens } from "/page/tokens.js";
import { replay, runOfReceipt, SCALE } from "/page/traces.js";

const MARKS = { right: ["true", "✓ "], wrong: ["wrong", "✗ "], open: ["quiet", "? "] };
const WORDS = { right: "computed again", wrong: "false", open: "not checked" };
const ROWS = 16;  // tokens per step: few, so that progress is visible
const state = { work: null, engine: null, model: null, shown: [] };

const bytesOf = (id) => Uint8Array.from(atob(byId(id).textContent), (character) => character.charCodeAt(0));

/** A message with what is known about its receipt. */
class Shown {
  constructor(message, question) {
    Object.assign(this, { message, question, search: null, verdicts: [], again: [] });
    const { role, model, method, content, thoughts, receipt, seed } = message;
    const title = role === "user" ? "Question" : [model, method?.replaceAll("_", " ")].filter(Boolean).join(", ") || "Answer";
    this.text = element("div", { className: role === "user" ? "text plain" : "text" });
    (role === "user" ? renderQuestion : render)(this.text, content);
    this.checks = element("ul", { className: "checks", "aria-live": "polite" });
    this.root = element("article", { className: role }, element("h2", {}, title));
    if (thoughts) this.root.append(element("details", { className: "thoughts" }, element("summary", {}, "Thoughts"), element("p", { className: "text" }, thoughts)));
    this.root.append(...fileList(message.files), this.text);
    this.draw();
    if (seed !== undefined && seed !== null) this.root.append(element("p", { className: "figures" }, `seed ${seed}`));
    this.root.append(this.checks);
    if (receipt) {
      const name = `${isRun(receipt) ? "search" : "answer"}.receipt`;
      this.root.append(element("div", { className: "actions" }, button("Save receipt", () => save(`${canonical(receipt)}\n`, name))));
    }
  }

  /** Draw the tree: from the receipt, or else from the events that the page has seen. */
  draw() {
    const { receipt, run } = this.message;
    try {
      const drawn = receipt && isRun(receipt) ? runOfReceipt(receipt) : receipt ? null : run;
      if (!drawn) return;
      this.search = new Search();
      this.root.append(this.search.root);
      replay(this.search, drawn);
    } catch (error) {
      this.root.append(element("p", { className: "wrong" }, `The receipt is damaged: ${error.message}`));
    }
  }

  add({ state: kind, words: text }) {
    const [className, mark] = MARKS[kind];
    this.checks.append(element("li", { className }, mark, text));
    this.verdicts.push(kind);
  }

  /** Replace the open point about the question by what the prompt's tokens say. */
  settleQuestion(texts) {
    const item = [...this.checks.children].find(({ textContent }) => textContent.endsWith(PROMPT_UNKNOWN));
    if (!item) return;
    item.remove();
    this.verdicts.splice(this.verdicts.indexOf("open"), 1);
    this.add(askedIn(this.question, texts));
  }

  async checkClaims() {
    try {
      for (const one of await check(this.message, this.question)) this.add(one);
    } catch (error) {
      this.add({ state: "wrong", words: `The receipt is damaged: ${error.message}` });
    }
  }

  /** Return the receipts to compute again: pairs of receipt and branch (null for an answer). */
  receipts() {
    const { receipt, texts } = this.message;
    if (!receipt) return [];
    if (!isRun(receipt)) return [[receipt, null]];
    return texts.map(({ entry, receipt: one }) => [one, receipt.entries[entry]?.branch?.join("/") ?? null]);
  }

  /** Show the verdict on one of its receipts, and the probabilities of its tokens; right texts of a tree are only counted. */
  judged(verdict, receipt, branch, texts) {
    const { outcome, detail } = verdict;
    const { logprobs, tokens, text } = receipt.output;
    const kind = { true: "right", false: "wrong" }[outcome] ?? "open";
    const at = branch === null ? null : this.search?.branches.get(branch);
    if (branch !== null && kind === "right") this.again.push(tokens.length);
    else this.add({ state: kind, words: [branch, kind === "right" ? `All ${count(tokens.length)} tokens were computed again.` : `${words(verdict, tokens.length).outcome} ${detail}`].filter(Boolean).join(": ") });
    if (at) at.details.firstChild.append(element("span", { className: MARKS[kind][0] }, `${MARKS[kind][1]}${WORDS[kind]}`));
    const list = logprobs && texts && tokens.map((_, i) => ({ token: texts[i], logprob: logprobs[i] / SCALE }));
    if (!list || kind !== "right") return;
    if (at) showTokens(at.text, list);
    else if (text.trim() === this.message.content.trim()) this.tokens(list);
  }

  /** Offer the answer's tokens with their probabilities. */
  tokens(list) {
    const target = element("div", { className: "text plain" });
    showTokens(target, list);
    this.probabilities?.remove();
    this.probabilities = element("details", {}, element("summary", {}, "Token probabilities"), target);
    this.text.after(this.probabilities);
  }

  /** Say how many texts of a tree were computed again. */
  conclude() {
    if (!this.again.length) return;
    const tokens = this.again.reduce((sum, one) => sum + one, 0);
    this.add({ state: "right", words: `${count(this.again.length)} of its texts were computed again, ${count(tokens)} tokens.` });
  }

  restart() {
    Object.assign(this, { verdicts: [], again: [] });
    this.checks.replaceChildren();
    for (const mark of this.root.querySelectorAll("summary > :is(.true, .wrong, .quiet)")) mark.remove();
    return this.checkClaims();
  }
}

function say(text) {
  byId("status").textContent = text;
}

function conclude() {
  const all = state.shown.flatMap(({ verdicts }) => verdicts);
  const wrongs = all.filter((kind) => kind === "wrong").length;
  const open = all.filter((kind) => kind === "open").length;
  const rest = open ? ` ${open} ${open === 1 ? "point is" : "points are"} not checked.` : "";
  if (wrongs) say(`✗ ${wrongs} ${wrongs === 1 ? "claim is" : "claims are"} false.${rest}`);
  else if (state.model) say(`✓ No claim is false, and ${count(state.computed)} tokens were computed again.${rest}`);
  else say(`The digests hold; no token was computed again yet: choose the model's file.${rest}`);
}

async function startEngine() {
  const worker = new Worker(URL.createObjectURL(new Blob([bytesOf("worker")], { type: "text/javascript" })));
  return WorkerEngine.start({ wasm: bytesOf("wasm"), worker });
}

/** Compute all receipts again with a model's file; a new file starts over. */
async function takeModel(file) {
  state.work?.abort();
  const work = (state.work = new AbortController());
  byId("problem").textContent = "";
  byId("work").hidden = false;
  try {
    await computeAgain(file, work.signal);
  } catch (error) {
    if (error.name === "CoreError") state.engine = null;
    if (state.work === work) {
      byId("problem").textContent = problem(error);
      say(error.name === "AbortError" ? "Cancelled: the tokens were not all computed again." : "The tokens could not be computed again.");
    }
  } finally {
    if (state.work === work) byId("work").hidden = true;
  }
}

function progress(name) {
  return (done, total) => {
    byId("work-name").textContent = name;
    Object.assign(byId("work-bar"), { max: total, value: done });
  };
}

async function computeAgain(file, signal) {
  state.engine ??= await startEngine();
  Object.assign(state, { model: null, computed: 0 });
  for (const one of state.shown) await one.restart();
  const jobs = state.shown.flatMap((shown) => shown.receipts().map(([receipt, branch]) => ({ shown, receipt, branch })));
  for (const [number, { shown, receipt, branch }] of jobs.entries()) {
    const [{ receipt: parsed, verdict }] = await state.engine.receipts(new Blob([canonical(receipt)]));
    if (verdict) {
      shown.judged(verdict, receipt, branch, null);
      continue;
    }
    const { bits } = parsed.numerics;
    if (state.model?.numerics.bits !== bits) {
      state.model = await state.engine.load(new BlobSource(file), { bits, progress: progress("Reading the model"), signal });
    }
    byId("model-state").textContent = `${file.name}, weights ${state.model.digests.weights}`;
    say(`Computing text ${number + 1} of ${jobs.length} again …`);
    const found = await state.model.verify(parsed, { rows: ROWS, signal, progress: progress(`Text ${number + 1} of ${jobs.length}`) });
    state.computed += found.checked;
    const isKnown = parsed.model.weights === state.model.digests.weights;
    shown.judged(found, parsed, branch, isKnown ? await state.model.texts(parsed.output.tokens) : null);
    if (isKnown && branch === null) shown.settleQuestion(await state.model.texts(parsed.request.prompt));
  }
  if (!jobs.length) throw new Error("no message of this file has a receipt to compute again");
  for (const one of state.shown) one.conclude();
  conclude();
}

async function main() {
  let shared;
  try {
    shared = sharedOf(JSON.parse(byId("data").textContent));
  } catch (error) {
    say(`This file is damaged: ${error.message}`);
    return;
  }
  byId("title").textContent = document.title = shared.title || "Shared conversation";
  let question = null;
  for (const message of shared.messages) {
    state.shown.push(new Shown(message, question));
    if (message.role === "user") question = composed(message.content, message.files);
  }
  byId("talk").append(...state.shown.map(({ root }) => root));
  state.shown = state.shown.filter(({ message }) => message.role === "assistant");
  for (const one of state.shown) await one.checkClaims();
  conclude();
  byId("model-file").addEventListener("change", ({ target }) => target.files.length && takeModel(target.files[0]));
  byId("cancel").addEventListener("click", () => state.work?.abort());
  const drop = byId("model-drop");
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) takeModel(event.dataTransfer.files[0]);
  });
}

main();
