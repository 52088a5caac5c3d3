// Where the bytes of a model come from: a part at a time, so that no file is ever in memory as a whole.

import { Store } from "./store.js";

/** An error about a file or a request that the user gave: what is wrong, where, and what would be right. */
export class InputError extends Error {
  constructor(message, what = null) {
    super(message);
    this.name = "InputError";
    this.what = what;
  }
}

/** A part of memory, or a Blob or File of a browser. */
export class BlobSource {
  constructor(blob, name = blob.name ?? "the model") {
    this.blob = blob;
    this.name = name;
    this.size = blob.size;
  }

  async read(offset, length) {
    try {
      return new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
    } catch (error) {
      throw new InputError(`${this.name}: cannot be read, as it was changed, moved or removed: choose it again (${error.name})`);
    }
  }
}

/** A file on a server that answers requests for ranges of bytes. */
export class UrlSource {
  /**
   * Open a file by its address.
   *
   * @param {string | URL} url
   * @param {object} [options] `keep`: keep what is read in the browser's origin-private storage, up to so many bytes of
   *   all models (4 GiB if true), and read it from there the next time.
   * @throws {InputError} If the server does not answer, or not with ranges.
   */
  static async open(url, { keep = false } = {}) {
    const reply = await fetch(url, { headers: { Range: "bytes=0-3" } });
    const size = Number(/\/(\d+)$/.exec(reply.headers.get("Content-Range") ?? "")?.[1]);
    if (reply.status !== 206 || !Number.isSafeInteger(size)) {
      throw new InputError(`${url}: the server answers with status ${reply.status}; expected a range of bytes (206)`);
    }
    const version = reply.headers.get("ETag") ?? reply.headers.get("Last-Modified");
    return new UrlSource(url, size, keep, version);
  }

  constructor(url, size, keep = false, version = null) {
    this.url = url;
    this.name = String(url);
    this.size = size;
    this.keep = keep;
    this.version = version;
  }

  async read(offset, length) {
    if (!this.keep) return this.#fetch(offset, length);
    const identity = [new URL(this.url, globalThis.location?.href).href, String(this.size), String(this.version)];
    if (this.store === undefined) this.store = await Store.open(identity, this.keep === true ? undefined : this.keep);
    const kept = await this.store?.read(offset, length);
    if (kept) return kept;
    const bytes = await this.#fetch(offset, length);
    await this.store?.write(offset, bytes);
    return bytes;
  }

  async #fetch(offset, length) {
    const reply = await fetch(this.url, { headers: { Range: `bytes=${offset}-${offset + length - 1}` } });
    const bytes = new Uint8Array(await reply.arrayBuffer());
    if (reply.status !== 206 || bytes.length !== length) {
      throw new InputError(`${this.url}: ${bytes.length} bytes came where ${length} were asked for`);
    }
    return bytes;
  }
}

/** A file of Node's or Deno's. */
export class FileSource {
  /** @throws {InputError} If it cannot be opened. */
  static async open(path) {
    const { open } = await import("node:fs/promises");
    try {
      const handle = await open(path);
      const { size } = await handle.stat();
      return new FileSource(path, handle, size);
    } catch (error) {
      throw new InputError(`${path}: cannot be read (${error.message})`);
    }
  }

  constructor(path, handle, size) {
    this.name = path;
    this.handle = handle;
    this.size = size;
  }

  async read(offset, length) {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) throw new InputError(`${this.name}: ended at byte ${offset + filled} while it was read`);
      filled += bytesRead;
    }
    return bytes;
  }

  async close() {
    await this.handle.close();
  }
}
