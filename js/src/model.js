// A loaded model: its program in the module, its tokenizer, its digests, and texts that it writes.

import { Constraint, Vocabulary } from "./constraints.js";
import { Core, hex, sha256 } from "./core.js";
import definitions from "./definitions.js";
import { canonical, treeRoot } from "./digests.js";
import { Gguf } from "./gguf.js";
import { Program } from "./program.js";
import { Rational, branchKey, makeSampling, millionths, promptName } from "./setup.js";
import { InputError } from "./sources.js";
import { Tokenizer } from "./tokenizer.js";

const PAGE = 32;
/** Rows of a step: a prompt is read so many at a time, and so many tokens of a receipt are checked at a time. */
export const STEP_ROWS = 128;
const NEVER = "-inf";

/** Sampling parameters in the form of a receipt (docs/spec/receipts.md, `request.sampling`), with their defaults. */
export const DEFAULTS = {
  temperature: "0",
  top_p: "1",
  min_p: "0",
  typical_p: "1",
  repetition_penalty: "1",
  presence_penalty: "0",
  frequency_penalty: "0",
  top_k: 0,
  min_tokens: 0,
  max_tokens: 128,
  seed: "0",
  ignore_eos: false,
  stop_below: "0",
  stop_mean_below: "0",
  stop_window: 16,
  stop: [],
  logit_bias: { tokens: [], values: [] },
  constraint: null,
};

/** A model that can write and verify. */
export class Model {
  /**
   * Load a model: its tensors are read one after the other, hashed, converted and let go.
   *
   * @param source A `FileSource`, `BlobSource` or `UrlSource` of a GGUF file.
   * @param {object} options
   * @param {BufferSource | WebAssembly.Module} options.wasm The module's bytes.
   * @param {8 | 4} [options.bits] What matrices of floats become.
   * @param {(done: number, total: number) => void} [options.progress] Called with bytes read.
   * @param {number} [options.threads] As `Core.load` has it, and `startThread`.
   * @param {number[]} [options.layers] Read these layers alone, ascending, for `verifyLayers`; and
   * @param {Uint8Array[]} [options.leaves] the digests that stand for the tensors which are not read.
   * @returns {Promise<Model>}
   * @throws {InputError} If the file is not one that this package runs.
   */
  static async load(source, { wasm, bits = 8, progress, layers, leaves, ...threads } = {}) {
    const core = await Core.load(wasm, threads);
    try {
      return await Model.#load(core, source, { bits, progress, layers, given: leaves });
    } catch (error) {
      core.close();
      throw error;
    }
  }

