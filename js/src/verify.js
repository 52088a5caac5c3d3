// Verify a receipt: compute the answer again, many tokens at once, and compare all that is said (docs/spec/receipts.md).

import { ConstraintError } from "./automata.js";
import { hex, sha256 } from "./core.js";
import { canonical } from "./digests.js";
import { Draws, Ending, STEP_ROWS } from "./model.js";
import { pause } from "./pause.js";
import { fromBase64, without } from "./receipt.js";
import { encodeChat } from "./template.js";

const encoder = new TextEncoder();
/** Rows of a step under a constraint, whose masks take time too: work can be cancelled between two steps. */
const MASKED_ROWS = 16;
const PRIME = 2n ** 255n - 19n;
const EIGHTH = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
/** The y of the eight points P of edwards25519 with 8 P = 0. */
const SMALL_ORDER = [0n, 1n, PRIME - 1n, EIGHTH, PRIME - EIGHTH];

const verdict = (outcome, what = null, position = null, detail = "", checked = 0) => ({
  outcome,
  what,
  position,
  detail,
  checked,
});
const unverifiable = (what, detail) => verdict("unverifiable", what, null, detail);

/** The verdict on a line that `parseReceipt` refused. */
export function unreadable(error) {
  return unverifiable(error.what ?? "format", error.message);
}

/**
 * Verify a receipt by a model.
 *
 * @param {import("./model.js").Model} model
 * @param {object} receipt What `parseReceipt` returned.
 * @param {object} [options] `tokens`: check so many at most; `signedBy`: the public key, 64 digits, that must have signed;
 *   `progress`: called with the tokens checked; `rows`: tokens of a step, on which no bit depends; `signal`: cancels the
 *   work, between two steps.
 * @returns {Promise<{outcome: "true" | "partial" | "false" | "unverifiable", what: string | null, position: number | null,
 *   detail: string, checked: number}>} As `intact.receipts.verify.Verdict`.
 */
export async function verify(model, receipt, { tokens: most, signedBy, progress, rows = STEP_ROWS, signal } = {}) {
  return (await rejected(model, receipt, signedBy)) ?? output(model, receipt, { most, progress, rows, signal });
}

/** The verdict on a receipt that is decided before a token is computed; else null. */
export async function rejected(model, receipt, signedBy) {
  return (
    (await signature(model, receipt, signedBy)) ??
    identity(model, receipt) ??
    unsupported(model, receipt) ??
    (await request(model, receipt))
  );
}

async function signature(model, receipt, signedBy) {
  const given = receipt.signature;
  if (receipt.hash !== "sha256") return unverifiable("hash", `this program has no ${receipt.hash}`);
  if (!given) return signedBy ? unverifiable("signature", "it is not signed") : null;
  if (signedBy && given.key !== signedBy) {
    return unverifiable("signature", `it is signed by ${given.key}, not by ${signedBy}`);
  }
  const key = bytesOf(given.key);
  if (isWeak(key)) {
    return verdict(
      "false",
      "signature",
      null,
      `${given.key} is a key that anybody can sign for, or not in the form of RFC 8032`,
    );
  }
  if (!globalThis.crypto?.subtle) return unverifiable("signature", "this engine has no Ed25519 here");
  const digest = sha256(model.core, encoder.encode(canonical(without(receipt, "signature"))));
  const signed = new Uint8Array([...encoder.encode("intact-receipt-signature-1\n"), ...digest]);
  let holds;
  try {
    const made = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    holds = await crypto.subtle.verify({ name: "Ed25519" }, made, bytesOf(given.value), signed);
  } catch (error) {
    if (error.name === "NotSupportedError") return unverifiable("signature", "this engine has no Ed25519");
    holds = false;
  }
  return holds ? null : verdict("false", "signature", null, `${given.key} has not signed this`);
}

const bytesOf = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));

// A public key that nobody owns (a point of small order), or that is not in its only valid form (RFC 8032, 5.1.3).
function isWeak(key) {
  const y = BigInt(`0x${hex(Uint8Array.from(key).reverse())}`) & (2n ** 255n - 1n);
  return y >= PRIME || SMALL_ORDER.includes(y);
}

