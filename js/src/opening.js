// Receipts that are checked by a few layers, whose rows somebody opened (docs/spec/receipts.md, Layers).

import { hex, sha256 } from "./core.js";
import { canonical, treeRoot } from "./digests.js";
import { without } from "./receipt.js";
import { InputError } from "./sources.js";
import { parseStrict } from "./strict.js";
import { rejected, verify } from "./verify.js";

const FORMAT = "intact-layer-opening";
const MEMBERS = ["format", "version", "receipt", "layers", "roots", "leaves"];
const MOST_HEADER = 16 << 20;
const MOST_LAYERS = 4096;
/** Bound on the size of a number of the residual stream (docs/spec/numerics.md, section 11). */
const LARGEST_ROW = 1n << 61n;
/** Rows of a step: all their logits are computed. */
const ROWS = 32;
const encoder = new TextEncoder();

/** The rows of some boundaries of a receipt, and the digests that bind them. */
export class Opening {
  /**
   * Read a file that `intact receipt open` wrote; nothing in it is trusted.
   *
   * @param {Uint8Array} bytes
   * @returns {Opening} With `receipt` (a digest), `layers`, `roots`, `leaves`, and `rows`, BigInt64Array by boundary.
   * @throws {InputError} If it is none, or one of floats, which this package does not run.
   */
  static parse(bytes) {
    const refuse = (why) => {
      throw new InputError(`no opening of a receipt: ${why}`, "format");
    };
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length < 8 ? NaN : Number(view.getBigUint64(0, true));
    if (!(length <= MOST_HEADER && 8 + length <= bytes.length)) refuse("its header is cut short");
    let header;
    try {
      header = parseStrict(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)));
    } catch (error) {
      refuse(`its header is not valid JSON (${error.message})`);
    }
    const { __metadata__: said, ...tensors } = header ?? {};
    if (said?.format !== FORMAT || said.version !== "1" || `${Object.keys(said).sort()}` !== `${[...MEMBERS].sort()}`)
      refuse("the file is something else");
    const layers = /^\d{1,5}(,\d{1,5})*$/.test(said.layers) ? said.layers.split(",").map(Number) : [];
    const [receipt, roots, leaves] = [said.receipt, said.roots, said.leaves].map((text) => digestsOf(text) ?? []);
    const ascends = layers.every((layer, i) => layer < MOST_LAYERS && !(layer <= layers[i - 1]));
    if (!layers.length || !ascends || receipt.length !== 1 || roots.length < 2 || !leaves.length)
      refuse("its layers or digests are none");
    const data = new Uint8Array(bytes.subarray(8 + length)); // a copy, aligned
    const rows = new Map();
    for (const boundary of new Set([...layers, roots.length - 1])) {
      const { dtype, shape, data_offsets: span } = tensors[`boundary.${boundary}`] ?? {};
      const sizes = [...(Array.isArray(shape) ? shape : []), ...(Array.isArray(span) ? span : [])];
      const whole = sizes.length === 4 && sizes.every((x) => Number.isSafeInteger(x) && x >= 0);
      const [count, width, begin, end] = sizes;
      if (dtype !== "I64" || !whole || end - begin !== 8 * count * width || begin % 8 || end > data.length)
        refuse(`the rows of boundary ${boundary} are missing, or no integers`);
      rows.set(boundary, { count, width, numbers: new BigInt64Array(data.buffer, begin, count * width) });
    }
    if (Object.keys(tensors).length !== rows.size) refuse("it has rows that no layer asks for");
    return Object.assign(new Opening(), { receipt: hex(receipt[0]), layers, roots, leaves, rows });
  }
}

// The digests of hexadecimal digits; null where they are something else.
function digestsOf(text) {
  if (typeof text !== "string" || !/^([0-9a-f]{64})*$/.test(text)) return null;
  return Array.from(text.match(/.{64}/g) ?? [], (digits) =>
    Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16)),
  );
}

/** The layers that a nonce chooses: those with the least SHA-256 of nonce, the receipt's digest and their number. */
export function chooseLayers(core, nonce, receipt, count, chosen) {
  const rank = (layer) => hex(sha256(core, encoder.encode(`intact-layer-check-1\n${nonce}\n`), receipt, word(layer)));
  const ranks = Array.from({ length: count }, (_, layer) => [rank(layer), layer]);
  return ranks
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, chosen)
    .map(([, layer]) => layer)
    .sort((a, b) => a - b);
}

const word = (number) => Uint8Array.from([0, 8, 16, 24], (shift) => (number >>> shift) & 255);

/**
 * Verify a receipt by the layers that a nonce chooses: these are computed, and every draw.
 *
 * @param {import("./model.js").Model} model Loaded with the `layers` and `leaves` of the opening.
 * @param {object} receipt What `parseReceipt` returned.
 * @param {Opening} opening
 * @param {object} options `nonce`; `layers`: how many are checked, 1 by default; `signedBy`, `progress`, `signal` as of
 *   `verify`.
 * @returns {Promise<object>} A verdict as of `verify`, "partial" where some layers were left out.
 */
