// The side of `WorkerEngine` that runs in the worker: messages in, results out.
//
// In: {id, operation, given}, or {id, cancel: true}. Out, all with the id: {part} any number of times, then {result} or
// {error: {name, message, what}}. A message {thread} makes the worker a thread of another worker's module instead.

import { ConformanceSet, runConformance } from "./conformance.js";
import { Core, hex, sha256 } from "./core.js";
import definitions from "./definitions.js";
import { canonical } from "./digests.js";
import { Model } from "./model.js";
import { Opening, verifyLayers } from "./opening.js";
import { pause } from "./pause.js";
import { parseReceipt, receiptLines, without } from "./receipt.js";
import { BlobSource, InputError, UrlSource } from "./sources.js";
import { encodeConversation } from "./template.js";
import { availableThreads, beThread } from "./threads.js";
import { unreadable, verify } from "./verify.js";

const MOST_FILE = 64 << 20; // of receipts
const MOST_OPENING = 2 ** 29;
const encoder = new TextEncoder();
let module = null;
let core = null; // for digests; each model has an instance of its own
let model = null;
let opening = null;
let threads = 1;

/** Start a worker of this same script: a page from a disk has no file for another. */
function startThread() {
  return new Worker(self.location.href, { type: isModule() ? "module" : "classic" });
}

// Only a classic worker's script may import others so.
function isModule() {
  try {
    importScripts();
    return false;
  } catch {
    return true;
  }
}

function loaded() {
  if (model === null) throw new InputError("no model is loaded");
  return model;
}

function digestsOf(receipt) {
  const digest = (text) => hex(sha256(core, encoder.encode(text)));
  return { receipt: digest(canonical(without(receipt, "signature"))), text: digest(receipt.output.text) };
}

/** The text of each token; of one that has none to show, such as a mark of the template, its name. */
function textsOf({ tokenizer, program }, tokens) {
  const stream = tokenizer.stream();
  return tokens.map((token) => {
    if (token >= program.vocabulary) return `[${token}]`;
    const text = stream.push(token);
    return text || (tokenizer.bytes(token).length ? "" : tokenizer.texts[token]);
  });
}

const OPERATIONS = {
  async start({ wasm, threads: wanted }) {
    module = wasm instanceof WebAssembly.Module ? wasm : await Core.compile(wasm);
    core = await Core.load(module);
    threads = wanted ?? availableThreads();
    return { tiers: core.tiers, threads };
  },

  async receipts({ blob }) {
    if (blob.size > MOST_FILE) throw new InputError(`the file has ${blob.size} bytes; expected at most ${MOST_FILE}`);
    return receiptLines(await new BlobSource(blob).read(0, blob.size)).map((line) => {
      try {
        const receipt = parseReceipt(line);
        return { receipt, digests: digestsOf(receipt) };
      } catch (error) {
        if (error instanceof InputError) return { verdict: unreadable(error) };
        throw error;
      }
    });
  },

  async opening({ blob }) {
    if (blob.size > MOST_OPENING) throw new InputError(`the file has ${blob.size} bytes; expected at most ${MOST_OPENING}`);
    opening = Opening.parse(await new BlobSource(blob).read(0, blob.size));
    return { receipt: opening.receipt, layers: opening.layers };
  },

  async load({ source, bits, isOpened }, part, signal) {
    model?.release();
    model = null; // before the next one is read, so that one at most is in memory
    const from = "blob" in source ? new BlobSource(source.blob, source.name) : await UrlSource.open(source.url, { keep: source.keep });
    const steps = everyPercent(part);
    const progress = (done, total) => {
      signal.throwIfAborted();
      steps(done, total);
    };
    const { layers, leaves } = (isOpened && opening) || {};
    const made = await Model.load(from, { wasm: module, bits, progress, threads, startThread, layers, leaves });
    if (signal.aborted) made.release(); // another may have been asked for since
    signal.throwIfAborted();
    model = made;
    const { digests, numerics, context, tokenizer, core: its } = model;
    const facts = { name: model.name, digests, numerics, context, hasTemplate: tokenizer.templates !== null };
    return { ...facts, memoryBytes: its.memoryBytes };
  },

  verify: ({ receipt, options }, part, signal) =>
    verify(loaded(), receipt, { ...options, signal, progress: (checked, tokens) => part({ checked, tokens }) }),

  verifyLayers: ({ receipt, options }, part, signal) => {
    if (opening === null || loaded().layers === undefined) throw new InputError("no model of opened layers is loaded");
    const progress = (checked, tokens) => part({ checked, tokens });
    return verifyLayers(model, receipt, opening, { ...options, signal, progress });
  },

  async stream({ prompt, parameters, branch }, part, signal) {
    for (const _ of loaded().promptSteps(prompt)) await pause(signal);
    for (const piece of loaded().stream(prompt, parameters, branch, { isRead: true })) {
      part(piece);
      await pause(signal);
    }
  },

  encode: ({ text, options }) => loaded().tokenizer.encode(text, options),
  encodeChat: ({ messages }) => encodeConversation(loaded().tokenizer, { messages }).tokens,
  texts: ({ tokens }) => textsOf(loaded(), tokens),

  async selftest({ blob }, part) {
    let set;
    try {
      set = new ConformanceSet(await blob.arrayBuffer());
    } catch (error) {
      throw new InputError(`this is no conformance set (conformance.bin): ${error.message}`);
    }
    const found = runConformance(await Core.load(module), set, {
      progress: (group, name) => part({ group, name }),
    });
    return { ...found, expected: definitions.contract };
  },
};

/** Pass progress on whenever another hundredth is done. */
function everyPercent(part) {
  let last = -1;
  return (done, total) => {
    const percent = Math.floor((100 * done) / total);
    if (percent === last) return;
    last = percent;
    part({ done, total });
  };
}

const running = new Map();

self.onmessage = async ({ data: { id, operation, given, cancel, thread } }) => {
  if (thread) {
    await beThread(thread, (message) => self.postMessage(message));
    self.close();
    return;
  }
  if (cancel) {
    running.get(id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const result = await OPERATIONS[operation](given, (part) => self.postMessage({ id, part }), controller.signal);
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: { name: error.name, message: error.message, what: error.what ?? null } });
  } finally {
    running.delete(id);
  }
};