function identity(model, { model: claimed, numerics }) {
  const own = model.digests;
  if (claimed.weights !== own.weights) {
    const named = claimed.name ? `, which calls itself ${JSON.stringify(claimed.name).slice(0, 80)}` : "";
    return unverifiable(
      "weights",
      `it is of a model with the weights ${claimed.weights}${named}; ${model.name} has ${own.weights}`,
    );
  }
  if (claimed.tensors !== own.tensors) {
    return unverifiable(
      "weights",
      `it says that these weights are ${claimed.tensors} tensors; they are ${own.tensors}`,
    );
  }
  for (const name of ["profile", "version", "bits"]) {
    if (numerics[name] !== model.numerics[name]) {
      return unverifiable(
        "numerics",
        `its ${name} is ${JSON.stringify(numerics[name])}; this model runs in ${model.numerics[name]}`,
      );
    }
  }
  if (claimed.tokenizer !== own.tokenizer || `${claimed.ends}` !== `${own.ends}`) {
    return unverifiable("tokenizer", `it is of another tokenizer than that of ${model.name}`);
  }
  return claimed.template === own.template
    ? null
    : unverifiable("template", `it is of another chat template than that of ${model.name}`);
}

function unsupported(model, { request: { sampling, decoding } }) {
  if (decoding !== undefined)
    return unverifiable("decoding", "it was drawn from a mix, which this program does not run");
  try {
    model.matcher(sampling.constraint);
    return null;
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    return unverifiable("constraint", error.message);
  }
}

async function request(model, { request: { prompt, sampling, source }, output: { tokens } }) {
  const { vocabulary } = model.program;
  for (const [what, several] of [
    ["prompt", prompt],
    ["token", tokens],
  ]) {
    const at = several.findIndex((token) => token >= vocabulary);
    if (at >= 0)
      return verdict(
        "false",
        what,
        at,
        `token ${several[at]} is none of this model's, which lie in 0 to ${vocabulary - 1}`,
      );
  }
  if (prompt.length + tokens.length > model.context) {
    return unverifiable(
      "context",
      `${prompt.length} and ${tokens.length} tokens exceed the context of ${model.context}`,
    );
  }
  const outside = sampling.logit_bias.tokens.find((token) => token >= vocabulary);
  if (outside !== undefined)
    return verdict("false", "sampling", null, `logit_bias names token ${outside}, which this model does not have`);
  return source === null ? null : sourceVerdict(model, source, prompt);
}

// The verdict if a source does not give its prompt.
async function sourceVerdict(model, { kind, text, now, contents }, prompt) {
  const usesTime =
    kind === "chat" && (model.tokenizer.templates ?? []).some((template) => template.includes("strftime_now"));
  if (now !== null && !usesTime)
    return verdict("false", "prompt", null, "its source has a time, and nothing asks for it");
  if (contents !== undefined && kind === "text")
    return verdict("false", "prompt", null, "its source has contents, and is no conversation");
  let made;
  try {
    made = kind === "text" ? model.tokenizer.encode(text) : encodeChat(model.tokenizer, text, contents);
  } catch (error) {
    if (error.what === "template") return unverifiable("template", error.message);
    return verdict("false", "prompt", null, `its source becomes no prompt: ${error.message}`);
  }
  const at = firstDifference(made, prompt);
  return at === null ? null : verdict("false", "prompt", at, "its source becomes other tokens than its prompt");
}

function firstDifference(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? null : Math.min(a.length, b.length);
}

// The verdict on tokens, links, end and text. Where a constraint may have allowed what differs, its own compiler alone can
// tell; a token that its own link denies is false under any.
async function output(model, receipt, options) {
  const found = await compare(model, receipt, options);
  const { compiler, sampling } = receipt.request;
  if (sampling.constraint === null || !(found.what === "finish" || found.isMasked)) return plain(found);
  const detail = `its constraint was compiled by ${compiler.slice(0, 80)}, here by this program: ${found.detail}`;
  return { ...plain(found), outcome: "unverifiable", what: "constraint", detail };
}

