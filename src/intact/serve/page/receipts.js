// Receipts: saved as files, and verified by the server.

import { ask } from "/page/api.js";
import { button, byId, count, element, save } from "/page/dom.js";

const LONGEST = 8 << 20;

/** Return the canonical form of RFC 8785: the output of JSON.stringify with sorted members. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** Return a button that saves a receipt. */
export const download = (receipt, name) => (
  button("Save receipt", () => save(`${canonical(receipt)}\n`, `${name}.receipt`), { className: "receipt" })
);

const WORDS = { true: ["true", "✓ true"], false: ["wrong", "✗ false"], unverifiable: ["wrong", "? cannot be verified"] };

/** Verify a receipt, and add the verdict to the panel's list. */
export async function verify(receipt, name, model) {
  const item = element("li", {}, `${name}: checking …`);
  byId("verdicts").append(item);
  try {
    show(item, name, await ask("/v1/verify", { receipt, model }));
  } catch (error) {
    item.replaceChildren(element("span", { className: "wrong" }, `${name}: ? cannot be verified: ${error.message}`));
  }
}

async function check(file, model) {
  if (file.size > LONGEST) throw new Error(`a receipt has at most ${LONGEST >> 20} MiB`);
  const lines = (await file.text()).split("\n").filter((line) => line.trim());
  if (!lines.length) throw new Error("the file is empty");
  for (const [number, line] of lines.entries()) {
    const name = `${file.name}${lines.length > 1 ? `, line ${number + 1}` : ""}`;
    let receipt;
    try {
      receipt = JSON.parse(line);
    } catch {
      throw new Error(`? cannot be verified: this is no receipt: it is not JSON`);
    }
    await verify(receipt, name, model);
  }
}

function show(item, name, { outcome, what, entry = null, position, detail, checked }) {
  const [kind, words] = WORDS[outcome];
  const where = (entry === null ? "" : `, entry ${entry}`) + (position === null ? "" : `, token ${position}`);
  const why = outcome === "true" ? `: the model gives exactly these ${count(checked)} tokens` : ` (${what}${where}): ${detail}`;
  item.replaceChildren(`${name}: `, element("strong", { className: kind }, words), why);
}

/** Verify chosen or dropped files. */
export function watchForReceipts(model) {
  takeFiles("drop", "file", async (file) => {
    await check(file, model()).catch((error) => {
      byId("verdicts").append(element("li", { className: "wrong" }, `${file.name}: ${error.message}`));
    });
  });
}

/** Handle files dropped on a label, or chosen in its field: one after another, or all together by `together`. */
export function takeFiles(label, field, handle, together = null) {
  const drop = byId(label);
  const take = together ?? (async (files) => {
    for (const file of files) await handle(file);
  });
  byId(field).addEventListener("change", async ({ target }) => {
    await take([...target.files]);
    target.value = "";
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}
