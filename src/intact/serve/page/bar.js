// The toolbar of the conversation: find in it, share it, open reports, list the shortcuts.

import { byId } from "/page/dom.js";
import { Finder } from "/page/finder.js";
import { watchKeys } from "/page/keys.js";
import { Report } from "/page/report.js";
import { share } from "/page/share.js";

/** Run an action of a button; while it runs the button is disabled, and a failure is shown next to it. */
async function run(control, act) {
  byId("bar-state").textContent = "";
  control.disabled = true;
  try {
    await act();
  } catch (error) {
    byId("bar-state").textContent = error.message;
  }
  control.disabled = false;
}

async function shareConversation({ conversation }) {
  const nodes = conversation.path().filter(({ content, run, error }) => content || run || error);
  if (!nodes.length) throw new Error("there is nothing to share yet: ask something first");
  byId("bar-state").textContent = "Writing the file …";
  await share(conversation.title, nodes);
  byId("bar-state").textContent = "Saved. Open the file anywhere; it verifies its receipts by itself.";
}

export function watchBar(chat, sidebar) {
  new Report();
  new Finder(chat);
  watchKeys(chat, sidebar);
  byId("share").addEventListener("click", () => run(byId("share"), () => shareConversation(chat)));
}