const plain = ({ isMasked, ...found }) => found;

async function compare(model, receipt, { most, progress, rows: mostRows, signal }) {
  const {
    request: { prompt, sampling, branch },
    output: { tokens, logprobs, finish, text },
  } = receipt;
  const { core, lowered } = model;
  const parameters = { stop_below: "0", stop_mean_below: "0", stop_window: 16, ...sampling };
  const claimed = tokens.slice(0, most ?? tokens.length);
  const draws = new Draws(model, prompt, parameters, branch);
  const rows = draws.matcher ? Math.min(mostRows, MASKED_ROWS) : mostRows;
  const ending = new Ending(model, prompt.length, parameters);
  const links = fromBase64(receipt.chain);
  const header = sha256(core, encoder.encode(canonical(without(receipt, "output", "chain", "layers", "signature"))));
  const link = (last, token, head) => hex(sha256(core, last, Int32Array.of(token), head));
  let last = sha256(core, encoder.encode("intact-receipt-chain-1\n"), header);
  let said = "";
  let ended = null;
  for (const _ of model.promptSteps(prompt)) await pause(signal);
  for (let at = 0; at < claimed.length; at += rows) {
    await pause(signal);
    const count = Math.min(rows, claimed.length - at);
    const before = [prompt.at(-1), ...claimed].slice(at, at + count);
    const logits = model.step(
      prompt.length - 1 + at,
      before,
      Array.from({ length: count }, (_, i) => i),
    );
    for (let i = 0; i < count; i++) {
      const n = at + i;
      const differs = (what, detail) => verdict("false", what, n, detail, n);
      if (ended !== null) return differs("finish", `the model's answer ends here (${ended}), the receipt's goes on`);
      const row = logits + 4 * i * lowered.outputs;
      let drawn;
      try {
        drawn = draws.draw(row, n);
      } catch (error) {
        if (!(error instanceof ConstraintError)) throw error;
        return verdict("unverifiable", "constraint", n, error.message, n);
      }
      const { token, logprob } = drawn;
      const head = lowered.headInput(i);
      const own = hex(links.subarray(32 * n, 32 * n + 32));
      const same = own === link(last, claimed[n], head);
      if (token !== claimed[n] || !same) {
        if (token !== claimed[n] && (same || (token >= 0 && own === link(last, token, head)))) {
          const detail = `it says ${claimed[n]}; from the same hidden state its seed, branch and sampling draw ${token}`;
          return { ...differs("token", detail), isMasked: same };
        }
        const more = n ? "" : ", or the header is not the one that its chain began with";
        return differs("hidden state", `what entered the head is not what these weights give for this text${more}`);
      }
      if (logprobs !== null && logprobs[n] !== logprob) {
        return differs("logprobs", `it says ${logprobs[n]}; the model gives ${logprob}`);
      }
      last = links.subarray(32 * n, 32 * n + 32);
      const pushed = ending.push(token, logprob, draws.isUncertain(row));
      said += pushed.text;
      ended = pushed.finish;
      progress?.(n + 1, claimed.length);
    }
  }
  const checked = claimed.length;
  if (checked < tokens.length) {
    if (ended !== null)
      return verdict(
        "false",
        "finish",
        checked,
        `the model's answer ends here (${ended}), the receipt's goes on`,
        checked,
      );
    return verdict("partial", null, null, `only ${checked} of its ${tokens.length} tokens were checked`, checked);
  }
  if (ended === null) return verdict("false", "finish", checked, "the model goes on where the receipt ends", checked);
  if (ended !== finish)
    return verdict("false", "finish", checked, `it says ${finish}; the model's answer ends by ${ended}`, checked);
  const character = firstDifference([...said], [...text]);
  if (character !== null)
    return verdict("false", "text", checked, `its tokens say another text, from character ${character} on`, checked);
  if (receipt.layers && !model.layers)
    return verdict("partial", null, null, "its commitment to the rows between layers was not checked", checked);
  return verdict("true", null, null, "", checked);
}
