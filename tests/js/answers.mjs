// Answers jobs with the package's own module: reads {"model", "jobs", "threads"} in JSON, writes a list of results.
//
//     node answers.mjs < jobs.json
//
// A job has `op`: "generate" (prompt, parameters, branch), "encode" (text, special), "chat" (messages), "digests",
// "working" (threads that have work, besides the first).

import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { FileSource, Model, encodeConversation, startThread } from "../../js/src/index.js";

const { model: path, jobs, threads } = JSON.parse(await text(process.stdin));
const wasm = await readFile(new URL("../../js/dist/intact.wasm", import.meta.url));
const model = await Model.load(await FileSource.open(path), { wasm, threads, startThread });
const answers = {
  generate: ({ prompt, parameters, branch }) => model.generate(prompt, parameters, branch),
  encode: ({ text: given, special }) => model.tokenizer.encode(given, { special, around: false }),
  chat: (given) => encodeConversation(model.tokenizer, given).tokens,
  decode: ({ tokens }) => {
    const stream = model.tokenizer.stream();
    return tokens.map(stream.push).join("") + stream.flush();
  },
  digests: () => model.digests,
  working: () => model.core.call("intact_threads_working"),
};
console.log(JSON.stringify(jobs.map(({ op, ...job }) => answers[op](job))));
