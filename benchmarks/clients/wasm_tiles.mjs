// Speeds of several modules on one thread, by turns: `benchmarks/wasm_tiles.py` runs it.
//
//     node wasm_tiles.mjs < job.json       # {"model", "modules": {name: file}, "tries"}

import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { FileSource, Model } from "../../js/src/index.js";

const { model, modules, tries } = JSON.parse(await text(process.stdin));
const names = Object.keys(modules);
const found = Object.fromEntries(names.map((name) => [name, { prompt: [], text: [], tokens: [] }]));
const models = {};
for (const name of names)
  models[name] = await Model.load(await FileSource.open(model), { wasm: await readFile(modules[name]) });
const prompt = Array.from({ length: 128 }, (_, i) => 1000 + ((i * 7919) % 20000));

for (let i = 0; i < tries; i++)
  for (const name of i % 2 ? [...names].reverse() : names) {
    let began = performance.now();
    for await (const _ of models[name].stream(prompt, { max_tokens: 1 }));
    found[name].prompt.push(128000 / (performance.now() - began));
    began = null;
    for await (const { token } of models[name].stream(prompt.slice(0, 8), { max_tokens: 33, ignore_eos: true })) {
      began ??= performance.now();
      found[name].tokens.push(token);
    }
    found[name].text.push(32000 / (performance.now() - began));
  }
console.log(JSON.stringify(found));