export async function verifyLayers(model, receipt, opening, { nonce, layers = 1, signedBy, progress, signal }) {
  const found = await rejected(model, receipt, signedBy);
  return found ?? byLayers(model, receipt, opening, { nonce, layers, signedBy, progress, signal });
}

async function byLayers(model, receipt, opening, { nonce, layers, ...options }) {
  const { core } = model;
  const digest = (...parts) => sha256(core, ...parts);
  const verdict = (outcome, detail) => ({ outcome, what: "layers", position: null, detail, checked: 0 });
  const claimed = receipt.layers;
  if (!claimed) return verdict("unverifiable", "the receipt commits to no layers");
  const count = model.program.segments().layers.length;
  if (claimed.count !== count)
    return verdict("false", `it says that the model has ${claimed.count} layers; it has ${count}`);
  const own = digest(encoder.encode(canonical(without(receipt, "signature"))));
  const chosen = chooseLayers(core, nonce, own, count, layers);
  if (opening.receipt !== hex(own) || `${opening.layers}` !== `${chosen}` || `${model.layers}` !== `${chosen}`)
    return verdict("unverifiable", `the opening is not of layers ${chosen} of this receipt`);
  if (opening.roots.length !== count + 1 || hex(treeRoot(digest, opening.roots)) !== claimed.root)
    return verdict("false", "the roots that were opened are not those that the receipt commits to");
  const positions = receipt.request.prompt.length + receipt.output.tokens.length - 1;
  const { width } = model.program;
  const leaf = (boundary, position, row) => digest(Uint8Array.of(0), word(boundary), word(position), row);
  for (const [boundary, { count: rows, width: columns, numbers }] of opening.rows) {
    const fits = rows === positions && columns === width;
    const leaves = fits
      ? Array.from({ length: rows }, (_, i) => leaf(boundary, i, numbers.subarray(i * width, (i + 1) * width)))
      : [];
    if (!fits || hex(treeRoot(digest, leaves)) !== hex(opening.roots[boundary]))
      return verdict("false", `the opened rows of boundary ${boundary} are not those that the receipt commits to`);
    if (numbers.some((x) => x > LARGEST_ROW || x < -LARGEST_ROW))
      return verdict("false", `the opened rows of boundary ${boundary} have numbers that no model's rows reach`);
  }
  const run = new LayerRun(model, chosen, opening.rows, leaf);
  const found = await verify(run.model, receipt, { ...options, rows: ROWS });
  for (const boundary of run.reads) {
    const leaves = Array.from({ length: positions }, (_, i) => run.leaves.get(`${boundary},${i}`));
    const isWhole = leaves.every(Boolean);
    if (isWhole ? hex(treeRoot(digest, leaves)) !== hex(opening.roots[boundary]) : found.outcome === "true") {
      const where = boundary ? `layer ${boundary - 1}` : "the embedding";
      return { ...verdict("false", `${where} gives other rows than the receipt says`), checked: found.checked };
    }
  }
  if (found.outcome !== "true" || chosen.length === count) return found;
  return { ...found, outcome: "partial", detail: `of ${count} layers ${chosen.join(", ")} were computed` };
}

/** A model whose chosen layers each get the rows that were opened; the digests of what leaves them are kept. */
class LayerRun {
  constructor(model, chosen, given, leaf) {
    this.given = given;
    this.leaf = leaf;
    this.reads = [0, ...chosen.map((layer) => layer + 1)];
    this.takes = [...chosen, model.program.segments().layers.length];
    this.leaves = new Map();
    this.whole = model;
    this.model = Object.assign(Object.create(model), { step: (...step) => this.#step(...step) });
  }

  // In steps of few rows; the logits of all are computed, so that no row ends before it has passed all layers.
  #step(position, tokens, wanted) {
    if (wanted.length) return this.#few(position, tokens);
    for (let at = 0; at < tokens.length; at += ROWS) this.#few(position + at, tokens.slice(at, at + ROWS));
    return 0;
  }

  #few(position, tokens) {
    const { core, lowered, program } = this.whole;
    const size = tokens.length * program.width;
    const out = this.reads.map(() => new BigInt64Array(size));
    const taken = this.takes.map((boundary, i) => {
      if (boundary === this.reads[i]) return null;
      const { numbers } = this.given.get(boundary);
      const rows = new BigInt64Array(size); // 0 beyond the opened rows, where the last token runs along
      rows.set(numbers.subarray(position * program.width, position * program.width + size));
      return rows;
    });
    return core.with([...out, ...taken], (...at) => {
      out.forEach((_, i) => lowered.setExchange(i, at[i], at[out.length + i]));
      const all = tokens.map((_, i) => i);
      const logits = this.whole.step(position, tokens, all);
      this.reads.forEach((boundary, i) => {
        lowered.setExchange(i, 0, 0);
        const rows = core.view(BigInt64Array, at[i], size).slice();
        tokens.forEach((_, n) => {
          const row = rows.subarray(n * program.width, (n + 1) * program.width);
          this.leaves.set(`${boundary},${position + n}`, this.leaf(boundary, position + n, row));
        });
      });
      return logits;
    });
  }
}
