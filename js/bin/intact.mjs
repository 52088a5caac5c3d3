#!/usr/bin/env node
// The command of the package: `intact verify`, `intact run`, `intact selftest`, without Python.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import {
  ConformanceSet,
  Core,
  FileSource,
  InputError,
  Model,
  Opening,
  UrlSource,
  availableThreads,
  encodeConversation,
  parseReceipt,
  receiptLines,
  runConformance,
  startThread,
  unreadable,
  verify,
  verifyLayers,
} from "../src/index.js";

const USAGE = `usage:
  intact verify RECEIPTS... --model FILE [--tokens N] [--signed-by KEY] [--threads N] [--json]
      [--opening FILE --nonce X [--layers N]]
  intact run PROMPT --model FILE [--raw] [--max-tokens N] [--temperature T] [--top-p P] [--top-k K] [--min-p P] [--seed S]
      [--threads N] [--json]
  intact selftest [--set FILE] [--threads N]

FILE is a GGUF file, or the address of one on a server that answers requests for ranges. Threads are as many as the
machine runs at once, unless another number is given: no bit depends on it. With --opening (docs/spec/receipts.md, Layers) the
receipt is checked by the layers that the nonce chooses, and of the model these, embedding and head alone are read.
Exit status of verify: 0 all are true, 1 one is false, 3 one cannot be verified, 4 something was left unchecked,
2 the command is wrong or a file is missing.
`;
const STATUS = { false: 1, unverifiable: 3, partial: 4, true: 0 }; // as those of intact verify, the worst first
const BROKEN_PIPE = 141; // whoever read the output has had enough; as of a program that SIGPIPE ends
const OPTIONS = {
  model: { type: "string", short: "m" },
  tokens: { type: "string" },
  threads: { type: "string" },
  "signed-by": { type: "string" },
  opening: { type: "string" },
  nonce: { type: "string" },
  layers: { type: "string" },
  json: { type: "boolean" },
  raw: { type: "boolean" },
  set: { type: "string" },
  "max-tokens": { type: "string" },
  temperature: { type: "string" },
  "top-p": { type: "string" },
  "top-k": { type: "string" },
  "min-p": { type: "string" },
  seed: { type: "string" },
  help: { type: "boolean", short: "h" },
};

class UsageError extends Error {}

const distributed = (name) => new URL(`../dist/${name}`, import.meta.url);

async function wasm() {
  try {
    return await readFile(distributed("intact.wasm"));
  } catch {
    throw new UsageError(`${distributed("intact.wasm").pathname} is missing: npm run build makes it`);
  }
}

const threadsOf = (options) => ({ threads: count(options.threads, "threads") ?? availableThreads(), startThread });

async function load(name, bits, threads, opening) {
  if (name === undefined) throw new UsageError("--model FILE is missing");
  const source = /^https?:/.test(name) ? await UrlSource.open(name) : await FileSource.open(name);
  const model = await Model.load(source, { wasm: await wasm(), bits, ...threads, ...opening });
  await source.close?.();
  return model;
}

const count = (text, name) => {
  if (text !== undefined && !/^[1-9]\d{0,8}$/.test(text))
    throw new UsageError(`--${name} must be an integer from 1 on, got ${text}`);
  return text === undefined ? undefined : Number(text);
};

async function verifyCommand(files, options) {
  if (!files.length) throw new UsageError("there are no files of receipts");
  const most = count(options.tokens, "tokens");
  const signedBy = options["signed-by"]?.toLowerCase();
  if (signedBy !== undefined && !/^[0-9a-f]{64}$/.test(signedBy))
    throw new UsageError("--signed-by must be 64 hexadecimal digits");
  if (options.model === undefined) throw new UsageError("--model FILE is missing");
  const opened = await openedOf(options);
  const results = [];
  const threads = threadsOf(options);
  const models = new Map(); // by bits, of which one is in memory at a time
  for (const file of files) {
    let lines;
    try {
      lines = receiptLines(await readFile(file));
    } catch (error) {
      throw new UsageError(`${file}: cannot be read (${error.message})`);
    }
    for (const [number, line] of lines.entries()) {
      const found = await judge(line, models, (bits) => load(options.model, bits, threads, opened?.opening), {
        tokens: most,
        signedBy,
        ...opened,
      });
      results.push({ file, line: number + 1, ...found });
      if (!options.json) console.log(lineOf(results.at(-1)));
    }
  }
  for (const model of models.values()) model.release();
  const outcomes = results.map(({ outcome }) => outcome);
  const outcome = Object.keys(STATUS).find((name) => outcomes.includes(name)) ?? "true";
  if (options.json) {
    const counts = Object.fromEntries(
      ["true", "partial", "false", "unverifiable"].map((name) => [name, outcomes.filter((one) => one === name).length]),
    );
    console.log(JSON.stringify({ outcome, ...counts, tokens: most ?? null, receipts: results }));
  }
  return STATUS[outcome];
}

