// The current conversation: ask, edit, regenerate, branch, stop.

import { ask, events } from "/page/api.js";
import { Attachments } from "/page/attachments.js";
import { Conversation } from "/page/conversation.js";
import { byId, element } from "/page/dom.js";
import { Message } from "/page/message.js";
import { chooseAnother, Pair } from "/page/pair.js";
import { requestOptions, settingsAreValid } from "/page/settings.js";
import { Waiting } from "/page/waiting.js";

const KEPT_EVERY = 5000;  // milliseconds
const TOUCH = 1000;  // milliseconds after an input in which scrolling up is the reader's
const NEAR = 80;  // maximum distance from the end, in pixels, at which the view follows the answer

export class Chat {
  /** @param changed called with the conversation whenever it should be saved, and true if an answer is in progress */
  constructor(changed) {
    Object.assign(this, {
      changed, conversation: new Conversation(), attachments: new Attachments(), beside: null, running: null, following: true, shown: [], top: 0, touched: -Infinity,
    });
    const scroller = byId("scroll");
    scroller.addEventListener("scroll", () => {
      const isNear = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
      if (isNear) this.following = true;
      else if (scroller.scrollTop < this.top && performance.now() - this.touched < TOUCH) this.following = false;
      this.top = scroller.scrollTop;
    });
    for (const kind of ["keydown", "pointerdown", "touchmove", "wheel"]) {  // a text that shrinks scrolls up too
      document.addEventListener(kind, () => { this.touched = performance.now(); }, { passive: true });
    }
    const observer = new ResizeObserver(() => this.follow());
    observer.observe(byId("talk"));
    observer.observe(scroller);
  }

  follow() {
    const scroller = byId("scroll");
    if (this.following) scroller.scrollTop = scroller.scrollHeight;
  }

  open(conversation) {
    this.stop();
    this.conversation = conversation;
    this.beside = null;
    byId("system").value = conversation.system;
    this.following = true;
    this.draw();
  }

  draw() {
    const path = this.conversation.path();
    byId("hint").hidden = path.length > 0;
    const drawn = new Map(this.shown.map((message) => [message.node, message]));
    this.shown = path.map((node) => {
      const message = drawn.get(node);
      const isSame = message?.branches === this.conversation.children(node.parent).length && message instanceof Pair === this.isPaired(node);
      return isSame ? message : this.message(node);
    });
    const talk = byId("talk");
    const kept = new Set(this.shown.map(({ root }) => root));
    for (const root of [...talk.children]) if (!kept.has(root)) root.remove();
    this.shown.forEach(({ root }, i) => {
      if (talk.children[i] !== root) talk.insertBefore(root, talk.children[i] ?? null);
    });
    this.showContext();
  }

  isPaired({ id }) {
    return Boolean(this.beside?.includes(id));
  }

  message(node) {
    if (!this.isPaired(node)) return this.single(node);
    const siblings = this.conversation.children(node.parent);
    const messages = this.beside.map((id) => this.single(siblings.find((one) => one.id === id)));
    return new Pair(node, messages, { keep: (one) => this.keepOne(one) });
  }

  /** End a comparison, and continue with one of the answers. */
  keepOne(node) {
    if (this.running) return;
    this.beside = null;
    if (this.shown.every((message) => message.node !== node)) this.conversation.select(node.id);
    this.draw();
    this.changed(this.conversation);
  }

  /** Request another answer from a chosen model and method, shown beside the given one. */
  async compare(node, control) {
    if (this.running) return;
    const choice = await chooseAnother({ model: byId("model").value, method: node.method });
    control.focus();
    if (choice) await this.answer(node.parent, choice, node);
  }

  single(node) {
    return new Message(node, this.conversation.children(node.parent), {
      edit: (one) => this.edit(one),
      again: (one) => this.answer(one.parent),
      compare: (one, control) => this.compare(one, control),
      select: (one) => {
        this.conversation.select(one.id);
        this.draw();
        this.changed(this.conversation);
      },
    });
  }

  /** Show the fraction of the model's context that the conversation uses. */
  showContext() {
    const context = Number(byId("model").selectedOptions[0]?.dataset.context) || 0;
    byId("context").hidden = !context;
    const last = this.conversation.path().findLast(({ usage }) => usage);
    if (last?.method) this.countContext(last, context);  // its usage counts all texts of the search
    else this.drawContext(last?.usage.total_tokens ?? 0, context);
  }

  /** Ask the server for the length of a conversation up to a message. */
  async countContext(node, context) {
    if (!context) return;
    const model = byId("model").value;
    const counted = node.counted?.model === model ? node.counted : await ask("/tokenize", { model, messages: this.conversation.messages(node.id) }).catch(() => null);
    if (!counted) return;
    Object.defineProperty(node, "counted", { value: { model, count: counted.count }, configurable: true });  // not saved
    if (this.conversation.path().includes(node) && byId("model").value === model) this.drawContext(counted.count, context);
  }

  drawContext(tokens, context) {
    byId("context-bar").max = context || 1;
    byId("context-bar").value = tokens;
    byId("context-words").textContent = `${tokens.toLocaleString("en")} of ${context.toLocaleString("en")} tokens`;
  }

