// What a shared receipt claims, checked without its model: digests, and that the texts shown are its own.

import { canonical } from "/js/src/digests.js";
import { without } from "/js/src/receipt.js";

const encoder = new TextEncoder();
const RUN = "intact-run-receipt";
/** The point that only the tokenizer in the model's file can decide. */
export const PROMPT_UNKNOWN = "The receipt states its prompt as tokens; the model's file shows whether the question is in it.";
const OUTPUT = ["tokens", "finish", "text", "logprobs"];

export const isRun = (receipt) => receipt.format === RUN;

const found = (state, words) => ({ state, words });
const right = (words) => found("right", words);
const wrong = (words) => found("wrong", words);
const open = (words) => found("open", words);

async function sha256(...parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Return the root over leaves (RFC 6962), as `treeRoot` of the engine does without promises. */
async function rootOf(leaves) {
  if (leaves.length === 1) return leaves[0];
  const middle = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
  return sha256(Uint8Array.of(1), await rootOf(leaves.slice(0, middle)), await rootOf(leaves.slice(middle)));
}

/** If true, every number is one that JavaScript reads exactly, so that its digests mean something here. */
function isExact(value) {
  if (typeof value === "number") return Number.isSafeInteger(value);
  return value === null || typeof value !== "object" || Object.values(value).every(isExact);
}

/**
 * Check an answer that is shown with a receipt.
 *
 * @param {object} message As in the shared document: content, receipt, texts.
 * @param {string | null} question The question shown above it.
 * @returns {Promise<{state: "right" | "wrong" | "open", words: string}[]>}
 */
export async function check(message, question) {
  const { receipt } = message;
  if (!receipt) return [open("There is no receipt: nothing of this answer can be verified.")];
  if (receipt.hash !== "sha256") return [open(`The receipt uses the hash ${receipt.hash}, which this file does not compute.`)];
  return isRun(receipt) ? checkRun(message, question) : checkAnswer(message, question);
}

function checkAnswer({ content, thoughts, receipt: { output, request } }, question) {
  const checks = [isPartOf(content, output.text), asked(question, sourceOf(request.source))];
  if (thoughts) checks.push(output.text.includes(thoughts) ? right("The thoughts are the receipt's.") : open("The thoughts are not checked."));
  return checks;
}

/** Remove blanks, and the mark of a character that the last token leaves incomplete. */
const trimmed = (text) => text.replace(/[\s\ufffd]+$/, "").trimStart();

function isPartOf(content, text) {
  const [shown, whole] = [content, text].map(trimmed);
  if (shown === whole) return right("The text shown is the receipt's.");
  if (shown && whole.endsWith(shown)) return right("The text shown is the end of the receipt's text.");
  const isBroken = text.includes("\ufffd") || content.includes("\ufffd");
  if (isBroken) return open("The text shown and the receipt's have incomplete characters and cannot be compared; the tree shows the receipt's.");
  return wrong("The text shown is not the receipt's.");
}

function asked(question, contents) {
  if (question === null) return open("No question is shown.");
  if (contents === null) return open(PROMPT_UNKNOWN);
  return contents.includes(question) ? right("The question is the receipt's.") : wrong("The question shown is not the receipt's.");
}

/** Check the question by the texts of a prompt's tokens. */
export function askedIn(question, texts) {
  return texts.join("").includes(question) ? right("The question is in the receipt's prompt.") : wrong("The question shown is not in the receipt's prompt.");
}

/** Return the contents of the messages of a request's source; null if it states none. */
function sourceOf(source) {
  if (!source) return null;
  if (source.kind !== "chat") return [source.text];
  try {
    return JSON.parse(source.text).messages.flatMap(({ content }) => (typeof content === "string" ? [content] : content.map(({ text }) => text)));
  } catch {
    return [];
  }
}

async function checkRun({ content, receipt, texts }, question) {
  const { entries, result, root, signature, problem } = receipt;
  if (!isExact(receipt)) return [open("The receipt has numbers that JavaScript does not read exactly; use intact receipt verify.")];
  const header = without(receipt, "entries", "result", "root", "signature");
  const leaves = await Promise.all([header, ...entries, result].map((part) => sha256(Uint8Array.of(0), encoder.encode(canonical(part)))));
  const checks = [hex(await rootOf(leaves)) === root ? right("The root is the digest of these entries.") : wrong("The root is not the digest of these entries: the receipt was changed.")];
  const chosen = result.chosen ?? [];
  const onPath = entries.filter(({ branch }) => branch && branch.every((part, i) => part === chosen[i]));
  const shown = onPath.map((entry) => entry.output?.text ?? entry.text ?? "").join("");
  if (!chosen.length) checks.push(open("The method chose no text; the text shown is not checked."));
  else checks.push(isPartOf(content, shown));
  checks.push(asked(question, typeof problem.prompt === "string" ? [problem.prompt] : problem.prompt.map(([, one]) => one)));
  checks.push(await requests(entries, texts));
  if (signature) checks.push(open("It is signed; intact receipt verify checks the signature."));
  return checks;
}

/** Check that the receipts of a run's texts are those that its entries commit to. */
async function requests(entries, texts) {
  const indices = entries.flatMap(({ kind }, i) => (kind === "text" ? [i] : []));
  if (!indices.length) return open("The receipt has no texts of its own to compute again.");
  for (const { entry, receipt } of texts) {
    const header = encoder.encode(canonical(without(receipt, "output", "chain", "layers", "signature")));
    const claimed = entries[entry];
    const same = claimed?.kind === "text" && claimed.chain === receipt.chain && hex(await sha256(header)) === claimed.header
      && OUTPUT.every((name) => canonical(claimed.output[name]) === canonical(receipt.output[name]));
    if (!same) return wrong(`The request of entry ${entry} is not the one that the receipt commits to.`);
  }
  const known = new Set(texts.map(({ entry }) => entry));
  const missing = indices.filter((index) => !known.has(index)).length;
  if (missing) return open(`The requests of ${missing} of ${indices.length} texts are not in this file, so those texts cannot be computed again here.`);
  return right(`The requests of its ${indices.length} texts are those that the receipt commits to.`);
}
