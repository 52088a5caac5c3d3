// Receipts of answers (docs/spec/receipts.md, The document): read strictly, nothing in them is believed.

import { canonical } from "./digests.js";
import definitions from "./definitions.js";
import { InputError } from "./sources.js";
import { parseStrict } from "./strict.js";

const MOST_BYTES = 8 << 20;
const MOST_VALUES = (1 << 18) + (1 << 12);
const OTHER_FORMATS = ["intact-run-receipt", "intact-quantization-receipt"];

/** A line that is no receipt of an answer that this package reads; `what` is the part that the verdict names. */
export class ReceiptError extends InputError {
  constructor(message, what = "format") {
    super(message, what);
    this.name = "ReceiptError";
  }
}

// Checks by name: each takes a value and returns whether it fits.
const integer = (low, high) => (x) => Number.isSafeInteger(x) && x >= low && x <= high;
const text = (x) => typeof x === "string" && x.isWellFormed();
const matching = (pattern) => (x) => typeof x === "string" && pattern.test(x);
const oneOf =
  (...values) =>
  (x) =>
    values.includes(x);
const orNull = (check) => (x) => x === null || check(x);
const list =
  (check, least = 0, most = MOST_VALUES) =>
  (x) =>
    Array.isArray(x) && x.length >= least && x.length <= most && x.every(check);
const anything = () => true;
const decimal = (low, high) => (x) =>
  typeof x === "string" &&
  /^-?(0|[1-9]\d{0,3})(\.\d{0,5}[1-9])?$/.test(x) &&
  x !== "-0" &&
  Number(x) >= low &&
  Number(x) <= high;
const ascending = (x) => list(TOKEN)(x) && x.every((token, i) => !i || x[i - 1] < token);
const seed = (x) => matching(/^(0|-?[1-9]\d{0,19})$/)(x) && BigInt(x) >= -(2n ** 63n) && BigInt(x) < 2n ** 64n;
const stops = (x) =>
  list((stop) => text(stop) && stop !== "" && [...stop].length <= 1024, 0, 256)(x) && new Set(x).size === x.length;
const chain = (x) => matching(/^[A-Za-z0-9_-]+$/)(x) && x.length % 4 !== 1 && toBase64(fromBase64(x)) === x;

const profile = (x) => {
  if (typeof x !== "string") return false;
  const { plain, sparse, rules, codecs } = definitions.profiles;
  const [arithmetic, codec, ...more] = x.split("+kv-");
  if (more.length || (codec !== undefined && (!codecs.includes(codec) || arithmetic === "fp32"))) return false;
  const [, scheme, rule] = /^([a-z0-9_]+)\+([a-z]+)[1-9][0-9]?$/.exec(arithmetic) ?? [];
  return plain.includes(arithmetic) || (sparse.includes(scheme) && rules.includes(rule));
};

const TOKEN = integer(0, 2 ** 31 - 1);
const DIGEST = matching(/^[0-9a-f]{64}$/);
const COUNT = integer(0, 2 ** 30);
const SHARE = decimal(0.000001, 1);

const SAMPLING = {
  temperature: decimal(0, 1000),
  top_p: SHARE,
  min_p: decimal(0, 1),
  typical_p: SHARE,
  repetition_penalty: decimal(0.000001, 100),
  presence_penalty: decimal(-2, 2),
  frequency_penalty: decimal(-2, 2),
  top_k: COUNT,
  min_tokens: COUNT,
  max_tokens: integer(1, 2 ** 30),
  seed,
  ignore_eos: oneOf(true, false),
  stop: stops,
  logit_bias: { tokens: ascending, values: list((x) => x === "-inf" || decimal(-100, 100)(x)) },
  constraint: orNull((x) => fits(x, { kind: oneOf(...definitions.constraints), text })),
};
const RECEIPT = {
  format: oneOf("intact-receipt"),
  version: oneOf(1),
  hash: oneOf("sha256", "blake3"),
  model: {
    weights: DIGEST,
    tensors: integer(1, 2 ** 24),
    tokenizer: DIGEST,
    template: orNull(DIGEST),
    ends: ascending,
    name: orNull(text),
  },
  numerics: { version: text, profile, bits: oneOf(8, 4) },
  request: {
    prompt: list(TOKEN, 1),
    sampling: SAMPLING,
    branch: list((x) => text(x) || Number.isSafeInteger(x), 0, 16),
    compiler: orNull(text),
    source: orNull((x) => fits(x, { kind: oneOf("text", "chat"), text, now: orNull(text) }, "receipt.request.source")),
  },
  output: {
    tokens: list(TOKEN, 1),
    finish: oneOf("stop", "uncertain", "unlikely", "length", "context"),
    text,
    logprobs: orNull(list(integer(-(2 ** 48), 0))),
  },
  chain,
};
/** Members that may be absent, by the place of their object. */
const OPTIONAL = {
  receipt: {
    layers: { count: integer(1, 4096), root: DIGEST },
    signature: { key: DIGEST, value: matching(/^[0-9a-f]{128}$/) },
  },
  "receipt.request": { decoding: anything },
  "receipt.request.source": { contents: oneOf("text") },
  "receipt.request.sampling": {
    stop_below: decimal(0.000001, 1),
    stop_mean_below: decimal(-100, -0.000001),
    stop_window: (x) => integer(1, 2 ** 30)(x) && x !== 16,
  },
};

