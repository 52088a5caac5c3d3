// A conversation: a tree of messages with one path shown. Editing or regenerating adds a branch; nothing is lost.

import { composed } from "/page/files.js";
import { conversationOf } from "/page/shapes.js";

const TITLE = 60;

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const titleOf = ({ content, files }) => (content || files?.[0]?.name || "").replace(/\s+/g, " ").slice(0, TITLE);

export class Conversation {
  /** @param values as returned by `values`, or validated by shapes.js */
  constructor({ id = newId(), title = "", updated = Date.now(), system = "", nodes = [], leaf = null } = {}) {
    Object.assign(this, { id, title, updated, system, leaf });
    this.nodes = new Map();
    this.below = new Map();
    nodes.forEach((node) => this.place(node));
  }

  place(node) {
    this.nodes.set(node.id, node);
    if (!this.below.has(node.parent)) this.below.set(node.parent, []);
    this.below.get(node.parent).push(node);
  }

  /** Return the conversation as plain values, for saving or export. */
  values() {
    const { id, title, updated, system, leaf } = this;
    return { id, title, updated, system, leaf, nodes: [...this.nodes.values()] };
  }

  /** Return a copy with another name. */
  copy() {
    return new Conversation({ ...this.values(), id: newId() });
  }

  /** Return the messages from the root to a node. */
  path(leaf = this.leaf) {
    const found = [];
    for (let node = this.nodes.get(leaf); node; node = this.nodes.get(node.parent)) found.unshift(node);
    return found;
  }

  children(parent) {
    return this.below.get(parent) ?? [];
  }

  /** Add a message below another (null: at the root), and show it. */
  add(parent, fields) {
    const node = { id: newId(), parent, ...fields };
    this.place(node);
    this.leaf = node.id;
    this.updated = Date.now();
    if (!this.title && node.role === "user") this.title = titleOf(node);
    return node;
  }

  /** Change the title, or make it from the first question if it is empty; return true if it differs. */
  rename(title) {
    const before = this.title;
    const first = [...this.nodes.values()].find(({ role }) => role === "user");
    this.title = title.replace(/\s+/g, " ").trim() || (first ? titleOf(first) : "");
    return this.title !== before;
  }

  /** Show the branch of a message, following the newest messages. */
  select(id) {
    let below;
    for (let node = id; node; node = below) {
      this.leaf = node;
      below = this.children(node).at(-1)?.id;
    }
  }

  /** Return the messages of a request for an answer to a node. */
  messages(node) {
    const turns = this.path(node).map(({ role, content, files }) => ({ role, content: composed(content, files) })).filter(({ content }) => content);
    return this.system ? [{ role: "system", content: this.system }, ...turns] : turns;
  }
}

/** Parse exported conversations; throw an Error that says what is wrong with the file. */
export function readExport(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("this is not an export of conversations: it is not JSON");
  }
  if (value?.format !== "intact-conversations" || !Array.isArray(value.conversations)) {
    throw new Error("this is not an export of conversations from this page");
  }
  return value.conversations.map((one, i) => {
    try {
      return new Conversation(conversationOf(one));
    } catch (error) {
      throw new Error(`conversation ${i + 1} in the file is damaged: ${error.message}`);
    }
  });
}

export const asExport = (conversations) => ({ format: "intact-conversations", version: 1, conversations });
