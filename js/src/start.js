// Workers from the files beside this.

/** Start a worker for `WorkerEngine.start`. */
export function startWorker() {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

/** Start a worker that becomes a thread of the module: see `Core.load`. */
export async function startThread() {
  const script = new URL("./thread.js", import.meta.url);
  if (typeof Worker !== "undefined") return new Worker(script, { type: "module" });
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(script);
  worker.on("message", (data) => worker.onmessage?.({ data }));
  worker.on("error", (error) => worker.onerror?.(error));
  return worker;
}
