// Parts of models in the browser's origin-private storage, so that a second visit reads nothing from the network.
//
// A model's folder is named by its address, size and version; a file in it, by its place, has the bytes of one part.
// What lies there is believed no more than what a server sends: a model's root is computed from the bytes that are read.

const FOLDER = "intact-models";
const USED = "used";
/** Bytes of all models together, by default. */
const MOST = 4 * 2 ** 30;

/** The stored parts of one model. */
export class Store {
  #folder;
  #models;
  #room;
  #sizes;

  /**
   * Open the parts of a model.
   *
   * @param {string[]} identity What tells it from all others: address, size, version.
   * @param {number} [most] Bytes of all models; the models that were used least recently make room for others.
   * @returns {Promise<Store | null>} Null where the browser has no such storage here, as for pages from a disk.
   */
  static async open(identity, most = MOST) {
    try {
      const models = await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
      const named = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(identity)));
      const name = Array.from(new Uint8Array(named), (byte) => byte.toString(16).padStart(2, "0")).join("");
      const store = new Store();
      store.#models = models;
      store.#folder = await models.getDirectoryHandle(name, { create: true });
      await write(store.#folder, USED, new Uint8Array());
      store.#sizes = new Map();
      let total = 0;
      for await (const [other, folder] of models.entries()) {
        const size = await sizeOf(folder);
        total += size;
        if (other !== name) store.#sizes.set(other, [size, await lastUse(folder)]);
      }
      store.#room = most - total;
      return store;
    } catch {
      return null;
    }
  }

  /** Remove the parts of all models. */
  static async clear() {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(FOLDER, { recursive: true }).catch(() => undefined);
  }

  /** Return a part; null where it is not there, whole. */
  async read(offset, length) {
    try {
      const file = await (await this.#folder.getFileHandle(String(offset))).getFile();
      return file.size === length ? new Uint8Array(await file.arrayBuffer()) : null;
    } catch {
      return null;
    }
  }

  /** Keep a part, if there is room; otherwise do nothing. */
  async write(offset, bytes) {
    try {
      while (this.#room < bytes.length && this.#sizes.size) await this.#makeRoom();
      if (this.#room < bytes.length) return;
      await write(this.#folder, String(offset), bytes);
      this.#room -= bytes.length;
    } catch {
      this.#room = 0; // the browser gives no more
    }
  }

  async #makeRoom() {
    const [name, [size]] = [...this.#sizes].reduce((a, b) => (a[1][1] <= b[1][1] ? a : b));
    this.#sizes.delete(name);
    await this.#models.removeEntry(name, { recursive: true });
    this.#room += size;
  }
}

// A file is whole or absent: what is written counts when it is closed.
async function write(folder, name, bytes) {
  const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await writable.write(bytes);
  await writable.close();
}

async function sizeOf(folder) {
  let total = 0;
  for await (const file of folder.values()) total += (await file.getFile()).size;
  return total;
}

async function lastUse(folder) {
  const file = await folder.getFileHandle(USED).catch(() => null);
  return file === null ? 0 : (await file.getFile()).lastModified;
}
