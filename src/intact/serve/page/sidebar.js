// The list of conversations: open, filter, rename, export, import, delete.

import { asExport, Conversation, readExport } from "/page/conversation.js";
import { button, byId, element, save } from "/page/dom.js";
import * as store from "/page/store.js";

const LONGEST = 200;  // characters of a title

export class Sidebar {
  /** @param open called with the conversation to show, or a new one if the current one was deleted */
  constructor(open) {
    Object.assign(this, { open, shown: null, list: [] });
    byId("find").addEventListener("input", () => this.draw());
    byId("export").addEventListener("click", () => this.export(this.list));
    byId("import-open").addEventListener("click", () => byId("import").click());
    byId("import").addEventListener("change", async ({ target }) => {
      for (const file of target.files) await this.import(file);
      target.value = "";
    });
  }

  async load() {
    if (!await store.keeps()) this.say("This browser stores nothing for this page: conversations last until it is closed. Export those you need.");
    try {
      this.list = (await store.all()).map((value) => new Conversation(value));
    } catch (error) {
      this.say(`The conversations stored in this browser cannot be read: ${error.message}`);
    }
    this.draw();
  }

  async keep(conversation) {
    if (!this.list.includes(conversation)) this.list = [conversation, ...this.list.filter(({ id }) => id !== conversation.id)];
    this.list.sort((a, b) => b.updated - a.updated);
    this.draw();
    if (!await store.keep(conversation.values())) this.say("The browser has no room: this conversation is lost when the page is closed. Export it.");
  }

  say(words) {
    byId("side-problem").textContent = words;
  }

  show(conversation) {
    this.shown = conversation;
    this.draw();
  }

  draw() {
    const wanted = byId("find").value.toLowerCase();
    const holds = (one) => !wanted || [one.title, ...[...one.nodes.values()].map(({ content }) => content)].some((text) => text.toLowerCase().includes(wanted));
    byId("conversations").replaceChildren(...this.list.filter(holds).map((one) => {
      const title = one.title || "Untitled";
      const open = button(title, () => this.open(one), { className: "title" });
      if (one.id === this.shown?.id) open.setAttribute("aria-current", "true");
      return element(
        "li", { "data-id": one.id }, open,
        button("✎", ({ currentTarget }) => this.edit(one, currentTarget.parentElement), { className: "rename", ariaLabel: `Rename ${title}`, title: "Rename" }),
        button("⤓", () => this.export([one]), { ariaLabel: `Export ${title}`, title: "Export" }),
        button("×", () => this.remove(one), { ariaLabel: `Delete ${title}`, title: "Delete" }),
      );
    }));
  }

  /** Replace a conversation's place in the list by a field for its title; an empty title is made from the question. */
  edit(conversation, item) {
    const field = element("input", { value: conversation.title, maxLength: LONGEST, ariaLabel: "Title of the conversation" });
    let isDone = false;
    const end = async (isKept) => {
      if (isDone) return;
      isDone = true;
      if (isKept && conversation.rename(field.value)) await this.keep(conversation);
      this.draw();
      byId("conversations").querySelector("[aria-current]")?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      end(event.key === "Enter");
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.select();
  }

  /** Rename a conversation from outside of the list, if it is in it. */
  editById(wanted) {
    const item = [...byId("conversations").children].find(({ dataset }) => dataset.id === wanted);
    if (item) this.edit(this.list.find(({ id }) => id === wanted), item);
  }

  export(conversations) {
    save(JSON.stringify(asExport(conversations.map((one) => one.values())), null, 1), "intact-conversations.json");
  }

  async import(file) {
    try {
      const read = readExport(await file.text());
      this.say("");
      for (const one of read) await this.add(one);
    } catch (error) {
      this.say(`${file.name}: ${error.message}`);
    }
  }

  /** Add an imported conversation; if a different one has the same name, keep both. */
  async add(conversation) {
    const kept = this.list.find(({ id }) => id === conversation.id);
    const same = kept && JSON.stringify(kept.values().nodes) === JSON.stringify(conversation.values().nodes);
    if (!same) await this.keep(kept ? conversation.copy() : conversation);
  }

  async remove(conversation) {
    if (!confirm(`Delete “${conversation.title || "Untitled"}”? This cannot be undone.`)) return;
    try {
      await store.forget(conversation.id);
    } catch (error) {
      this.say(`The browser could not delete it: ${error.message}`);
      return;
    }
    this.list = this.list.filter((one) => one !== conversation);
    if (this.shown?.id === conversation.id) this.open(new Conversation());
    else this.draw();
  }
}
