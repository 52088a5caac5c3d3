// Threads: workers that stay in the module, on its memory (native/wasm/threads.cpp).

import { CoreError, importsOf } from "./instance.js";

const STACK_BYTES = 1 << 20;
/** The most threads of an instance. */
export const MOST_THREADS = 32;

/**
 * If true, the module can have threads here. It cannot where workers share no memory (a page that is not isolated from
 * others), nor on a page's own thread, which must not wait for others.
 */
export function mayHaveThreads() {
  return globalThis.crossOriginIsolated !== false && typeof document === "undefined";
}

/** Return how many threads the module can have here: as many as the machine runs at once. */
export function availableThreads() {
  const inNode20 = () => globalThis.process?.getBuiltinModule?.("os").availableParallelism();
  const machine = globalThis.navigator?.hardwareConcurrency ?? inNode20() ?? 1;
  return mayHaveThreads() ? Math.min(machine, MOST_THREADS) : 1;
}

/**
 * Start the threads of an instance besides that of the caller.
 *
 * @param {import("./core.js").Core} core
 * @param {WebAssembly.Module} module
 * @param {WebAssembly.Memory} memory
 * @param {object} exports Those of the instance.
 * @param {object} options
 * @param {number} options.count How many.
 * @param {() => Worker | Promise<Worker>} options.startThread Starts a worker that runs thread.js.
 * @throws {CoreError} If one does not start.
 */
export async function startThreads(core, module, memory, exports, { count, startThread }) {
  const workers = await Promise.all(Array.from({ length: count }, () => startThread()));
  try {
    await Promise.all(
      workers.map((worker, index) => {
        const stack = core.allocate(STACK_BYTES) + STACK_BYTES;
        const tls = core.allocate(exports.__tls_size.value);
        return new Promise((resolve, reject) => {
          worker.onmessage = resolve;
          worker.onerror = (event) => {
            event.preventDefault?.();
            reject(new CoreError(`a thread did not start: ${event.message || "its script is not there"}`));
          };
          worker.postMessage({ thread: { module, memory, index, stack, tls } });
        });
      }),
    );
  } catch (error) {
    for (const worker of workers) worker.terminate();
    throw error instanceof CoreError ? error : new CoreError(`a thread did not start: ${error.message}`);
  }
  for (const worker of workers) worker.unref?.(); // Node ends although they wait
  core.call("intact_threads", count);
}

/**
 * Be a thread of an instance: run what the module has for it, until the instance is closed or fails.
 *
 * @param {object} given What `startThreads` sends.
 * @param {(message: object) => void} post Sends a message back.
 */
export async function beThread({ module, memory, index, stack, tls }, post) {
  const { exports } = await WebAssembly.instantiate(module, importsOf(memory));
  exports.__stack_pointer.value = stack;
  exports.__wasm_init_tls(tls);
  post({ isReady: true });
  try {
    exports.intact_thread(index);
  } catch {
    exports.intact_threads_end(0); // the others raise its error
  }
}