  /** Send the content of the composer. */
  async send() {
    const question = byId("question").value.trim();
    if ((!question && !this.attachments.files.length) || this.running || !settingsAreValid()) return;
    byId("question").value = "";
    const files = this.attachments.release();
    const parent = this.conversation.leaf;
    await this.answer(this.conversation.add(parent, { role: "user", content: question, ...(files.length ? { files } : {}) }).id);
  }

  /** Make a question editable; sending it creates a branch. */
  edit(node) {
    const message = this.shown.find((one) => one.node === node);
    const field = element("textarea", { rows: 4, value: node.content, dir: "auto", ariaLabel: "Changed question" });
    const form = element(
      "form", { className: "changing" }, field,
      element("button", { className: "main" }, "Send"), element("button", { type: "button", className: "undo" }, "Cancel"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if ((!field.value.trim() && !node.files) || this.running || !settingsAreValid()) return;
      this.answer(this.conversation.add(node.parent, { role: "user", content: field.value.trim(), ...(node.files ? { files: node.files } : {}) }).id);
    });
    const undo = () => {
      form.replaceWith(message.text);
      message.root.querySelector(".edit").focus();
    };
    form.querySelector(".undo").addEventListener("click", undo);
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      undo();
    });
    message.text.replaceWith(form);
    field.focus();
  }

  /**
   * Request another answer to a message.
   *
   * @param parent the message's id
   * @param choice the model and method, if they are not those of the composer
   * @param other an answer beside which the new one is shown; both get the same seed unless model and method are equal
   */
  async answer(parent, choice = {}, other = null) {
    if (this.running || !settingsAreValid()) return;
    const { conversation } = this;
    conversation.system = byId("system").value.trim();
    const options = requestOptions(choice);
    const before = conversation.children(parent).filter(({ error }) => !error).map(({ seed = -1 }) => seed);
    const seed = Math.max(Number(byId("seed").value || 0), ...before.map((one) => one + 1));  // the same seed would give the same answer
    const isNew = other && other.seed !== undefined && (other.model !== options.model || (other.method ?? "") !== (options.intact.method ?? ""));
    const body = { ...options, seed: isNew ? other.seed : seed, messages: conversation.messages(parent) };
    const node = conversation.add(parent, { role: "assistant", content: "", model: body.model, method: body.intact.method, seed: body.seed });
    this.beside = other && [other.id, node.id];
    this.following = true;
    this.draw();
    const last = this.shown.at(-1);
    const message = last instanceof Pair ? last.of(node) : last;
    message.busy = true;
    this.running = new AbortController();
    this.toggle(true);
    this.keepPart(conversation, node);
    try {
      await receive(message, body, this.running.signal, () => this.keepPart(conversation, node));
    } catch (error) {
      if (error.name === "AbortError") node.stopped = true;
      else node.error = error.words ?? error.message;
    }
    this.running = null;
    this.toggle(false);
    conversation.updated = Date.now();
    this.changed(conversation);
    if (this.conversation !== conversation) return;
    this.shown = this.shown.filter((one) => one.node !== node);  // it is rebuilt in its final state
    this.draw();
    requestAnimationFrame(() => this.follow());
    if ([document.body, byId("stop"), null].includes(document.activeElement)) byId("question").focus();
  }

  /** Save the conversation during an answer: if the page is closed now, the answer counts as stopped here. */
  keepPart(conversation, node) {
    node.stopped = true;
    this.changed(conversation, true);
    delete node.stopped;
  }

  toggle(running) {
    byId("send").hidden = running;
    byId("stop").hidden = !running;
  }

  /** Stop the answer, keeping its text so far. */
  stop() {
    this.running?.abort();
  }
}

/** Receive an answer as it arrives; `keep` is called occasionally. */
async function receive(message, body, signal, keep) {
  const { node } = message;
  const began = performance.now();
  let kept = began;
  const waiting = new Waiting(body.model);
  message.figures.before(waiting.root);
  signal.addEventListener("abort", () => waiting.end());
  try {
    for await (const chunk of events("/v1/chat/completions", body, signal)) {
      waiting.end();
      node.answer = chunk.id;
      byId("numerics").textContent = chunk.system_fingerprint;
      if (chunk.intact) message.handle(chunk.intact);
      if (chunk.usage) node.usage = chunk.usage;
      for (const choice of chunk.choices) {
        if (choice.delta.reasoning_content) message.append(choice.delta.reasoning_content, "thoughts");
        if (choice.delta.content) message.append(choice.delta.content);
        if (choice.logprobs?.content) (node.logprobs ??= []).push(...choice.logprobs.content);
        if (choice.receipt) node.receipt = choice.receipt;
        if (choice.finish_reason) node.finish = choice.finish_reason;
      }
      if (performance.now() - kept > KEPT_EVERY) {
        keep();
        kept = performance.now();
      }
    }
  } finally {
    waiting.end();
  }
  if (!node.method && node.usage) node.speed = node.usage.completion_tokens / ((performance.now() - began) / 1000);
}
