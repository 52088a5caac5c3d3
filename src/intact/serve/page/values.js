// Small values stored by the browser; without storage (blocked cookies), they last as long as the page.

const memory = new Map();

/** @param storage "localStorage" or "sessionStorage"; a browser may throw on access */
export function read(storage, name) {
  try {
    return globalThis[storage].getItem(name);
  } catch {
    return memory.get(`${storage} ${name}`) ?? null;
  }
}

export function write(storage, name, value) {
  memory.set(`${storage} ${name}`, value);
  try {
    globalThis[storage].setItem(name, value);
  } catch {
    // kept only in memory
  }
}