  static async #load(core, source, { bits, progress, layers, given }) {
    const file = await Gguf.open(source);
    const program = await Program.of(file);
    const tokenizer = new Tokenizer(file);
    if (tokenizer.texts.length !== program.vocabulary) {
      throw new InputError(
        `${source.name}: the vocabulary has ${tokenizer.texts.length} tokens, but the embedding ${program.vocabulary} rows`,
      );
    }
    const leaves = new Map();
    const seen = ({ name, kind, shape }, bytes) => {
      const head = new TextEncoder().encode(`${canonical({ kind, name, shape })}\n`);
      leaves.set(name, sha256(core, Uint8Array.of(0), head, bytes));
    };
    const count = program.segments().layers.length;
    if (layers !== undefined && !layers.every((layer) => layer < count))
      throw new InputError(`${source.name}: it has ${count} layers, not one of number ${layers.at(-1)}`);
    const lowered = await program.lower(core, { bits, pageSize: PAGE, seen, progress, layers });
    if (layers !== undefined) {
      const names = [...program.used.keys()].sort(byUtf8);
      if (given?.length !== names.length + 1)
        throw new InputError(`there are ${given?.length} digests of tensors; ${source.name} has ${names.length + 1}`);
      names.forEach((name, i) => leaves.has(name) || leaves.set(name, given[i + 1]));
    }
    return new Model(core, { program, tokenizer, lowered, leaves, bits, layers, name: source.name });
  }

  constructor(core, parts) {
    Object.assign(this, parts);
    this.core = core;
    this.context = parts.program.context;
    this.digests = this.#identify();
    this.pages = 0;
    this.vocabulary = null; // as constraints take it
    this.constraint = { key: null, made: null }; // the last one
  }

  /**
   * The state of a text that begins under a constraint; null without one.
   *
   * @param {{kind: string, text: string} | null} given As a receipt has it.
   * @throws {import("./automata.js").ConstraintError} If this package does not compile it.
   */
  matcher(given) {
    if (given === null) return null;
    const key = `${given.kind}:${given.text}`;
    if (this.constraint.key !== key) {
      this.vocabulary ??= new Vocabulary(this.tokenizer, this.program.vocabulary);
      this.constraint = { key, made: new Constraint(this.vocabulary, given) };
    }
    return this.constraint.made.matcher();
  }

  /** The digests by which a receipt names a model. */
  #identify() {
    const encode = (value) => new TextEncoder().encode(canonical(value));
    const digest = (...parts) => sha256(this.core, ...parts);
    const names = [...this.leaves.keys()].sort(byUtf8);
    const leaves = [
      digest(Uint8Array.of(0), encode(this.program.describe())),
      ...names.map((name) => this.leaves.get(name)),
    ];
    const templates = this.tokenizer.templates;
    const declared = this.program.file.metadata.get("general.name");
    const parts = templates?.flatMap((text, i) => [
      ...(i ? [Uint8Array.of(0xff)] : []),
      new TextEncoder().encode(text),
    ]);
    return {
      weights: hex(treeRoot(digest, leaves)),
      tensors: names.length,
      tokenizer: hex(digest(encode(this.tokenizer.describe()))),
      template: parts ? hex(digest(...parts)) : null,
      ends: this.tokenizer.ends,
      name: typeof declared === "string" && declared ? declared : null,
    };
  }

  /** The arithmetic, as a receipt names it. */
  get numerics() {
    return { version: definitions.numerics, profile: "int8", bits: this.bits };
  }

  /** Reserve pages for so many positions of one text. */
  reserve(positions) {
    const wanted = Math.ceil(positions / PAGE);
    if (wanted > this.pages) this.lowered.reservePages((this.pages = wanted));
  }

  /** Run tokens of one text from a position on; return the address of the wanted rows' logits. */
  step(position, tokens, wanted) {
    this.reserve(position + tokens.length);
    const pages = Int32Array.from({ length: Math.ceil((position + tokens.length) / PAGE) }, (_, i) => i);
    const chunk = { position, count: tokens.length, pages };
    return this.lowered.step(Int32Array.from(tokens), [chunk], BigInt64Array.from(wanted, BigInt));
  }

  /** Compute a prompt but for its last token, so that the next step gives its logits; yields after each step. */
  *promptSteps(prompt) {
    for (let at = 0; at < prompt.length - 1; at += STEP_ROWS) {
      this.step(at, prompt.slice(at, Math.min(at + STEP_ROWS, prompt.length - 1)), []);
      yield;
    }
  }

  /**
   * Write a text, token by token.
   *
   * @param {number[]} prompt Tokens.
   * @param {object} [parameters] Those of `DEFAULTS`, decimals as text.
   * @param {(string | number)[]} [branch] The name of the draws; by default the prompt's name and 0.
   * @param {object} [options] `isRead`: if true, all steps of `promptSteps(prompt)` were run before.
   * @yields {{token: number, logprob: number, head: Uint8Array, text: string, finish: string | null}} Each token, what
   *   entered the head, the text that it made certain, and in the last one why the text ends.
   */
  *stream(prompt, parameters = {}, branch = undefined, { isRead = false } = {}) {
    const sampling = { ...DEFAULTS, ...parameters };
    const draws = new Draws(this, prompt, sampling, branch);
    const ends = new Ending(this, prompt.length, sampling);
    if (!isRead) for (const _ of this.promptSteps(prompt));
    let last = prompt.at(-1);
    for (let n = 0; ; n++) {
      const logits = this.step(prompt.length - 1 + n, [last], [0]);
      const drawn = draws.draw(logits, n);
      const head = this.lowered.headInput(0);
      const { text, finish } = ends.push(drawn.token, drawn.logprob, draws.isUncertain(logits));
      yield { ...drawn, head, text, finish };
      if (finish !== null) return;
      last = drawn.token;
    }
  }

  /** Write a text; return its tokens, their log-probabilities in Q24, the text and why it ended. */
  generate(prompt, parameters = {}, branch = undefined) {
    const pieces = [...this.stream(prompt, parameters, branch)];
    return {
      tokens: pieces.map(({ token }) => token),
      logprobs: pieces.map(({ logprob }) => logprob),
      text: pieces.map(({ text }) => text).join(""),
      finish: pieces.at(-1).finish,
    };
  }

  /** Give back its memory, and end its threads. */
  release() {
    this.core.close();
  }
}

const byUtf8 = (a, b) => {
  const [x, y] = [a, b].map((text) => new TextEncoder().encode(text));
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i] - y[i];
  return x.length - y.length;
};

