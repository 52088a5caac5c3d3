// Digests of the masks before each token of texts: reads {"model", "cases"} in JSON, writes a list for each case.
//
//     node masks.mjs < cases.json
//
// A case has a constraint's `kind` and `text`, and `tokens`. A constraint that is not compiled gives its error's words.

import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";

import { ConstraintError } from "../../js/src/automata.js";
import { Constraint, Vocabulary } from "../../js/src/constraints.js";
import { Gguf } from "../../js/src/gguf.js";
import { FileSource } from "../../js/src/sources.js";
import { Tokenizer } from "../../js/src/tokenizer.js";

const { model, cases } = JSON.parse(await text(process.stdin));
const tokenizer = new Tokenizer(await Gguf.open(await FileSource.open(model)));
const vocabulary = new Vocabulary(tokenizer, tokenizer.texts.length);
const made = new Map();

function digests({ kind, text: source, tokens }) {
  const key = `${kind}:${source}`;
  if (!made.has(key)) made.set(key, new Constraint(vocabulary, { kind, text: source }));
  const matcher = made.get(key).matcher();
  const found = [];
  for (const token of [...tokens, null]) {
    found.push(createHash("sha256").update(matcher.mask()).digest("hex"));
    if (token !== null) matcher.accept(token);
  }
  return found;
}

const answers = cases.map((given) => {
  try {
    return digests(given);
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    return error.message;
  }
});
console.log(JSON.stringify(answers));
