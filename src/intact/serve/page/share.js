// A conversation or a run as one HTML file, which shows its trees and verifies its receipts without a server.

import { ask, askText } from "/page/api.js";
import { save } from "/page/dom.js";
import { asShared } from "/page/shared/document.js";

const TEMPLATE = "/page/shared.html";
const PLACE = '"intact-shared-data"';

/** Return the receipts of a run's texts, which the server derives by replaying the method; none if it cannot. */
async function textsOf({ receipt, model }) {
  if (receipt?.format !== "intact-run-receipt") return [];
  try {
    return (await ask("/v1/receipts/texts", { receipt, model })).data;
  } catch {
    return [];  // the file then says which texts it cannot compute again
  }
}

/** Return a JSON text that a script element can hold. */
const embedded = (value) => JSON.stringify(value).replaceAll("<", "\\u003c");

/** Return the text of the file for messages in the order of the conversation. */
async function shareFile(title, nodes) {
  const messages = await Promise.all(nodes.map(async (node) => ({ ...node, texts: await textsOf(node) })));
  const template = await askText(TEMPLATE);
  return template.replace(PLACE, () => embedded(asShared(title, messages)));
}

/** Save the messages as a file; its name is made from the title. */
export async function share(title, nodes) {
  const name = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "conversation";
  save(await shareFile(title, nodes), `${name}.html`, "text/html");
}
