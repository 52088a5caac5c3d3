// The WebAssembly module: its memory, and every function that it exports (native/wasm/exports.cpp), typed.
//
// All arithmetic of steps, draws and digests is in the module. An error in it ends the instance: its stack is lost, so
// that every later call is refused.

import { CoreError, importsOf, newMemory, textAt } from "./instance.js";
import { MOST_THREADS, mayHaveThreads, startThreads } from "./threads.js";

/** Fields of an operation in the order of `GivenOp` in native/wasm/exports.cpp, with their defaults. */
const OP_FIELDS = Object.entries({
  source: -1,
  second: -1,
  third: -1,
  target: -1,
  weight: -1,
  heads: 0,
  kv_heads: 0,
  layer: 0,
  width: 0,
  window: 0,
  accumulate: 0,
  centered: 0,
  bias: -1,
  interleaved: 0,
  gate: 0,
  mantissa: 0,
  exponent: 0,
  cap_slope: 0,
  cap_limit: 0,
  multiplier: 0,
  used: 0,
  weights: 0,
  factor: 1 << 18,
  keep: 0,
  random: 0,
  groups: 1,
  groups_used: 1,
  states: 0,
  taps: 0,
  scan_bias: -1,
  step_bias: -1,
  rate: -1,
  skip: -1,
  delta: 0,
  tiled: 0,
  causal: 1,
  positions: -1,
  first: 0,
  separator: -1,
  second_bias: -1,
  fourth: -1,
  added: -1,
  selective: 0,
  angles: 0,
  b_bias: -1,
  c_bias: -1,
  slowest: 0,
  outliers: 0,
});