function fits(value, shape, where = "") {
  try {
    insist(value, shape, where);
    return true;
  } catch {
    return false;
  }
}

function insist(value, shape, where) {
  if (typeof shape === "function") {
    if (!shape(value)) throw new ReceiptError(`${where} is ${JSON.stringify(value)?.slice(0, 60)}, which it cannot be`);
    return;
  }
  const found = value !== null && typeof value === "object" && !Array.isArray(value) ? Object.keys(value) : null;
  const optional = OPTIONAL[where] ?? {};
  const wanted = Object.keys(shape);
  const unknown = found?.find((name) => !Object.hasOwn(shape, name) && !Object.hasOwn(optional, name));
  if (found === null || unknown !== undefined || wanted.some((name) => !found.includes(name))) {
    const missing = wanted.filter((name) => !found?.includes(name));
    throw new ReceiptError(
      `${where}: ${unknown !== undefined ? `the member ${JSON.stringify(unknown).slice(0, 60)} is unknown` : `the members ${missing} are missing`}`,
    );
  }
  for (const name of found) insist(value[name], shape[name] ?? optional[name], `${where}.${name}`);
}

/** Read base64url without padding. */
export function fromBase64(data) {
  const bytes = atob(data.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(bytes, (character) => character.charCodeAt(0));
}

function toBase64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * Read a receipt.
 *
 * @param {Uint8Array} line Its bytes, without the line feed.
 * @returns {object} The document; `chain` stays text.
 * @throws {ReceiptError} If it is no receipt of an answer, of a later version, or not in canonical form.
 */
export function parseReceipt(line) {
  const ascii = line.every((byte) => byte < 128);
  const most = ascii ? MOST_BYTES : MOST_BYTES / 2;
  if (line.length > most) throw new ReceiptError(`the receipt has ${line.length} bytes; expected at most ${most}`);
  if (countValues(line) > MOST_VALUES) throw new ReceiptError(`the receipt has more than ${MOST_VALUES} values`);
  let source, value;
  try {
    source = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
    value = parseStrict(source);
  } catch (error) {
    throw new ReceiptError(`the receipt is not valid JSON: ${error.message}`);
  }
  if (OTHER_FORMATS.includes(value?.format)) {
    throw new ReceiptError(`this program reads receipts of answers; ${value.format} needs the Python package`);
  }
  if (value?.format === "intact-receipt" && Number.isSafeInteger(value.version) && value.version > 1) {
    throw new ReceiptError(`the receipt has version ${value.version}, but this program reads version 1`, "version");
  }
  insist(value, RECEIPT, "receipt");
  const { request, output } = value;
  const rules = [
    [canonical(value) === source, "it is not canonical JSON (RFC 8785)"],
    [
      output.logprobs === null || output.logprobs.length === output.tokens.length,
      "there is no log-probability for each token",
    ],
    [fromBase64(value.chain).length === 32 * output.tokens.length, "the chain has no 32 bytes for each token"],
    [
      request.sampling.logit_bias.tokens.length === request.sampling.logit_bias.values.length,
      "logit_bias has no value for each token",
    ],
    [request.sampling.min_tokens <= request.sampling.max_tokens, "min_tokens is more than max_tokens"],
    [!("stop_window" in request.sampling) || "stop_mean_below" in request.sampling, "stop_window is a window of nothing"],
    [
      (request.compiler === null) === (request.sampling.constraint === null),
      "a constraint has a compiler, and nothing else has",
    ],
    [request.sampling.constraint === null || !request.sampling.ignore_eos, "under a constraint no end is ignored"],
  ];
  for (const [holds, what] of rules) if (!holds) throw new ReceiptError(`the receipt is impossible: ${what}`);
  return value;
}

// Commas and opening brackets outside strings.
function countValues(line) {
  let count = 0;
  let inString = false;
  for (let i = 0; i < line.length; i++) {
    const byte = line[i];
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x2c || byte === 0x5b || byte === 0x7b) count++;
  }
  return count;
}

/** Cut a file of receipts into its lines. */
export function receiptLines(file) {
  const lines = [];
  for (let begin = 0; begin < file.length;) {
    const found = file.indexOf(0x0a, begin);
    const end = found < 0 ? file.length : found;
    lines.push(file.subarray(begin, end));
    begin = end + 1;
  }
  if (!lines.length) throw new ReceiptError("the file is empty; expected a receipt a line");
  return lines;
}

/** The document without the members named. */
export function without(receipt, ...names) {
  return Object.fromEntries(Object.entries(receipt).filter(([name]) => !names.includes(name)));
}
