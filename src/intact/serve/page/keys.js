// Keyboard shortcuts: one table for what they do and for the dialog that lists them.

import { byId, element } from "/page/dom.js";
import { read, write } from "/page/values.js";

const press = (id) => () => byId(id).click();
const focus = (id) => () => byId(id).focus();

/** Return the message that has the focus, or the last one with such a button. */
function messageWith(selector) {
  const own = document.activeElement?.closest?.("#talk article");
  if (own?.querySelector(selector)) return own;
  return [...document.querySelectorAll("#talk article")].findLast((one) => one.querySelector(selector));
}

const inMessage = (selector) => () => messageWith(selector)?.querySelector(selector)?.click();

/** Move the focus to the next or previous message. */
const move = (step) => () => {
  const all = [...document.querySelectorAll("#talk article")];
  const at = all.indexOf(document.activeElement?.closest?.("#talk article"));
  const next = at < 0 ? all.at(step > 0 ? 0 : -1) : all[at + step];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
};

/** Single keys, for use outside of text fields. */
const SINGLE = (chat, sidebar) => [
  ["?", "List the shortcuts", press("keys-open")],
  ["n", "New conversation", press("fresh")],
  ["i", "Write a question", focus("question")],
  ["m", "Choose the model", focus("model")],
  ["h", "Choose the method", focus("method")],
  ["u", "Attach files", press("attach")],
  ["j", "Next message", move(1)],
  ["k", "Previous message", move(-1)],
  ["e", "Edit the question", inMessage(".edit")],
  ["r", "Regenerate the answer", inMessage(".again")],
  ["a", "Another answer, side by side", inMessage(".another")],
  ["[", "Earlier version of the message", inMessage("[aria-label='Earlier version']:enabled")],
  ["]", "Later version of the message", inMessage("[aria-label='Later version']:enabled")],
  ["c", "Copy the message", inMessage(".copy-message")],
  ["t", "Fold or unfold the thoughts", inMessage(".thoughts summary")],
  ["v", "Verify the receipt", inMessage(".verify")],
  ["d", "Save the receipt", inMessage("button.receipt")],
  ["f", "Find in the conversation", press("search-open")],
  ["g", "Find in all conversations", () => { byId("side").hidden = false; byId("find").focus(); }],
  ["b", "Open or close the list of conversations", press("menu")],
  ["s", "Share the conversation as a file", press("share")],
  ["l", "Rename the conversation", () => { byId("side").hidden = false; sidebar.editById(chat.conversation.id); }],
  ["w", "Compare runs", press("runs-open")],
  ["o", "Open results of intact eval", press("report-open")],
  ["x", "Check receipts", press("receipts-open")],
  [",", "Settings", press("settings-open")],
];
/** Keys that other parts of the page handle. */
const ELSEWHERE = [
  ["Enter", "Send the question"], ["Shift+Enter", "Start a new line"], ["Escape", "Stop the answer, close what is open, or leave the question"],
  ["← →", "Move between the tokens of an answer"],
];

const isTyping = (target) => target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

export function watchKeys(chat, sidebar) {
  const single = new Map(SINGLE(chat, sidebar).map(([key, , act]) => [key, act]));
  byId("keys-list").append(element("tbody", {}, ...[...SINGLE(chat, sidebar), ...ELSEWHERE].map(([key, words]) => (
    element("tr", {}, element("td", {}, element("kbd", {}, key)), element("td", {}, words))
  ))));
  byId("keys-open").addEventListener("click", () => byId("keys").showModal());
  byId("keys-close").addEventListener("click", () => byId("keys").close());
  byId("keys-on").checked = read("localStorage", "keys") !== "off";
  byId("keys-on").addEventListener("change", ({ target }) => write("localStorage", "keys", target.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    if (key === "Escape" && target.id === "question" && !chat.running) target.blur();
    if (!byId("keys-on").checked || isTyping(target)) return;
    const act = single.get(key);
    if (!act) return;
    event.preventDefault();
    act();
  });
}
