// The conformance set (scripts/js_conformance.py): every operation, product and program, computed by the module, and the
// digests of docs/spec/contract.md over what it gives.

import { CoreModel, Sha256, Weight, draw, hex, sha256 } from "./core.js";

const TYPES = {
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
};
const ALIGNMENT = 64;

/** The set as it lies in a file. */
export class ConformanceSet {
  /** @param {ArrayBuffer} file The bytes of conformance.bin. */
  constructor(file) {
    const length = new DataView(file).getUint32(0, true);
    const description = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 4, length)));
    this.numerics = description.numerics;
    this.expected = description.expected;
    this.groups = description.groups;
    this.#file = file;
    this.#start = Math.ceil((4 + length) / ALIGNMENT) * ALIGNMENT;
  }

  #file;
  #start;

  /** Return a value with the arrays that it names in their places. */
  resolve(value) {
    if (Array.isArray(value)) return value.map((item) => this.resolve(item));
    if (value === null || typeof value !== "object") return value;
    if ("array" in value) {
      const [type, offset, length] = value.array;
      return new TYPES[type](this.#file, this.#start + offset, length);
    }
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.resolve(item)]));
  }
}

const narrow = (x) => Int32Array.from(x, Number);
const wide = (x) => BigInt64Array.from(x, BigInt);

// Each operation by its name in the set: takes a core, a tier and the arguments, and returns its results as int64.
const OPERATIONS = {
  quantize(core, tier, { x, rows, wide: isWide }) {
    const columns = x.length / rows;
    const blocks = Math.ceil(columns / 32);
    const parts = [32 * blocks, blocks, 1, blocks, 1, 2 * blocks, 1].map((size) => new BigInt64Array(size * rows));
    return core.with([isWide ? x : narrow(x), ...parts], (at, ...to) => {
      const made = core.call("intact_quantize", core.name(tier), at, rows, columns, isWide ? 20 : 16, Number(isWide));
      for (let m = 0; m < rows; m++) {
        const places = to.map((address, i) => address + (m * parts[i].byteLength) / rows);
        core.call("intact_quantized", made, m, ...places);
      }
      core.call("intact_quantized_release", made);
      return parts.map((part, i) => core.view(BigInt64Array, to[i], part.length).slice());
    });
  },

  matmul(core, tier, { x, rows, weight, bias }) {
    const w = makeWeight(core, weight);
    const outputs = weight.rows;
    const start = new BigInt64Array(rows * outputs);
    for (let m = 0; m < rows; m++) start.set(bias, m * outputs);
    const found = core.with(
      [narrow(x), bias, new Int32Array(rows * outputs), start],
      (at, biasAt, narrowAt, wideAt) => {
        const q = core.call("intact_quantize", core.name(tier), at, rows, x.length / rows, 16, 0);
        core.call("intact_matmul", core.name(tier), w.address, q, rows, biasAt, narrowAt, wideAt);
        core.call("intact_quantized_release", q);
        return [
          wide(core.view(Int32Array, narrowAt, rows * outputs)),
          core.view(BigInt64Array, wideAt, rows * outputs).slice(),
        ];
      },
    );
    w.release();
    return found;
  },

  norm(core, tier, { x, factor, exponent, epsilon }) {
    const n = x.length;
    return core.with([x, factor, new Int32Array(n), new BigInt64Array(n)], (at, gain, narrowAt, wideAt) => {
      for (const [a, b] of [
        [narrowAt, 0],
        [0, wideAt],
      ]) {
        core.call("intact_norm", core.name(tier), at, gain, n, exponent, BigInt(epsilon), a, b);
      }
      return [wide(core.view(Int32Array, narrowAt, n)), core.view(BigInt64Array, wideAt, n).slice()];
    });
  },

  norm_head(core, tier, { x, factor, exponent, epsilon }) {
    return core.with([narrow(x), factor, new Int32Array(x.length)], (at, gain, out) => {
      core.call("intact_norm_head", core.name(tier), at, gain, x.length, exponent, BigInt(epsilon), out);
      return [wide(core.view(Int32Array, out, x.length))];
    });
  },

  rotate(core, tier, { x, position, turns, interleaved }) {
    const n = turns.length;
    return core.with([turns, new Int32Array(n), new Int32Array(n), narrow(x)], (at, sine, cosine, head) => {
      core.call("intact_rotate", core.name(tier), position, at, n, sine, cosine, head, Number(interleaved));
      return [
        [sine, n],
        [cosine, n],
        [head, x.length],
      ].map(([a, size]) => wide(core.view(Int32Array, a, size)));
    });
  },

  attend(core, tier, { query, keys, values, mantissa, exponent, first, sink }) {
    const width = query.length;
    const positions = keys.length / width;
    const head = core.call("intact_head_cache", width, positions);
    const out = core.with([narrow(keys), narrow(values), narrow(query), new Int32Array(width)], (k, v, q, to) => {
      const step = 4 * width;
      for (let p = 0; p < positions; p++) {
        core.call("intact_append", core.name(tier), head, k + p * step, v + p * step, width, p);
      }
      core.call(
        "intact_attend",
        core.name(tier),
        head,
        q,
        width,
        first,
        positions - 1,
        BigInt(mantissa),
        exponent,
        sink ?? -(2 ** 31),
        to,
      );
      return wide(core.view(Int32Array, to, width));
    });
    core.call("intact_head_cache_release", head);
    return [out];
  },

  gate(core, tier, { gate, up, kind }) {
    const n = gate.length;
    return core.with([narrow(gate), narrow(up), new BigInt64Array(n)], (a, b, out) => {
      core.call("intact_gate", core.name(tier), a, b, n, kind, out);
      return [core.view(BigInt64Array, out, n).slice()];
    });
  },

  weights(core, tier, { logits, slope }) {
    return core.with([narrow(logits), new Int32Array(logits.length)], (at, out) => {
      core.call("intact_weights", core.name(tier), at, logits.length, BigInt(slope), out);
      return [wide(core.view(Int32Array, out, logits.length))];
    });
  },

  log_probability(core, tier, { logits, token }) {
    return core.with([narrow(logits)], (at) => [
      wide([core.call("intact_log_probability", core.name(tier), at, logits.length, token)]),
    ]);
  },
};

