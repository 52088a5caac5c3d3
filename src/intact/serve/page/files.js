// Files in a question as the model reads them, and as the page shows them.

import { count, element } from "/page/dom.js";

const LANGUAGE = /\.([a-z0-9+#]{1,12})$/i;

/** Return the text that the model reads for a question with files: each file in a fence that its content cannot close. */
export function composed(question, files = []) {
  const parts = files.map(({ name, text }) => {
    const ticks = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length)) + 1;
    const language = LANGUAGE.exec(name)?.[1].toLowerCase() ?? "";
    return `File ${JSON.stringify(name)}:\n${"`".repeat(ticks)}${language}\n${text.replace(/\n$/, "")}\n${"`".repeat(ticks)}`;
  });
  return [...parts, question].filter(Boolean).join("\n\n");
}

/** Return the files of a message as elements that open. */
export const fileList = (files = []) => files.map(({ name, text }) => element(
  "details", { className: "file" }, element("summary", {}, `${name}, ${count(text.length)} characters`), element("pre", { tabIndex: 0 }, text),
));
