// Speeds of a model of js/, in Node by itself and in a page through a worker: `benchmarks/wasm.py` runs it.
//
//     node wasm_speed.mjs < job.json       # {"model", "threads", "prompt", "receipt", "tries", "count"}

/**
 * Measure a `Model` or a `WorkerModel`.
 *
 * @param model
 * @param {(receipt: object) => Promise<object>} judge Verifies a receipt by the model.
 * @param {object} given `prompt`: tokens; `receipt`: parsed; `tries`; `count`: tokens of a text.
 * @returns {Promise<{prompt: number[], stream: number[], verify: number[]}>} Of each try: tokens of the prompt a second,
 *   tokens of a text a second (its first one left out), and seconds to verify the receipt.
 */
export async function measure(model, judge, { prompt, receipt, tries, count }) {
  const found = { prompt: [], stream: [], verify: [] };
  const seconds = () => performance.now() / 1000;
  for (let i = 0; i < tries; i++) {
    let began = seconds();
    for await (const _ of model.stream(prompt, { max_tokens: 1 }));
    found.prompt.push(prompt.length / (seconds() - began));
    let first = null;
    for await (const _ of model.stream(prompt.slice(0, 8), { max_tokens: count, ignore_eos: true })) first ??= seconds();
    found.stream.push((count - 1) / (seconds() - first));
    began = seconds();
    const { outcome, detail } = await judge(receipt);
    if (outcome !== "true") throw new Error(`the receipt is ${outcome}: ${detail}`);
    found.verify.push(seconds() - began);
  }
  return found;
}

async function main() {
  const { readFile } = await import("node:fs/promises");
  const { text } = await import("node:stream/consumers");
  const { FileSource, Model, parseReceipt, startThread, verify } = await import("../../js/src/index.js");
  const { model: path, threads, receipt, ...given } = JSON.parse(await text(process.stdin));
  const wasm = await readFile(new URL("../../js/dist/intact.wasm", import.meta.url));
  const model = await Model.load(await FileSource.open(path), { wasm, threads, startThread });
  const parsed = parseReceipt(new TextEncoder().encode(receipt));
  const found = await measure(model, (one) => verify(model, one), { ...given, receipt: parsed });
  console.log(JSON.stringify({ ...found, memory: model.core.memoryBytes }));
}

if (typeof document === "undefined") await main();
