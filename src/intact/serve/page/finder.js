// Search within the conversation: all places of the words are marked, and visited one after another.

import { byId, count } from "/page/dom.js";

const MOST = 5000;  // places
const NAMES = ["found", "found-now"];

export class Finder {
  constructor(chat) {
    Object.assign(this, { chat, places: [], at: 0 });
    byId("search-open").addEventListener("click", () => this.open());
    byId("search-close").addEventListener("click", () => this.close());
    byId("search-words").addEventListener("input", () => this.search());
    byId("search-next").addEventListener("click", () => this.go(1));
    byId("search-before").addEventListener("click", () => this.go(-1));
    byId("search-others").addEventListener("click", () => this.showOther());
    byId("search-row").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      if (event.key === "Enter" && event.target.id !== "search-words") return;
      event.preventDefault();
      if (event.key === "Escape") this.close();
      else this.go(event.shiftKey ? -1 : 1);
    });
  }

  open() {
    byId("search-row").hidden = false;
    byId("search-words").select();
    this.search();
  }

  close() {
    byId("search-row").hidden = true;
    for (const name of NAMES) globalThis.CSS?.highlights?.delete(name);
    byId("question").focus();
  }

  search() {
    const words = byId("search-words").value.toLowerCase();
    this.places = words ? placesOf(byId("talk"), words) : [];
    this.at = 0;
    this.others = words ? this.hidden(words) : [];
    byId("search-others").hidden = !this.others.length;
    byId("search-others").textContent = `${count(this.others.length)} in other versions`;
    this.mark(this.places.length > 0);
  }

  /** Return the messages with the words that are not on the path shown. */
  hidden(words) {
    const { conversation } = this.chat;
    const path = new Set(conversation.path());
    return [...conversation.nodes.values()].filter((node) => !path.has(node) && node.content.toLowerCase().includes(words));
  }

  showOther() {
    this.chat.conversation.select(this.others[0].id);
    this.chat.draw();
    this.search();
  }

  go(step) {
    if (!this.places.some(({ startContainer }) => startContainer.isConnected)) this.search();
    if (!this.places.length) return;
    this.at = (this.at + step + this.places.length) % this.places.length;
    this.mark(true);
  }

  mark(isShown) {
    const [all, now] = NAMES;
    const here = this.places[this.at];
    byId("search-count").textContent = this.places.length ? `${count(this.at + 1)} of ${count(this.places.length)}` : byId("search-words").value ? "not found" : "";
    if (globalThis.Highlight) {
      CSS.highlights.set(all, new Highlight(...this.places));
      CSS.highlights.set(now, new Highlight(...(here ? [here] : [])));
    }
    if (!isShown || !here) return;
    const holder = here.startContainer.parentElement;
    for (let details = holder.closest("details"); details; details = details.parentElement.closest("details")) details.open = true;
    holder.scrollIntoView({ block: "center" });
  }
}

/** Return the ranges of words below an element, in the order of the page; controls are skipped. */
function placesOf(root, words) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) => (
    node.parentElement.closest(".text, .file, .votes, .wrong") && !node.parentElement.closest("button, select") ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_REJECT
  ));
  const found = [];
  for (let node = walker.nextNode(); node && found.length < MOST; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    if (text.length !== node.data.length) continue;  // lower case has other places here
    for (let at = text.indexOf(words); at >= 0 && found.length < MOST; at = text.indexOf(words, at + words.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + words.length);
      found.push(range);
    }
  }
  return found;
}
