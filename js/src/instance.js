// What an instance of the WebAssembly module takes: its memory, and what it calls.

const WASI_OK = 0;
const WASI_UNSUPPORTED = 58;
/** Pages of 64 KiB, as CMakeLists.txt has the module linked: those of a new memory, and the most that there can be. */
const FIRST_PAGES = 64;
const MOST_PAGES = 65535;

/** An error that the module raised, or a call after one. */
export class CoreError extends Error {
  constructor(message) {
    super(message);
    this.name = "CoreError";
  }
}

/**
 * Return a new memory for an instance, and for its threads.
 *
 * @returns {WebAssembly.Memory}
 * @throws {CoreError} If the engine gives none.
 */
export function newMemory() {
  // Where addresses are scarce, as on some phones, the engine may refuse to set aside as many as there can be.
  for (let maximum = MOST_PAGES; ; maximum >>= 1) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared: true });
    } catch (error) {
      if (maximum >> 1 < FIRST_PAGES) throw new CoreError(`this engine gives the module no memory: ${error.message}`);
    }
  }
}

/** Return the text at an address, up to a zero. */
export function textAt(memory, address) {
  const bytes = new Uint8Array(memory.buffer);
  let end = address;
  while (bytes[end] !== 0) end++;
  return new TextDecoder().decode(bytes.slice(address, end));
}

/** Return what an instance on a memory imports. What the C++ library asks of a system decides no bit. */
export function importsOf(memory) {
  const known = {
    clock_time_get: (_clock, _precision, at) => {
      new DataView(memory.buffer).setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
      return WASI_OK;
    },
    proc_exit: (status) => {
      throw new CoreError(`the module ended with status ${status}: memory ran out, or it found itself wrong`);
    },
  };
  const fail = (address) => {
    throw new CoreError(textAt(memory, address >>> 0));
  };
  return {
    env: { memory },
    intact: { fail },
    wasi_snapshot_preview1: new Proxy(known, {
      get: (target, name) => target[name] ?? (() => WASI_UNSUPPORTED),
      has: () => true,
    }),
  };
}