// The opening, the nonce and how many layers, where a receipt is checked by some.
async function openedOf({ opening, nonce, layers, tokens }) {
  if ((opening === undefined) !== (nonce === undefined) || (layers !== undefined && opening === undefined))
    throw new UsageError("--opening FILE and --nonce X belong together, and --layers N to them");
  if (opening === undefined) return undefined;
  if (tokens !== undefined) throw new UsageError("--opening checks every token: --tokens cannot be given with it");
  try {
    return { opening: Opening.parse(await readFile(opening)), nonce, layers: count(layers, "layers") };
  } catch (error) {
    throw new UsageError(`${opening}: cannot be used (${error.message})`);
  }
}

async function judge(line, models, loadFor, options) {
  let receipt;
  try {
    receipt = parseReceipt(line);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { tokens: null, ...unreadable(error) };
  }
  const { bits } = receipt.numerics;
  try {
    if (!models.has(bits)) {
      for (const model of models.values()) model.release();
      models.clear();
      models.set(bits, await loadFor(bits));
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    return {
      tokens: receipt.output.tokens.length,
      outcome: "unverifiable",
      what: "model",
      position: null,
      detail: error.message,
      checked: 0,
    };
  }
  const model = models.get(bits);
  const verdict = await (options.opening
    ? verifyLayers(model, receipt, options.opening, options)
    : verify(model, receipt, options));
  return { tokens: receipt.output.tokens.length, ...verdict };
}

function lineOf({ file, line, outcome, what, position, detail, checked, tokens }) {
  const names = { true: "true", partial: "true as far as checked", false: "FALSE", unverifiable: "cannot verify" };
  const where = position === null ? "" : ` at ${position}`;
  const said =
    outcome === "true" || outcome === "partial" ? `${checked} of ${tokens} tokens` : `${what}${where}: ${detail}`;
  return `${file}:${line}  ${names[outcome]}  ${said}`.replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}

async function runCommand([prompt, ...rest], options) {
  if (prompt === undefined || rest.length) throw new UsageError("run takes one prompt");
  const decimal = (name) => (options[name] === undefined ? {} : { [name.replace("-", "_")]: options[name] });
  const parameters = {
    ...decimal("temperature"),
    ...decimal("top-p"),
    ...decimal("min-p"),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options["top-k"] === undefined ? {} : { top_k: count(options["top-k"], "top-k") }),
    ...(options["max-tokens"] === undefined ? {} : { max_tokens: count(options["max-tokens"], "max-tokens") }),
  };
  const model = await load(options.model, undefined, threadsOf(options));
  const tokens = options.raw
    ? model.tokenizer.encode(prompt)
    : encodeConversation(model.tokenizer, { messages: [{ role: "user", content: prompt }] }).tokens;
  const pieces = [];
  for (const piece of model.stream(tokens, parameters)) {
    pieces.push(piece);
    if (!options.json) process.stdout.write(piece.text);
  }
  model.release();
  const finish = pieces.at(-1).finish;
  if (options.json) {
    const [drawn, logprobs] = [pieces.map(({ token }) => token), pieces.map(({ logprob }) => logprob)];
    console.log(
      JSON.stringify({
        prompt: tokens,
        tokens: drawn,
        logprobs,
        text: pieces.map(({ text }) => text).join(""),
        finish,
      }),
    );
  } else process.stdout.write("\n");
  return 0;
}

async function selftestCommand(_, options) {
  const file = options.set ?? distributed("conformance.bin");
  const core = await Core.load(await wasm(), threadsOf(options));
  const bytes = await readFile(file).catch((error) => {
    throw new UsageError(`${file}: cannot be read (${error.message}); python3 scripts/js_conformance.py makes it`);
  });
  const set = new ConformanceSet(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  let status = 0;
  for (const tier of core.tiers) {
    const { digests, wrong } = runConformance(core, set, { tier });
    for (const [group, digest] of Object.entries(digests)) {
      const right = digest === set.expected[group];
      console.log(`${tier}  ${group}  ${digest}  ${right ? "as it should be" : `should be ${set.expected[group]}`}`);
      if (!right) status = 1;
    }
    for (const { group, name } of wrong.slice(0, 20)) console.log(`${tier}  ${group}: ${name} differs`);
  }
  core.close();
  return status;
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const [command, ...rest] = positionals;
  const commands = { verify: verifyCommand, run: runCommand, selftest: selftestCommand };
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (!Object.hasOwn(commands, command ?? "")) throw new UsageError(`${command ?? "nothing"} is no command`);
  return commands[command](rest, values);
}

process.stdout.on("error", (error) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(BROKEN_PIPE);
});

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error) => {
    const usage = error instanceof UsageError || error.code?.startsWith("ERR_PARSE_ARGS");
    console.error(`intact: ${error.message}${usage ? `\n\n${USAGE}` : ""}`);
    process.exitCode = 2;
  },
);
