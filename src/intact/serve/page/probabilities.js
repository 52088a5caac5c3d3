// Probabilities of the tokens in a receipt, with the tokens' texts from the server.

import { ask } from "/page/api.js";
import { SCALE } from "/page/traces.js";

/** Show the token probabilities stated in a receipt's outputs, given as pairs of branch and output. */
export async function explain(search, outputs, model) {
  const known = outputs.filter(([, { logprobs }]) => logprobs);
  if (!model || !known.length) return;
  const spelt = await Promise.all(known.map(([, { tokens }]) => ask("/detokenize", { model, tokens, each: true }).catch(() => null)));
  search.explain(known.map(([branch, { logprobs }], i) => [
    branch, spelt[i]?.pieces.map((token, at) => ({ token, logprob: logprobs[at] / SCALE })) ?? null,
  ]).filter(([, tokens]) => tokens));
}
