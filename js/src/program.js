// From a GGUF file to a program, the short list of operations that docs/spec/numerics.md, section 9, defines; its description,
// which a receipt's root covers; and its form in the module.

import { CoreModel } from "./core.js";
import definitions from "./definitions.js";
import { Float } from "./gguf.js";
import { Rational, inverseRoot, makeBias, makeGain, rotation, scoreScale } from "./setup.js";
import { InputError } from "./sources.js";

const ATTENTION = ["attn_q", "attn_k", "attn_v"];

/** The architectures that this package runs: how their files differ. Others are refused by name. */
const ARCHITECTURES = {
  llama: { interleaves: true, biased: [] },
  qwen2: { interleaves: false, biased: ATTENTION },
  qwen3: { interleaves: false, biased: [], headNorms: true },
};

/** Typed access to the metadata of a file; errors name the file, the key and what would be right. */
class Keys {
  constructor(file, prefix) {
    this.file = file;
    this.prefix = prefix;
  }

  get(key) {
    const value = this.file.metadata.get(this.prefix + key);
    return value instanceof Float ? value.value : value;
  }

  refuse(key, expected, value) {
    throw new InputError(`${this.file.source.name}: ${this.prefix}${key} must be ${expected}, found ${value}`);
  }

  integer(key, otherwise, most = 1 << 24) {
    const stored = this.file.metadata.get(this.prefix + key) ?? otherwise;
    if (!Number.isSafeInteger(stored) || stored < 1 || stored > most) {
      this.refuse(key, `an integer from 1 to ${most}`, stored instanceof Float ? stored.value : stored);
    }
    return stored;
  }

  number(key, otherwise, least, most) {
    const value = this.get(key) ?? otherwise;
    if (typeof value !== "number" || !(value > 0) || value < least || value > most) {
      this.refuse(key, `a positive number from ${least} to ${most}`, value);
    }
    return value;
  }
}

/** A program: buffers, operations on names, the tensors that they use, and the sizes that a receipt names. */
export class Program {
  /**
   * Read the program of a file.
   *
   * @param {import("./gguf.js").Gguf} file
   * @returns {Promise<Program>}
   * @throws {InputError} If the file is of an architecture, or has a parameter or tensor, that is not supported.
   */
  static async of(file) {
    const program = new Program(file);
    await program.#build();
    return program;
  }

  constructor(file) {
    this.file = file;
    this.name = file.source.name;
    this.ops = [];
    this.used = new Map();
    this.#readConfig();
  }