/** The draws of one text: its key, and the edits of its rows (docs/spec/numerics.md, section 10). */
export class Draws {
  constructor(model, prompt, parameters, branch) {
    const digest = (bytes) => sha256(model.core, bytes);
    this.model = model;
    this.start = prompt.length;
    this.sampling = makeSampling(parameters);
    this.key = branchKey(digest, parameters.seed, branch ?? [promptName(digest, hex, prompt), 0]);
    this.below = millionths(parameters.stop_below ?? "0");
    this.minTokens = parameters.min_tokens;
    const pairs = parameters.logit_bias.tokens.map((token, i) => [token, parameters.logit_bias.values[i]]);
    const finite = pairs.filter(([, value]) => value !== NEVER);
    this.barred = pairs.filter(([, value]) => value === NEVER).map(([token]) => token);
    this.fixed = {
      biased: Int32Array.from(finite, ([token]) => token),
      bias: Int32Array.from(finite, ([, value]) => Number(Rational.decimal(value).times(new Rational(65536n)).round())),
      repetition: millionths(parameters.repetition_penalty),
      presence: millionths(parameters.presence_penalty),
      frequency: millionths(parameters.frequency_penalty),
    };
    this.repeats = parameters.repetition_penalty !== "1";
    this.seen = new Set(this.repeats ? prompt : []);
    this.matcher = model.matcher(parameters.constraint ?? null);
    this.counts = new Map();
  }

  /**
   * Draw token n of the text from the row of logits at an address, and count it.
   *
   * @throws {import("./automata.js").ConstraintError} If its constraint allows none, or takes more work than it may.
   */
  draw(logits, n) {
    const forbidden = new Set(this.barred);
    if (n < this.minTokens) for (const end of this.model.tokenizer.ends) forbidden.add(end);
    const counted = this.fixed.presence || this.fixed.frequency ? this.counts : new Map();
    const drawn = this.model.lowered.draw(logits, {
      sampling: this.sampling,
      key: this.key,
      position: this.start + n,
      ...this.fixed,
      repeated: this.repeats ? Int32Array.from(this.seen) : undefined,
      drawn: Int32Array.from(counted.keys()),
      counts: Int32Array.from(counted.values()),
      forbidden: Int32Array.from(forbidden),
      mask: this.matcher?.mask() ?? null,
    });
    this.add(drawn.token);
    if (drawn.token >= 0) this.matcher?.accept(drawn.token);
    return drawn;
  }

  /** Count a token. */
  add(token) {
    if (this.repeats) this.seen.add(token);
    this.counts.set(token, (this.counts.get(token) ?? 0) + 1);
  }

  /** If true, the likeliest token of a row is less likely than `stop_below`. */
  isUncertain(logits) {
    if (!this.below) return false;
    const { core, lowered } = this.model;
    return core.call("intact_is_uncertain", core.name(lowered.tier), logits, lowered.outputs, Number(this.below)) !== 0;
  }
}

/** Where a text ends, and what it says: ends, stop strings and limits (docs/spec/receipts.md, Ends). */
export class Ending {
  constructor(model, promptLength, parameters) {
    this.parameters = parameters;
    this.ends = new Set(parameters.ignore_eos ? [] : model.tokenizer.ends);
    this.room = model.context - promptLength;
    this.stream = model.tokenizer.stream();
    this.longest = parameters.stop.reduce((most, stop) => Math.max(most, stop.length), 1) - 1;
    this.held = "";
    this.count = 0;
    this.below = millionths(parameters.stop_mean_below);
    this.last = []; // log-probabilities of the last tokens, as many as the window has
    this.sum = 0n;
  }

  /** Take a token and its log-probability; return the text that is certain now, and why it ends with it, or null. */
  push(token, logprob, uncertain = false) {
    this.count++;
    let finish = null;
    if (this.count === this.room) finish = "context";
    if (this.count === this.parameters.max_tokens) finish = "length";
    if (this.#isUnlikely(logprob)) finish = "unlikely";
    if (uncertain) finish = "uncertain";
    else if (this.ends.has(token)) finish = "stop";
    else this.held += this.stream.push(token);
    if (finish !== null) this.held += this.stream.flush();
    const found = this.parameters.stop
      .map((stop) => [this.held.indexOf(stop), stop.length])
      .filter(([at]) => at >= 0)
      .sort((a, b) => a[0] + a[1] - (b[0] + b[1]) || a[0] - b[0]);
    const cut = found.length ? found[0][0] : finish !== null ? this.held.length : this.#safe();
    const text = this.held.slice(0, cut);
    this.held = this.held.slice(cut);
    return { text, finish: found.length ? "stop" : finish };
  }

  // If true, the mean log-probability of the last `stop_window` tokens is below `stop_mean_below`.
  #isUnlikely(logprob) {
    if (!this.below) return false;
    const { stop_window: window } = this.parameters;
    this.sum += BigInt(logprob);
    if (this.last.push(logprob) > window) this.sum -= BigInt(this.last.shift());
    return this.last.length === window && 1000000n * this.sum < BigInt(this.below) * BigInt(window) * (1n << 24n);
  }

  // Where the longest tail begins that a stop string begins with.
  #safe() {
    for (let start = Math.max(0, this.held.length - this.longest); start < this.held.length; start++) {
      const tail = this.held.slice(start);
      if (this.parameters.stop.some((stop) => stop.startsWith(tail))) return start;
    }
    return this.held.length;
  }
}
