// Receipts: kept as files, and verified by the server.

import { ask } from "/page/api.js";
import { byId, count, element } from "/page/dom.js";

const LONGEST = 8 << 20;

/** The canonical form of RFC 8785: what JSON.stringify writes, with members in order. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** Return a link by which the browser saves a receipt. */
export function download(receipt, name) {
  const file = new Blob([canonical(receipt), "\n"], { type: "application/json" });
  return element("a", { href: URL.createObjectURL(file), download: `${name}.receipt`, className: "receipt" }, "Receipt");
}

const WORDS = { true: ["true", "✓ true"], false: ["wrong", "✗ false"], unverifiable: ["wrong", "? cannot be verified"] };

async function check(file, model) {
  if (file.size > LONGEST) throw new Error(`a receipt has at most ${LONGEST >> 20} MiB`);
  const lines = (await file.text()).split("\n").filter((line) => line.trim());
  if (!lines.length) throw new Error("the file is empty");
  for (const [number, line] of lines.entries()) {
    const item = element("li", {}, `${file.name}${lines.length > 1 ? `, line ${number + 1}` : ""}: checking …`);
    byId("verdicts").append(item);
    try {
      let receipt;
      try {
        receipt = JSON.parse(line);
      } catch {
        throw new Error("this is no receipt: it is not JSON");
      }
      show(item, file.name, await ask("/v1/verify", { receipt, model }));
    } catch (error) {
      item.replaceChildren(element("span", { className: "wrong" }, `${file.name}: ? cannot be verified: ${error.message}`));
    }
  }
}

function show(item, name, { outcome, what, entry = null, position, detail, checked }) {
  const [kind, words] = WORDS[outcome];
  const where = (entry === null ? "" : `, entry ${entry}`) + (position === null ? "" : `, token ${position}`);
  const why = outcome === "true" ? `: the model gives exactly these ${count(checked)} tokens` : ` (${what}${where}): ${detail}`;
  item.replaceChildren(`${name}: `, element("strong", { className: kind }, words), why);
}

/** Verify files that are chosen or dropped. */
export function watchForReceipts(model) {
  const drop = byId("drop");
  const take = async (files) => {
    for (const file of files) {
      await check(file, model()).catch((error) => {
        byId("verdicts").append(element("li", { className: "wrong" }, `${file.name}: ${error.message}`));
      });
    }
  };
  byId("file").addEventListener("change", async ({ target }) => {
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