  #readConfig() {
    const architecture = this.file.metadata.get("general.architecture");
    if (!Object.hasOwn(ARCHITECTURES, architecture)) {
      const known = Object.keys(ARCHITECTURES).join(", ");
      throw new InputError(
        `${this.name}: the architecture ${JSON.stringify(architecture)} does not run here; ${known} do`,
      );
    }
    this.architecture = architecture;
    this.form = ARCHITECTURES[architecture];
    const keys = new Keys(this.file, `${architecture}.`);
    this.width = keys.integer("embedding_length");
    this.heads = keys.integer("attention.head_count", undefined, 4096);
    this.headWidth = keys.integer("attention.key_length", Math.floor(this.width / this.heads));
    if (keys.integer("attention.value_length", this.headWidth) !== this.headWidth) {
      throw new InputError(`${this.name}: keys and values of different widths are not supported`);
    }
    for (const [key, values] of Object.entries(definitions.refused)) {
      const value = keys.get(key);
      if (value !== undefined && !values.includes(value)) keys.refuse(key, `one of ${values}`, value);
    }
    for (const key of ["attention.sliding_window", "attention.temperature_scale"]) {
      if (keys.get(key)) keys.refuse(key, "0", keys.get(key));
    }
    this.layers = keys.integer("block_count", undefined, 1024);
    this.kvHeads = keys.integer("attention.head_count_kv", this.heads, 4096);
    this.hidden = keys.integer("feed_forward_length");
    this.context = Math.min(keys.integer("context_length", undefined, 2 ** 30), definitions.most_context);
    this.eps = keys.number("attention.layer_norm_rms_epsilon", undefined, 0, 1);
    this.ropeBase = keys.number("rope.freq_base", 10000, 1, 1e12);
    this.ropeWidth = keys.integer("rope.dimension_count", this.headWidth);
    this.ropeFactor = this.#ropeFactor(keys);
    this.#checkSizes();
  }

  #ropeFactor(keys) {
    const kind = keys.get("rope.scaling.type");
    const factor = keys.number("rope.scaling.factor", keys.get("rope.scale_linear") ?? 1, 0, 1e9);
    if (![undefined, "none", "linear"].includes(kind)) keys.refuse("rope.scaling.type", "none or linear", kind);
    if (![undefined, 0, 1].includes(keys.get("rope.scaling.attn_factor"))) {
      keys.refuse("rope.scaling.attn_factor", "1", keys.get("rope.scaling.attn_factor"));
    }
    return kind === "none" ? new Rational(1n) : Rational.shown(factor);
  }

  #checkSizes() {
    const { heads, kvHeads, headWidth, ropeWidth, width, hidden } = this;
    const rules = [
      [heads % kvHeads === 0, `${heads} heads are not a multiple of ${kvHeads} KV heads`],
      [headWidth % 2 === 0 && headWidth <= 512, `the head width must be even and at most 512, found ${headWidth}`],
      [
        ropeWidth % 2 === 0 && ropeWidth <= headWidth,
        `${ropeWidth} rotary dimensions do not fit heads of ${headWidth}`,
      ],
      [width <= 16384 && hidden <= 32768 && heads * headWidth <= 32768, "its rows exceed the proven bounds of the sums"],
    ];
    for (const [holds, what] of rules) if (!holds) throw new InputError(`${this.name}: ${what}`);
  }

  tensor(name) {
    const found = this.file.tensors.get(name);
    if (!found) throw new InputError(`${this.name}: tensor ${name} is missing; a ${this.architecture} model needs it`);
    this.used.set(name, found);
    return found;
  }

  #matrix(name, rows, columns) {
    const { shape } = this.tensor(name);
    if (shape.length !== 2 || shape[1] !== columns || (rows !== null && shape[0] !== rows)) {
      throw new InputError(
        `${this.name}: tensor ${name} has shape (${shape}), expected (${rows ?? "tokens"}, ${columns})`,
      );
    }
    return name;
  }

  #vector(name, length) {
    const { shape, kind } = this.tensor(name);
    if (shape.length !== 1 || shape[0] !== length || !definitions.float_formats.includes(kind)) {
      throw new InputError(
        `${this.name}: tensor ${name} is ${kind} of shape (${shape}), expected floats of shape (${length})`,
      );
    }
    return name;
  }

  #norm(gain) {
    this.#vector(gain, this.width);
    this.ops.push({ op: "norm", source: "x", target: "normed", gain, eps: Rational.exact(this.eps).toString() });
  }

  // A norm over each head of queries or keys, in place.
  #headNorm(buffer, gain, heads) {
    this.#vector(gain, this.headWidth);
    this.ops.push({ op: "norm", source: buffer, target: buffer, gain, eps: Rational.exact(this.eps).toString(), heads });
  }

  // Matrices on one source; a bias goes with each that the architecture, or else the file, gives one.
  #linear(source, layer, targets, accumulate = false) {
    const made = targets.map(([buffer, stem, rows, columns]) => {
      const bias = `${layer}${stem}.bias`;
      const biased = this.form.biased.includes(stem);
      const weight = this.#matrix(`${layer}${stem}.weight`, rows, columns);
      return {
        buffer,
        weight,
        ...(biased ? { bias: this.#vector(bias, rows) } : {}),
        ...(accumulate ? { accumulate: true } : {}),
      };
    });
    this.ops.push({ op: "linear", source, targets: made });
  }

  async #build() {
    const { width, heads, kvHeads, headWidth, hidden } = this;
    const [q, kv] = [heads * headWidth, kvHeads * headWidth];
    const scale = inverseRoot(headWidth);
    this.scale = scale;
    this.#matrix("token_embd.weight", null, width);
    this.vocabulary = this.used.get("token_embd.weight").shape[0];
    this.ops.push({ op: "embed", target: "x", weight: "token_embd.weight" });
    for (let i = 0; i < this.layers; i++) {
      const p = `blk.${i}.`;
      const rope = { rotation: 0, width: headWidth, interleaved: this.form.interleaves };
      this.#norm(`${p}attn_norm.weight`);
      this.#linear("normed", p, [
        ["q", "attn_q", q, width],
        ["k", "attn_k", kv, width],
        ["v", "attn_v", kv, width],
      ]);
      if (this.form.headNorms) {
        this.#headNorm("q", `${p}attn_q_norm.weight`, heads);
        this.#headNorm("k", `${p}attn_k_norm.weight`, kvHeads);
      }
      this.ops.push({ op: "rope", buffer: "q", heads, ...rope }, { op: "rope", buffer: "k", heads: kvHeads, ...rope });
      this.ops.push({
        op: "attend",
        query: "q",
        key: "k",
        value: "v",
        target: "attended",
        layer: i,
        heads,
        kv_heads: kvHeads,
        width: headWidth,
        scale: scale.toString(),
      });
      this.#linear("attended", p, [["x", "attn_output", width, q]], true);
      this.#norm(`${p}ffn_norm.weight`);
      this.#linear("normed", p, [
        ["gate", "ffn_gate", hidden, width],
        ["up", "ffn_up", hidden, width],
      ]);
      this.ops.push({ op: "gate", gate: "gate", up: "up", target: "hidden", kind: "silu" });
      this.#linear("hidden", p, [["x", "ffn_down", width, hidden]], true);
    }
    this.#norm("output_norm.weight");
    const head = this.file.tensors.has("output.weight") ? "output.weight" : "token_embd.weight";
    this.ops.push({ op: "logits", source: "normed", weight: this.#matrix(head, this.vocabulary, width) });
    const divisors = this.file.tensors.has("rope_freqs.weight")
      ? await this.floats(this.#vector("rope_freqs.weight", this.ropeWidth / 2))
      : null;
    if (divisors?.some((x) => !(x > 0)))
      throw new InputError(`${this.name}: rope_freqs.weight must be positive numbers`);
    this.turns = rotation(this.ropeBase, this.ropeWidth, divisors, this.ropeFactor);
    for (const name of this.file.tensors.keys()) {
      if (!this.used.has(name)) {
        throw new InputError(
          `${this.name}: tensor ${name}: not part of a ${this.architecture} model of ${this.layers} layers`,
        );
      }
    }
    this.buffers = {
      x: { width, wide: true },
      normed: { width },
      q: { width: q },
      k: { width: kv },
      v: { width: kv },
      attended: { width: q },
      gate: { width: hidden },
      up: { width: hidden },
      hidden: { width: hidden, wide: true },
    };
  }

  /** The operations of the embedding, of each layer, and of the head: where nothing but the residual stream goes on. */
  segments() {
    const ends = [];
    let last = -1;
    this.ops.forEach((op, i) => {
      if (op.op === "attend" && last >= 0) ends.push(last + 1);
      if (op.targets?.some(({ accumulate }) => accumulate)) last = i;
    });
    ends.push(last + 1);
    const layers = ends.map((end, i) => this.ops.slice(ends[i - 1] ?? 1, end));
    return { embedding: this.ops.slice(0, 1), layers, head: this.ops.slice(last + 1) };
  }

  // Embedding, an exchange of the residual stream, a layer, an exchange, ..., the head: of some layers, ascending.
  #someLayers(chosen) {
    const { embedding, layers, head } = this.segments();
    const exchange = { op: "all_gather", target: "x" };
    const parts = chosen.map((number, i) => [
      ...layers[number].map((op) => (op.op === "attend" ? { ...op, layer: i } : op)),
      exchange,
    ]);
    return [...embedding, exchange, ...parts.flat(), ...head];
  }

  /** Read a vector of floats. */
  async floats(name) {
    const { kind } = this.used.get(name);
    const bytes = await this.file.read(this.used.get(name));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values = Float32Array.from({ length: this.used.get(name).shape[0] }, (_, i) => {
      if (kind === "F32") return view.getFloat32(4 * i, true);
      return kind === "F16" ? half(view.getUint16(2 * i, true)) : brain(view.getUint16(2 * i, true));
    });
    if (values.some((x) => !Number.isFinite(x)))
      throw new InputError(`${this.name}: tensor ${name} has NaN or infinite values`);
    return values;
  }

  /** Describe all that decides an answer besides the tensors (docs/spec/receipts.md, Digests). */
  describe() {
    return {
      architecture: this.architecture,
      buffers: this.buffers,
      ops: this.ops,
      rotations: [Array.from(this.turns, String)],
      layers: this.layers,
      kv_heads: this.kvHeads,
      head_width: this.headWidth,
      vocabulary: this.vocabulary,
      context: this.context,
    };
  }

  /**
   * Build the program in the module: each tensor is read, converted and let go.
   *
   * @param {import("./core.js").Core} core
   * @param {object} [options] `bits` of matrices of floats (8 or 4), `pageSize`, `tier`, and two callbacks: `seen`, with
   *   each tensor and its bytes, and `progress`, with the bytes read and those there are; `layers`: numbers of those that
   *   are built, ascending, with exchanges between them, in place of all.
   * @returns {Promise<CoreModel>}
   */
  async lower(core, { bits = 8, pageSize = 32, tier, seen, progress, layers } = {}) {
    const ops = layers === undefined ? this.ops : this.#someLayers(layers);
    const names = new Set(ops.flatMap((op) => [op.gain, op.weight, ...(op.targets ?? []).flatMap(namesOf)]));
    const read = [...this.used.values()].filter(({ name }) => layers === undefined || names.has(name));
    const shape = {
      layers: layers?.length ?? this.layers,
      kv_heads: this.kvHeads,
      head_width: this.headWidth,
      page_size: pageSize,
      tier,
    };
    const model = new CoreModel(core, shape);
    const total = read.reduce((sum, { length }) => sum + length, 0);
    const weights = new Map();
    const biases = new Map();
    let done = 0;
    for (const tensor of read) {
      const bytes = await this.file.read(tensor);
      seen?.(tensor, bytes);
      if (tensor.shape.length === 2) {
        const [rows, columns] = tensor.shape;
        weights.set(tensor.name, model.addMatrix(tensor.kind, bytes, rows, columns, bits));
      }
      progress?.((done += tensor.length), total);
    }
    const ids = new Map(
      Object.entries(this.buffers).map(([name, { width, wide }]) => [name, model.addBuffer(width, !!wide)]),
    );
    if (model.largestExponent(weights.get("token_embd.weight")) > 4) {
      throw new InputError(`${this.name}: tensor token_embd.weight has scales that are too large for an embedding`);
    }
    model.addRotation(this.turns, 1n << 30n);
    for (const op of ops) {
      for (const { bias } of op.targets ?? []) {
        if (bias) biases.set(bias, model.addBias(makeBias(await this.floats(bias), 16, bias)));
      }
      model.addOp(await this.#lowered(op, model, ids, weights, biases));
    }
    return model;
  }

  async #lowered(op, model, ids, weights, biases) {
    const id = (name) => ids.get(name);
    switch (op.op) {
      case "embed":
        return { kind: "embed", target: id(op.target), weight: weights.get(op.weight), multiplier: 1 << 24 };
      case "norm": {
        const gain = makeGain(await this.floats(op.gain), this.eps, op.gain);
        const weight = model.addGain(gain.factor, gain.exponent, gain.epsilon);
        return { kind: "norm", source: id(op.source), target: id(op.target), weight, heads: op.heads };
      }
      case "linear": {
        const targets = op.targets.map(({ buffer, weight, bias, accumulate }) => [
          id(buffer),
          weights.get(weight),
          bias ? biases.get(bias) : -1,
          Number(accumulate ?? false),
        ]);
        return { kind: "linear", source: id(op.source), targets };
      }
      case "rope":
        return {
          kind: "rope",
          source: id(op.buffer),
          weight: op.rotation,
          heads: op.heads,
          width: op.width,
          interleaved: op.interleaved,
        };
      case "attend": {
        const rows = { source: id(op.query), second: id(op.key), third: id(op.value), target: id(op.target) };
        const { layer, heads, kv_heads, width } = op;
        return { kind: "attend", ...rows, layer, heads, kv_heads, width, ...scoreScale(this.scale) };
      }
      case "gate":
        return {
          kind: "gate",
          source: id(op.gate),
          second: id(op.up),
          target: id(op.target),
          gate: definitions.gates.indexOf(op.kind),
        };
      case "all_gather":
        return { kind: "all_gather", target: id(op.target), accumulate: 1 };
      default:
        return { kind: "logits", source: id(op.source), weight: weights.get(op.weight) };
    }
  }
}

const namesOf = ({ weight, bias }) => [weight, bias];

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

const word = new DataView(new ArrayBuffer(4));
function brain(bits) {
  word.setUint32(0, bits * 65536);
  return word.getFloat32(0);
}
