// Verdicts in plain words.

import { count } from "./dom.js";

const PARTS = {
  token: "a token is not the one that the model draws",
  "hidden state": "a step was not computed by this model from this text",
  logprobs: "a probability is not the model's",
  finish: "the answer does not end where the receipt says",
  text: "the text is not what the tokens say",
  prompt: "the prompt is not what the receipt says it was made from",
  signature: "the signature does not hold",
  sampling: "the settings name what this model does not have",
  layers: "what goes from layer to layer is not what the receipt commits to",
};
const MISSING = {
  weights: "The receipt is about another model than this file.",
  tokenizer: "The receipt is about another tokenizer than this file's.",
  template: "The receipt is about another chat template than this file's, or one that this page does not render.",
  numerics: "The receipt was computed by other arithmetic than this page's.",
  format: "This is no receipt of an answer, or a damaged one.",
  version: "The receipt is of a later version than this page reads.",
  model: "The model's file cannot be used.",
  hash: "The receipt uses a hash that this page does not have.",
  constraint: "The answer was drawn under a constraint that this page does not compile, or compiles in another way.",
  decoding: "The answer was drawn from a mix of models, which this page does not run.",
  layers: "The opening is of other layers than the nonce chooses, or of another receipt.",
  context: "The answer is longer than this model's context.",
  signature: "The signature cannot be checked here.",
};

/**
 * Say what a verdict means.
 *
 * @param {object} verdict As `verify` gives it.
 * @param {number} total The receipt's tokens.
 * @returns {{kind: string, outcome: string, detail: string}} `kind` is the class of its box.
 */
export function words({ outcome, what, position, detail, checked }, total) {
  if (outcome === "true") {
    const all = total === 1 ? "Its one token is" : `All ${count(total, "token")} are`;
    return {
      kind: "is-true",
      outcome: "✓ True",
      detail: `${all} exactly what this model gives for this prompt, these settings and this seed.`,
    };
  }
  if (outcome === "false") {
    const where =
      position === null || position >= total ? "" : what === "prompt" ? ` at prompt token ${position + 1}` : ` at token ${position + 1} of ${total}`;
    const part = PARTS[what] ?? what;
    return { kind: "is-false", outcome: `✗ False${where}: ${part}`, detail: `${detail}. ${count(checked, "token")} before it ${checked === 1 ? "was" : "were"} found right.` };
  }
  if (outcome === "partial") return { kind: "", outcome: "True as far as it was checked", detail };
  return { kind: "", outcome: `? Cannot be verified. ${MISSING[what] ?? ""}`.trim(), detail };
}

/** Say what went wrong with the engine or a file, and what to do. */
export function problem(error) {
  if (error.name === "AbortError") return "Cancelled.";
  if (error.name !== "CoreError") return error.message;
  if (/memory/.test(error.message)) {
    return `The browser has probably not enough memory for this: close other tabs, or take a smaller model. (${error.message})`;
  }
  return error.message;
}
