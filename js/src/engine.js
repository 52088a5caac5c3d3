// The engine in a worker: the same calls, answered by promises, while the page stays free.

import { ConstraintError } from "./automata.js";
import { CoreError } from "./instance.js";
import { ReceiptError } from "./receipt.js";
import { BlobSource, InputError, UrlSource } from "./sources.js";

const ERRORS = { ConstraintError, CoreError, InputError, ReceiptError };

function errorOf({ name, message, what }) {
  if (name === "AbortError") return new DOMException(message, name);
  return ERRORS[name] ? new ERRORS[name](message, what) : new Error(`${name}: ${message}`);
}

function descriptionOf(source) {
  if (source instanceof BlobSource) return { blob: source.blob, name: source.name };
  if (source instanceof UrlSource) return { url: String(source.url), keep: source.keep };
  throw new InputError("a worker reads a BlobSource or a UrlSource");
}

/** A worker with the module in it. One model at a time is loaded. */
export class WorkerEngine {
  #worker;
  #calls = new Map();
  #last = 0;
  #ended = null;

  /**
   * Start a worker.
   *
   * @param {object} options
   * @param {BufferSource | WebAssembly.Module} options.wasm The module's bytes.
   * @param {Worker} options.worker A worker that runs worker.js: see `startWorker`.
   * @param {number} [options.threads] Threads of a model; by default as many as there can be.
   * @returns {Promise<WorkerEngine>}
   * @throws {CoreError} If the browser does not run the module, such as one without SIMD.
   */
  static async start({ wasm, worker, threads }) {
    const engine = new WorkerEngine(worker);
    try {
      Object.assign(engine, await engine.call("start", { wasm, threads }));
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data: { id, part, result, error } }) => {
      const call = this.#calls.get(id);
      if (part !== undefined) {
        call?.part?.(part);
        return;
      }
      this.#calls.delete(id);
      if (error) call?.reject(errorOf(error));
      else call?.resolve(result);
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#end(new CoreError(`the worker ended: ${event.message || "its script did not start"}`));
    };
  }

  /**
   * Have the worker do something.
   *
   * @param {string} operation One of those in worker.js.
   * @param {object} given What it takes; it is copied.
   * @param {object} [options] `part`: called with each part of the result; `signal`: cancels the work.
   */
  call(operation, given, { part, signal } = {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = ++this.#last;
    const cancel = () => this.#worker.postMessage({ id, cancel: true });
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { part, resolve, reject });
      signal?.addEventListener("abort", cancel, { once: true });
      this.#worker.postMessage({ id, operation, given });
    }).finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** Read a file of receipts: of each line the receipt and its digests, or the verdict on what is none. */
  receipts(blob) {
    return this.call("receipts", { blob });
  }

  /** Read an opening of a receipt's layers, instead of the one before; return its `receipt` and `layers`. */
  open(blob) {
    return this.call("opening", { blob });
  }

  /**
   * Load a model, instead of the one before.
   *
   * @param {BlobSource | UrlSource} source
   * @param {object} [options] `bits`, `progress` as `Model.load` has them; `signal`: cancels the work;
   *   `isOpened`: of the layers of the opening that was read alone.
   * @returns {Promise<WorkerModel>}
   */
  async load(source, { bits = 8, progress, signal, isOpened = false } = {}) {
    const part = progress && (({ done, total }) => progress(done, total));
    return new WorkerModel(this, await this.call("load", { source: descriptionOf(source), bits, isOpened }, { part, signal }));
  }

  /** Compute a conformance set (`scripts/js_conformance.py`); see `runConformance`. `expected` is the contract's. */
  selftest(blob, { progress } = {}) {
    return this.call("selftest", { blob }, { part: progress });
  }

  /** End the worker, whatever it does; calls that wait are rejected. */
  close() {
    this.#end(new DOMException("the engine was closed", "AbortError"));
  }

  #end(error) {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

/** A model in a worker, with the interface of `Model`; what takes time gives a promise. */
export class WorkerModel {
  constructor(engine, facts) {
    this.engine = engine;
    Object.assign(this, facts);
  }

  /** As `Model.stream`; leaving the loop, or `signal`, ends the text. */
  async *stream(prompt, parameters = {}, branch = undefined, { signal } = {}) {
    const controller = new AbortController();
    const both = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
    const pieces = [];
    let arrived = () => {};
    let isDone = false;
    const wake = () => arrived();
    const done = this.engine
      .call("stream", { prompt, parameters, branch }, { part: (piece) => (pieces.push(piece), wake()), signal: both })
      .finally(() => ((isDone = true), wake()));
    done.catch(() => {}); // it is awaited below
    try {
      for (;;) {
        while (pieces.length) yield pieces.shift();
        if (isDone) break;
        await new Promise((resolve) => (arrived = resolve));
      }
      await done;
    } finally {
      controller.abort();
    }
  }

  /** As `Model.generate`. */
  async generate(prompt, parameters = {}, branch = undefined, options = {}) {
    const made = { tokens: [], logprobs: [], text: "", finish: null };
    for await (const { token, logprob, text, finish } of this.stream(prompt, parameters, branch, options)) {
      made.tokens.push(token);
      made.logprobs.push(logprob);
      made.text += text;
      made.finish = finish;
    }
    return made;
  }

  /** As `verify`. */
  verify(receipt, { progress, signal, ...options } = {}) {
    const part = progress && (({ checked, tokens }) => progress(checked, tokens));
    return this.engine.call("verify", { receipt, options }, { part, signal });
  }

  /** As `verifyLayers`, by the opening that was read, of a model that was loaded with `isOpened`. */
  verifyLayers(receipt, { progress, signal, ...options }) {
    const part = progress && (({ checked, tokens }) => progress(checked, tokens));
    return this.engine.call("verifyLayers", { receipt, options }, { part, signal });
  }

  /** The tokens of a text, as `Tokenizer.encode` gives them. */
  encode(text, options = {}) {
    return this.engine.call("encode", { text, options });
  }

  /** The tokens of a conversation, as the model's chat template writes it. */
  encodeChat(messages) {
    return this.engine.call("encodeChat", { messages });
  }

  /** The text of each token; of one without any, its name. */
  texts(tokens) {
    return this.engine.call("texts", { tokens });
  }
}
