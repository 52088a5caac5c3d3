// A worker from the file beside this.

/** Start a worker for `WorkerEngine.start`. */
export function startWorker() {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}