/** An instance of the module. */
export class Core {
  /**
   * Instantiate the module.
   *
   * @param {BufferSource | WebAssembly.Module} source The bytes of intact.wasm, or the compiled module.
   * @param {object} [options]
   * @param {number} [options.threads] Threads of its models, the caller's among them; no bit depends on it.
   * @param {() => Worker | Promise<Worker>} [options.startThread] Starts a worker that runs thread.js.
   * @returns {Promise<Core>}
   * @throws {CoreError} If the engine cannot run it, such as one without SIMD, or has no such number of threads.
   */
  static async load(source, { threads = 1, startThread } = {}) {
    if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
      throw new CoreError(`threads must be from 1 to ${MOST_THREADS}, got ${threads}`);
    if (threads > 1 && !mayHaveThreads()) {
      throw new CoreError(
        `${threads} threads need a worker in an isolated page (Cross-Origin-Opener-Policy: same-origin, ` +
          "Cross-Origin-Embedder-Policy: require-corp); here there can be 1",
      );
    }
    const core = new Core();
    const module = source instanceof WebAssembly.Module ? source : await Core.compile(source);
    const memory = (core.#memory = newMemory());
    try {
      core.#exports = (await WebAssembly.instantiate(module, importsOf(memory))).exports;
    } catch (error) {
      throw new CoreError(`this engine does not run the module: ${error.message}`);
    }
    core.#exports._initialize?.();
    core.tiers = core.#strings(core.call("intact_tiers"));
    core.threads = threads;
    if (threads > 1) {
      const given = { count: threads - 1, startThread };
      await startThreads(core, module, memory, core.#exports, given);
    }
    return core;
  }

  /**
   * Compile the module, for several instances.
   *
   * @param {BufferSource} source The bytes of intact.wasm.
   * @returns {Promise<WebAssembly.Module>}
   * @throws {CoreError} If the engine cannot run it, such as one without SIMD.
   */
  static async compile(source) {
    try {
      return await WebAssembly.compile(source);
    } catch (error) {
      throw new CoreError(`this engine does not run the module, which needs WebAssembly with SIMD: ${error.message}`);
    }
  }

  #exports;
  #memory;
  #failed = null;
  #names = new Map();

  /** Call an exported function. */
  call(name, ...values) {
    if (this.#failed !== null) throw new CoreError(`the module failed before: ${this.#failed}`);
    try {
      return this.#exports[name](...values);
    } catch (error) {
      const isTrap = error instanceof WebAssembly.RuntimeError;
      const words = isTrap ? `memory ran out, or it found itself wrong (${error.message})` : error.message;
      this.#end(words);
      throw error instanceof CoreError ? error : new CoreError(`the module failed: ${words}`);
    }
  }

  /** End its threads; it cannot be called any more. */
  close() {
    this.#end("it was closed");
  }

  // Threads leave the module by themselves when they next wait: Deno does not end a worker that waits.
  #end(why) {
    this.#failed ??= why;
    if (this.threads > 1) this.#exports.intact_threads_end(1);
  }

  /** Bytes of the module's memory. */
  get memoryBytes() {
    return this.#memory.buffer.byteLength;
  }

  /** A view of the module's memory, valid until it next grows: any call may do that. */
  view(Type, address, length) {
    return new Type(this.#memory.buffer, address, length);
  }

  /** Allocate bytes, aligned to 64; the caller releases them. */
  allocate(bytes) {
    const address = this.call("intact_allocate", bytes) >>> 0;
    return address;
  }

  release(address) {
    this.call("intact_release", address);
  }

  /** Run a function with memory that holds the arrays given; it is released afterwards. */
  with(arrays, run) {
    const at = [];
    try {
      for (const array of arrays) at.push(array === null ? 0 : this.put(array));
      return run(...at);
    } finally {
      if (this.#failed === null) for (const address of at) if (address) this.release(address);
    }
  }

  /** Copy a typed array into memory of its own; return its address. */
  put(array) {
    const address = this.allocate(array.byteLength);
    this.view(Uint8Array, address, array.byteLength).set(
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    );
    return address;
  }

  /** The address of a name that the module reads: of a tier, of a kind of tensors. It stays. */
  name(text) {
    if (!this.#names.has(text)) this.#names.set(text, this.put(new TextEncoder().encode(`${text}\0`)));
    return this.#names.get(text);
  }

  #strings(address) {
    const found = [];
    for (let text; (text = textAt(this.#memory, address)) !== ""; address += text.length + 1) found.push(text);
    return found;
  }
}

/** A digest at work (SHA-256, FIPS 180-4). */
export class Sha256 {
  #core;
  #state;

  constructor(core) {
    this.#core = core;
    this.#state = core.call("intact_sha256");
  }

  /** Add the bytes of a typed array. */
  update(array) {
    if (array.byteLength) {
      this.#core.with([array], (at) => this.#core.call("intact_sha256_update", this.#state, at, array.byteLength));
    }
    return this;
  }

  /** Return the digest, 32 bytes; nothing can be added any more. */
  digest() {
    const out = this.#core.allocate(32);
    this.#core.call("intact_sha256_digest", this.#state, out);
    const digest = this.#core.view(Uint8Array, out, 32).slice();
    this.#core.release(out);
    return digest;
  }
}

/** Return the SHA-256 of the arrays given, one behind the other. */
export function sha256(core, ...arrays) {
  const made = new Sha256(core);
  for (const array of arrays) made.update(array);
  return made.digest();
}

/** Return bytes as hexadecimal digits. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Convert a matrix on the threads of the model at an address, or on one for 0; return the address of the weight. */
function converted(core, model, { kind, data, rows, columns, bits }) {
  const wanted = core.call("intact_source_bytes", core.name(kind), rows, columns);
  if (wanted !== data.byteLength) {
    throw new CoreError(
      `${data.byteLength} bytes for a ${kind} matrix of ${rows} x ${columns}: it should have ${wanted}`,
    );
  }
  return core.with([data], (at) => core.call("intact_convert", model, core.name(kind), at, rows, columns, bits));
}

/** A matrix of integers, packed for the kernels. */
export class Weight {
  /** Convert a matrix as a checkpoint stores it, on one thread; `bits` (8 or 4) is what floats become. */
  static convert(core, kind, data, rows, columns, bits = 8) {
    return new Weight(core, converted(core, 0, { kind, data, rows, columns, bits }));
  }

  /** Pack integers: `numbers` has rows, columns, bits, block, zero, shift and the arrays of a block weight. */
  static pack(core, numbers) {
    const { rows, columns, bits, block, zero, shift } = numbers;
    const arrays = ["table", "codes", "scale", "scale_exp", "minimum", "minimum_exp"].map((name) => numbers[name]);
    const made = core.with(arrays, (...at) => core.call("intact_pack", rows, columns, bits, block, zero, shift, ...at));
    return new Weight(core, made);
  }

  constructor(core, address) {
    this.core = core;
    this.address = address;
  }

  release() {
    this.core.call("intact_weight_release", this.address);
  }
}

/** A model: weights and operations, the pages of its KV cache, and the steps that run it. */
export class CoreModel {
  #model;

  constructor(core, { layers, kv_heads, head_width, page_size, tier = core.tiers[0] }) {
    this.core = core;
    this.tier = tier;
    this.pageSize = page_size;
    const shape = [layers, kv_heads, head_width, page_size];
    this.#model = core.call("intact_model", core.name(tier), core.threads, ...shape);
  }

  release() {
    this.core.call("intact_model_release", this.#model);
  }

  setScheme(largest, stepBits, mantissa, power, wholeRow) {
    this.core.call("intact_scheme", this.#model, largest, stepBits, mantissa, Number(power), Number(wholeRow));
  }

  /** Keep keys and values in so many bits, 8 or 4, before there are pages. */
  setKvBits(key, value) {
    this.core.call("intact_kv_bits", this.#model, key, value);
  }

  addBuffer(width, wide) {
    return this.core.call("intact_buffer", this.#model, width, Number(wide));
  }

  /** Add a weight, which then belongs to the model. */
  addWeight(weight) {
    return this.core.call("intact_weight", this.#model, weight.address);
  }

  /** Convert a matrix on all threads, as `Weight.convert` does on one, and add it. */
  addMatrix(kind, data, rows, columns, bits) {
    return this.addWeight(new Weight(this.core, converted(this.core, this.#model, { kind, data, rows, columns, bits })));
  }

  largestExponent(weight) {
    return this.core.call("intact_largest_exponent", this.#model, weight);
  }

  addGain(factor, exponent, epsilon) {
    return this.core.with([factor], (at) =>
      this.core.call("intact_gain", this.#model, at, factor.length, exponent, BigInt(epsilon)),
    );
  }

  addBias(bias) {
    return this.core.with([bias], (at) => this.core.call("intact_bias", this.#model, at, bias.length));
  }

  addRotation(turns, factor) {
    return this.core.with([turns], (at) =>
      this.core.call("intact_rotation", this.#model, at, turns.length, BigInt(factor)),
    );
  }

  /** Add an operation: `kind`, and the fields of native/runtime/model.h that it has. */
  addOp({ kind, targets = [], index = new Int32Array(), norms = new Int32Array(), ...fields }) {
    const given = BigInt64Array.from(OP_FIELDS, ([name, otherwise]) => BigInt(fields[name] ?? otherwise));
    const flat = Int32Array.from(targets.flat(), Number);
    this.core.with([given, flat, index, norms], (op, to, columns, sizes) =>
      this.core.call(
        "intact_op",
        this.#model,
        this.core.name(kind),
        op,
        to,
        targets.length,
        columns,
        index.length,
        sizes,
        norms.length,
      ),
    );
  }

  /** Serve an exchange, by its number, in the steps to come: addresses of rows, int64, that it writes and takes; 0: not. */
  setExchange(number, out, taken) {
    this.core.call("intact_exchange", this.#model, number, out, taken);
  }

  reservePages(count) {
    this.core.call("intact_pages", this.#model, count);
  }

  get pageBytes() {
    return this.core.call("intact_page_bytes", this.#model);
  }

  get weightBytes() {
    return this.core.call("intact_weight_bytes", this.#model);
  }

  /** The number of logits of a row. */
  get outputs() {
    return this.core.call("intact_outputs", this.#model);
  }

  /**
   * Run a step.
   *
   * @param {Int32Array} tokens Of all chunks, one behind the other.
   * @param {{position: number, count: number, pages: Int32Array, adapter?: number}[]} chunks Tokens of one sequence each,
   *   and the number of its adapter, if it has one.
   * @param {BigInt64Array} wanted Rows whose logits are wanted.
   * @returns {number} The address of the logits in Q16, int32 (wanted, outputs), valid until the next step.
   */
  step(tokens, chunks, wanted) {
    const heads = Int32Array.from(chunks.flatMap((c) => [c.position, c.count, c.pages.length, c.adapter ?? -1]));
    const tables = Int32Array.from(chunks.flatMap((c) => Array.from(c.pages)));
    return (
      this.core.with([tokens, heads, tables, wanted], (t, h, p, w) =>
        this.core.call("intact_step", this.#model, t, tokens.length, h, chunks.length, p, w, wanted.length),
      ) >>> 0
    );
  }

  /** Return what entered the head for a row of the last step's logits (docs/spec/receipts.md, Chain). */
  headInput(row) {
    const bytes = this.core.call("intact_head_bytes", this.#model);
    const at = this.core.allocate(bytes);
    this.core.call("intact_head", this.#model, row, at);
    const input = this.core.view(Uint8Array, at, bytes).slice();
    this.core.release(at);
    return input;
  }

  /** Draw a token from the row of logits at an address; see `draw`. */
  draw(logits, given) {
    return draw(this.core, this.tier, logits, this.outputs, given);
  }
}

const NO_TOKENS = new Int32Array();

/**
 * Draw a token of `count` logits at an address.
 *
 * @param {object} given `sampling` (slope, top_k, top_p, min_p, typical), `key` and `position` as numbers or BigInt, and
 *   edits: `biased`, `bias`, `repetition`, `repeated`, `presence`, `frequency`, `drawn`, `counts`, `forbidden`; `mask`: a bit
 *   for each token that may be drawn (Uint32Array), if not all may.
 * @returns {{token: number, logprob: number}} The token, -1 where none is left, and its log-probability in Q24.
 */
export function draw(core, tier, logits, count, given) {
  const { sampling, key, position, repetition = 1000000, presence = 0, frequency = 0, mask = null } = given;
  if (mask !== null && mask.length < Math.ceil(count / 32)) throw new CoreError(`the mask has no bits for ${count} tokens`);
  const lists = ["biased", "bias", "repeated", "drawn", "counts", "forbidden"].map((name) => given[name] ?? NO_TOKENS);
  return core.with([new BigInt64Array(2), mask, ...lists], (out, allowed, biased, bias, repeated, drawn, counts, forbidden) => {
    const words = new ArrayBuffer(128);
    const numbers = [...sampling, key, position, repetition, presence, frequency];
    const view = new DataView(words);
    numbers.forEach((number, i) => view.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(number)), true));
    const [b, , r, d, , f] = lists.map((list) => list.length);
    const pointers = [biased, bias, b, repeated, r, drawn, counts, d, forbidden, f, allowed];
    pointers.forEach((word, i) => view.setUint32(80 + 4 * i, word, true));
    return core.with([new Uint8Array(words)], (at) => {
      core.call("intact_draw", core.name(tier), logits, count, at, out);
      const [token, logprob] = core.view(BigInt64Array, out, 2);
      return { token: Number(token), logprob: Number(logprob) };
    });
  });
}
