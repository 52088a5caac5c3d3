// The script of a thread's worker, in Node, Deno and browsers.

import { beThread } from "./threads.js";

if (typeof WorkerGlobalScope === "undefined") {
  const { parentPort } = await import("node:worker_threads");
  parentPort.once("message", ({ thread }) => beThread(thread, (message) => parentPort.postMessage(message)));
} else {
  self.onmessage = async ({ data }) => {
    await beThread(data.thread, (message) => self.postMessage(message));
    self.close();
  };
}
