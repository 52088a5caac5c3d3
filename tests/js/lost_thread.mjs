// A thread that traps: its stack is no memory. Prints the name and the message of the error that a text ends with.
//
//     node lost_thread.mjs MODEL.gguf

import { readFile } from "node:fs/promises";

import { FileSource, Model, startThread } from "../../js/src/index.js";

const wasm = await readFile(new URL("../../js/dist/intact.wasm", import.meta.url));

async function startLost() {
  const worker = await startThread();
  const post = worker.postMessage.bind(worker);
  worker.postMessage = ({ thread }) => post({ thread: { ...thread, stack: 16 } });
  return worker;
}

const errors = [];
try {
  const model = await Model.load(await FileSource.open(process.argv[2]), { wasm, threads: 2, startThread: startLost });
  model.generate([1, 2, 3]);
} catch (error) {
  errors.push([error.name, error.message]);
}
console.log(JSON.stringify(errors));
