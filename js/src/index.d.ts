// Types of the public interface.

/** A file, a part at a time. */
export interface Source {
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export class BlobSource implements Source {
  constructor(blob: Blob, name?: string);
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export class UrlSource implements Source {
  /** Open a file on a server that answers requests for ranges of bytes. */
  static open(url: string | URL, options?: { keep?: boolean | number }): Promise<UrlSource>;
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Parts of models in the browser's origin-private storage: `UrlSource.open(url, { keep: true })` fills it. */
export class Store {
  /** Remove the parts of all models. */
  static clear(): Promise<void>;
}

export class FileSource implements Source {
  /** Open a file by its path (Node, Deno). */
  static open(path: string): Promise<FileSource>;
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file or a request that is wrong: the message says what, where, and what would be right. */
export class InputError extends Error {
  readonly what: string | null;
}
export class ReceiptError extends InputError {}
/** A constraint that this package does not compile, or that takes more than it may; `what` is "constraint". */
export class ConstraintError extends InputError {}
/** An error in the WebAssembly module; its instance cannot be called any more. */
export class CoreError extends Error {}

/** An instance of the WebAssembly module. */
export class Core {
  static load(source: BufferSource | WebAssembly.Module, options?: ThreadOptions): Promise<Core>;
  /** Compile the module, for several instances. */
  static compile(source: BufferSource): Promise<WebAssembly.Module>;
  /** Names of the sets of kernels, best first. */
  readonly tiers: string[];
  readonly threads: number;
  readonly memoryBytes: number;
  /** End its threads; it cannot be called any more. */
  close(): void;
}
export interface ThreadOptions {
  /** Threads of a model, the caller's among them: 1 by default, no bit depends on it. */
  threads?: number;
  /** Starts another: `startThread` of this package. */
  startThread?: () => Worker | Promise<Worker>;
}
/** How many threads the module can have here: 1 in a page that is not isolated, and on a page's own thread. */
export function availableThreads(): number;
/** Start a worker that becomes a thread of the module, from thread.js. */
export function startThread(): Promise<Worker>;
export function sha256(core: Core, ...arrays: ArrayBufferView[]): Uint8Array;
export function hex(bytes: Uint8Array): string;

export class Gguf {
  static open(source: Source): Promise<Gguf>;
  readonly metadata: Map<string, unknown>;
  readonly tensors: Map<string, { name: string; kind: string; shape: number[]; length: number; offset: number }>;
}

/** Sampling parameters as a receipt writes them: decimals as text. */
export interface SamplingParameters {
  temperature: string;
  top_p: string;
  min_p: string;
  typical_p: string;
  repetition_penalty: string;
  presence_penalty: string;
  frequency_penalty: string;
  top_k: number;
  min_tokens: number;
  max_tokens: number;
  seed: string;
  ignore_eos: boolean;
  stop_below: string;
  stop_mean_below: string;
  stop_window: number;
  stop: string[];
  logit_bias: { tokens: number[]; values: string[] };
  constraint: { kind: "regex" | "json_schema" | "grammar"; text: string } | null;
}
export const DEFAULTS: SamplingParameters;

export type Finish = "stop" | "uncertain" | "unlikely" | "length" | "context";

export interface Piece {
  token: number;
  /** Log-probability: nats times 2^24. */
  logprob: number;
  /** What entered the head, as a receipt's chain has it. */
  head: Uint8Array;
  /** The text that this token made certain. */
  text: string;
  /** In the last piece why the text ends. */
  finish: Finish | null;
}

export interface Tokenizer {
  readonly ends: number[];
  encode(text: string, options?: { special?: boolean; around?: boolean }): number[];
  stream(): { push(token: number): string; flush(): string };
}

export interface ModelDigests {
  weights: string;
  tensors: number;
  tokenizer: string;
  template: string | null;
  ends: number[];
  name: string | null;
}

export class Model {
  static load(
    source: Source,
    options: {
      wasm: BufferSource | WebAssembly.Module;
      bits?: 8 | 4;
      progress?: (done: number, total: number) => void;
      /** Read these layers alone, for `verifyLayers`, and the digests that stand for what is not read. */
      layers?: number[];
      leaves?: Uint8Array[];
    } & ThreadOptions,
  ): Promise<Model>;
  readonly core: Core;
  readonly context: number;
  readonly digests: ModelDigests;
  readonly numerics: { version: string; profile: "int8"; bits: 8 | 4 };
  readonly tokenizer: Tokenizer;
  /** Compute a prompt but for its last token, a step at a time. */
  promptSteps(prompt: number[]): Generator<void>;
  /** `isRead`: all of `promptSteps(prompt)` was run before. */
  stream(
    prompt: number[],
    parameters?: Partial<SamplingParameters>,
    branch?: (string | number)[],
    options?: { isRead?: boolean },
  ): Generator<Piece>;
  generate(
    prompt: number[],
    parameters?: Partial<SamplingParameters>,
    branch?: (string | number)[],
  ): { tokens: number[]; logprobs: number[]; text: string; finish: Finish };
  /** Give back its memory, and end its threads. */
  release(): void;
}

/**
 * The tokens of a conversation, as the model's chat template writes it; the last message may be unfinished, and the
 * assistant's. Control tokens that it spells are text (then `spells` is true) unless `readsControlTokens`.
 */
export function encodeConversation(
  tokenizer: Tokenizer,
  given: { messages: { role: string; content: string }[]; continue_final_message?: boolean },
  readsControlTokens?: boolean,
): { tokens: number[]; spells: boolean };

export interface Verdict {
  outcome: "true" | "partial" | "false" | "unverifiable";
  what: string | null;
  position: number | null;
  detail: string;
  checked: number;
}
export type Receipt = Record<string, unknown>;
export function receiptLines(file: Uint8Array): Uint8Array[];
export function parseReceipt(line: Uint8Array): Receipt;
export function unreadable(error: InputError): Verdict;
export interface VerifyOptions {
  /** Check so many at most. */
  tokens?: number;
  /** The public key, 64 digits, that must have signed. */
  signedBy?: string;
  progress?: (checked: number, tokens: number) => void;
  /** Tokens of a step; no bit depends on it. */
  rows?: number;
  /** Cancels the work, between two steps. */
  signal?: AbortSignal;
}
export function verify(model: Model, receipt: Receipt, options?: VerifyOptions): Promise<Verdict>;

/** The rows that enter a few layers of a receipt's model, as `intact receipt open` writes them. */
export class Opening {
  static parse(bytes: Uint8Array): Opening;
  readonly receipt: string;
  readonly layers: number[];
  readonly roots: Uint8Array[];
  readonly leaves: Uint8Array[];
  readonly rows: Map<number, { count: number; width: number; numbers: BigInt64Array }>;
}
/** Verify a receipt by the layers that the nonce chooses; the model is loaded with the opening's `layers` and `leaves`. */
export function verifyLayers(
  model: Model,
  receipt: Receipt,
  opening: Opening,
  options: { nonce: string; layers?: number } & Omit<VerifyOptions, "tokens" | "rows">,
): Promise<Verdict>;

/** Start a worker for `WorkerEngine.start`, from worker.js. */
export function startWorker(): Worker;

/** The engine in a worker: the page stays free. One model at a time is loaded. */
export class WorkerEngine {
  /** Threads of a model are by default as many as there can be. */
  static start(options: {
    wasm: BufferSource | WebAssembly.Module;
    worker: Worker;
    threads?: number;
  }): Promise<WorkerEngine>;
  readonly tiers: string[];
  readonly threads: number;
  /** Read a file of receipts: of each line the receipt and its digests, or the verdict on what is none. */
  receipts(
    blob: Blob,
  ): Promise<({ receipt: Receipt; digests: { receipt: string; text: string } } | { verdict: Verdict })[]>;
  /** Read an opening of a receipt's layers. */
  open(blob: Blob): Promise<{ receipt: string; layers: number[] }>;
  /** `isOpened`: of the layers of the opening that was read alone, for `verifyLayers`. */
  load(
    source: BlobSource | UrlSource,
    options?: {
      bits?: 8 | 4;
      progress?: (done: number, total: number) => void;
      signal?: AbortSignal;
      isOpened?: boolean;
    },
  ): Promise<WorkerModel>;
  selftest(
    blob: Blob,
    options?: { progress?: (done: { group: string; name: string }) => void },
  ): Promise<{
    digests: Record<string, string>;
    expected: Record<string, string>;
    wrong: { group: string; name: string; digest: string; expected: string }[];
  }>;
  /** End the worker, whatever it does; calls that wait are rejected. */
  close(): void;
}

/** A model in a worker. */
export class WorkerModel {
  readonly name: string;
  readonly context: number;
  readonly digests: ModelDigests;
  readonly numerics: { version: string; profile: "int8"; bits: 8 | 4 };
  readonly hasTemplate: boolean;
  /** Bytes of the module's memory once the model was loaded. */
  readonly memoryBytes: number;
  stream(
    prompt: number[],
    parameters?: Partial<SamplingParameters>,
    branch?: (string | number)[],
    options?: { signal?: AbortSignal },
  ): AsyncGenerator<Piece>;
  generate(
    prompt: number[],
    parameters?: Partial<SamplingParameters>,
    branch?: (string | number)[],
    options?: { signal?: AbortSignal },
  ): Promise<{ tokens: number[]; logprobs: number[]; text: string; finish: Finish }>;
  verify(receipt: Receipt, options?: VerifyOptions): Promise<Verdict>;
  encode(text: string, options?: { special?: boolean; around?: boolean }): Promise<number[]>;
  encodeChat(messages: { role: string; content: string }[]): Promise<number[]>;
  texts(tokens: number[]): Promise<string[]>;
}

export class ConformanceSet {
  constructor(file: ArrayBuffer);
  readonly numerics: string;
  readonly expected: Record<string, string>;
}
export function runConformance(
  core: Core,
  set: ConformanceSet,
  options?: { tier?: string; groups?: string[]; progress?: (group: string, name: string, right: boolean) => void },
): { digests: Record<string, string>; wrong: { group: string; name: string; digest: string; expected: string }[] };
