// A conversation: a tree of messages, of which one path is shown. Editing or asking again adds a branch; nothing is lost.

const TITLE = 60;

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Conversation {
  constructor({ id = newId(), title = "", updated = Date.now(), system = "", nodes = [], leaf = null } = {}) {
    Object.assign(this, { id, title, updated, system, leaf });
    this.nodes = new Map(nodes.map((node) => [node.id, node]));
  }

  /** Return it as plain values, to be kept or exported. */
  values() {
    const { id, title, updated, system, leaf } = this;
    return { id, title, updated, system, leaf, nodes: [...this.nodes.values()] };
  }

  /** Return the messages from the first to a node. */
  path(leaf = this.leaf) {
    const found = [];
    for (let node = this.nodes.get(leaf); node; node = this.nodes.get(node.parent)) found.unshift(node);
    return found;
  }

  children(parent) {
    return [...this.nodes.values()].filter((node) => node.parent === parent);
  }

  /** Add a message below another (null: the first), and show it. */
  add(parent, fields) {
    const node = { id: newId(), parent, ...fields };
    this.nodes.set(node.id, node);
    this.leaf = node.id;
    this.updated = Date.now();
    if (!this.title && node.role === "user") this.title = node.content.replace(/\s+/g, " ").slice(0, TITLE);
    return node;
  }

  /** Show the branch of a message, to its newest end. */
  select(id) {
    let below;
    for (let node = id; node; node = below) {
      this.leaf = node;
      below = this.children(node).at(-1)?.id;
    }
  }

  /** Return the messages of a request that asks for what follows a node. */
  messages(node) {
    const turns = this.path(node).filter(({ content }) => content).map(({ role, content }) => ({ role, content }));
    return this.system ? [{ role: "system", content: this.system }, ...turns] : turns;
  }
}

/** Read exported conversations; throw an Error that says what is wrong with the file. */
export function readExport(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("this is no export of conversations: it is not JSON");
  }
  if (value?.format !== "intact-conversations" || !Array.isArray(value.conversations)) {
    throw new Error("this is no export of conversations of this page");
  }
  return value.conversations.map((one) => {
    const nodes = Array.isArray(one?.nodes) ? one.nodes : [];
    const ids = new Set(nodes.map((node) => node?.id));
    if (ids.size < nodes.length) throw new Error("a conversation in the file is damaged: two messages have the same id");
    for (const node of nodes) {
      const sound = typeof node?.id === "string" && typeof node.content === "string"
        && ["user", "assistant"].includes(node.role) && (node.parent === null || ids.has(node.parent));
      if (!sound || nodes.indexOf(node) <= nodes.findIndex(({ id }) => id === node.parent)) {
        throw new Error("a conversation in the file is damaged: a message has no text, no role, or no message before it");
      }
    }
    if (typeof one?.id !== "string" || (one.leaf !== null && !ids.has(one.leaf))) {
      throw new Error("a conversation in the file is damaged: it ends in a message that is not there");
    }
    return new Conversation({ ...one, title: String(one.title ?? ""), system: String(one.system ?? "") });
  });
}

export const asExport = (conversations) => ({ format: "intact-conversations", version: 1, conversations });
