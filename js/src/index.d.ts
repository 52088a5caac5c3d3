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
  static open(url: string | URL): Promise<UrlSource>;
  readonly name: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
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
/** An error in the WebAssembly module; its instance cannot be called any more. */
export class CoreError extends Error {}

/** An instance of the WebAssembly module. */
export class Core {
  static load(source: BufferSource | WebAssembly.Module): Promise<Core>;
  /** Names of the sets of kernels, best first. */
  readonly tiers: string[];
  readonly memoryBytes: number;
}
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
  stop: string[];
  logit_bias: { tokens: number[]; values: string[] };
}
export const DEFAULTS: SamplingParameters & { constraint: null };

export type Finish = "stop" | "uncertain" | "length" | "context";

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
    },
  ): Promise<Model>;
  readonly core: Core;
  readonly context: number;
  readonly digests: ModelDigests;
  readonly numerics: { version: string; profile: "int8"; bits: 8 | 4 };
  readonly tokenizer: Tokenizer;
  stream(prompt: number[], parameters?: Partial<SamplingParameters>, branch?: (string | number)[]): Generator<Piece>;
  generate(
    prompt: number[],
    parameters?: Partial<SamplingParameters>,
    branch?: (string | number)[],
  ): { tokens: number[]; logprobs: number[]; text: string; finish: Finish };
  release(): void;
}

/** Write a conversation as the model's chat template does. */
export function renderChat(tokenizer: Tokenizer, given: { messages: { role: string; content: string }[] }): string;

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
export function verify(
  model: Model,
  receipt: Receipt,
  options?: { tokens?: number; signedBy?: string; progress?: (checked: number, tokens: number) => void },
): Promise<Verdict>;

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