function makeWeight(core, given) {
  if (given.kind === "INTEGER") return Weight.pack(core, given);
  return Weight.convert(core, given.kind, given.data, given.rows, given.columns, given.bits);
}

/** Build a recorded program. */
export function makeProgram(core, tier, program) {
  const model = new CoreModel(core, { ...program, tier });
  if (program.scheme !== null) model.setScheme(...program.scheme);
  if (program.kv !== null) model.setKvBits(...program.kv);
  for (const [width, isWide] of program.buffers) model.addBuffer(width, isWide);
  for (const weight of program.weights) model.addWeight(makeWeight(core, weight));
  for (const { factor, exponent, epsilon } of program.gains) model.addGain(factor, exponent, epsilon);
  for (const bias of program.biases) model.addBias(bias);
  for (const { turns, factor } of program.rotations) model.addRotation(turns, factor);
  for (const op of program.ops) model.addOp(op);
  model.reservePages(program.pages);
  return model;
}

function* programResults(core, tier, program) {
  const model = makeProgram(core, tier, program);
  for (const { tokens, chunks, wanted } of program.steps) {
    const logits = model.step(tokens, chunks, wanted);
    yield wide(core.view(Int32Array, logits, wanted.length * model.outputs));
  }
  model.release();
}

function* drawResults(core, tier, { logits, rows, list }) {
  const count = logits.length / rows;
  const at = core.put(logits);
  const size = list.length / rows; // the draws of all rows together give their tokens, then their log-probabilities
  for (let i = 0; i < size; i++) {
    const drawn = list
      .slice(i * rows, (i + 1) * rows)
      .map(([row, sampling, key, position]) =>
        draw(core, tier, at + 4 * row * count, count, { sampling, key, position }),
      );
    yield wide(drawn.map(({ token }) => token));
    yield wide(drawn.map(({ logprob }) => logprob));
  }
  core.release(at);
}

function* results(core, tier, test) {
  if (test.calls) for (const { operation, ...given } of test.calls) yield* OPERATIONS[operation](core, tier, given);
  else if (test.program) yield* programResults(core, tier, test.program);
  else yield* drawResults(core, tier, test.draws);
}

/**
 * Compute the digests of the set on a tier.
 *
 * @param {import("./core.js").Core} core
 * @param {ConformanceSet} set
 * @param {object} [options] `tier`, by default the best; `groups`, by default all; `progress`, called for each case.
 * @returns {{digests: Object<string, string>, wrong: {group: string, name: string, digest: string, expected: string}[]}}
 *   The digests of the groups, as docs/spec/contract.md lists them, and the cases that gave something else.
 */
export function runConformance(core, set, { tier = core.tiers[0], groups = Object.keys(set.groups), progress } = {}) {
  const digests = {};
  const wrong = [];
  for (const group of groups) {
    const lines = new Sha256(core);
    for (const test of set.groups[group]) {
      const sha = new Sha256(core);
      for (const numbers of results(core, tier, set.resolve(test))) sha.update(numbers);
      const digest = hex(sha.digest());
      if (digest !== test.digest) wrong.push({ group, name: test.name, digest, expected: test.digest });
      lines.update(new TextEncoder().encode(`${test.name} ${digest}\n`));
      progress?.(group, test.name, digest === test.digest);
    }
    digests[group] = hex(lines.digest());
  }
  return { digests, wrong };
}

export { sha256 };
