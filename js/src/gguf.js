// GGUF files, versions 2 and 3, little-endian: metadata and where each tensor lies. Tensors are read one at a time.
//
// Every count and length is checked against the bytes of the file before anything is made of it.
// Source: the GGUF specification (ggml, docs/gguf.md).

import definitions from "./definitions.js";
import { InputError } from "./sources.js";

const LONGEST_HEADER = 256 << 20;
const FIRST_READ = 1 << 20;
const LONGEST_NAME = 65535;
const LONGEST_STRING = 16 << 20;
const MOST_AXES = 4;
const DEEPEST_ARRAY = 4;
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;
const NUMBERS = {
  0: ["Uint8", 1],
  1: ["Int8", 1],
  2: ["Uint16", 2],
  3: ["Int16", 2],
  4: ["Uint32", 4],
  5: ["Int32", 4],
  6: ["Float32", 4],
  10: ["BigUint64", 8],
  11: ["BigInt64", 8],
  12: ["Float64", 8],
};

/** A number that the file holds as a float: told from integers, since a tokenizer's digest tells them apart. */
export class Float {
  constructor(value) {
    this.value = value;
  }
}

class MoreNeeded extends Error {}

class Reader {
  constructor(bytes, size, name) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.size = size; // of the file
    this.name = name;
    this.offset = 0;
    this.decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  }

  fail(where, wrong, right) {
    throw new InputError(`${this.name}: ${where}, byte ${this.offset}: ${wrong}; expected ${right}`);
  }

  take(count, where) {
    const begin = this.offset;
    if (count > this.size - begin) {
      this.fail(where, `${count} bytes are needed`, `at most the ${this.size - begin} that remain (is it truncated?)`);
    }
    if (begin + count > this.bytes.length) throw new MoreNeeded();
    this.offset = begin + count;
    return begin;
  }

  u32(where) {
    return this.view.getUint32(this.take(4, where), true);
  }

  u64(where) {
    const value = this.view.getBigUint64(this.take(8, where), true);
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  }

  count(where, least) {
    const count = this.u64(where);
    const most = Math.floor((this.size - this.offset) / least);
    if (count > most) this.fail(where, `the count is ${count}`, `at most ${most}, which is all the file has room for`);
    return count;
  }

  string(where, longest = LONGEST_STRING) {
    const length = this.u64(where);
    if (length > longest) this.fail(where, `a string has ${length} bytes`, `at most ${longest}`);
    const begin = this.take(length, where);
    try {
      return this.decoder.decode(this.bytes.subarray(begin, begin + length));
    } catch {
      return this.fail(where, "a string is not UTF-8", "valid UTF-8");
    }
  }

  number(kind, where) {
    const [name, size] = NUMBERS[kind];
    const value = this.view[`get${name}`](this.take(size, where), true);
    if (name.startsWith("Float")) return new Float(value);
    if (typeof value !== "bigint") return value;
    return value >= -BigInt(Number.MAX_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : value;
  }

  flag(where) {
    const value = this.bytes[this.take(1, where)];
    if (value > 1) this.fail(where, `a bool has the value ${value}`, "0 or 1");
    return value === 1;
  }

  value(where, kind = this.u32(where), depth = 0) {
    if (kind === STRING) return this.string(where);
    if (kind === BOOL) return this.flag(where);
    if (kind in NUMBERS) return this.number(kind, where);
    if (kind !== ARRAY) this.fail(where, `unknown value type ${kind}`, "one of the value types 0 to 12");
    if (depth === DEEPEST_ARRAY) this.fail(where, "arrays are nested too deeply", `at most ${DEEPEST_ARRAY} levels`);
    const item = this.u32(where);
    const least = item === STRING ? 8 : item === ARRAY ? 12 : item in NUMBERS ? NUMBERS[item][1] : 1;
    const count = this.count(where, least);
    return Array.from({ length: count }, () => this.value(where, item, depth + 1));
  }

  description(where, kinds) {
    const name = this.string(where, LONGEST_NAME);
    const here = `tensor ${JSON.stringify(name).slice(0, 80)}`;
    const axes = this.u32(here);
    if (axes > MOST_AXES) this.fail(here, `the tensor has ${axes} axes`, `at most ${MOST_AXES}`);
    const shape = Array.from({ length: axes }, () => this.u64(here)).reverse(); // rows first
    if (shape.includes(0)) this.fail(here, `the shape is ${shape}`, "sizes of at least 1");
    const number = this.u32(here);
    const kind = kinds.get(number);
    if (!kind)
      this.fail(
        here,
        `tensor type ${number} is not supported`,
        `one of ${[...kinds.values()].map((k) => k.name).join(", ")}`,
      );
    const count = shape.reduce((product, size) => product * size, 1);
    if ((shape.at(-1) ?? 1) % kind.values)
      this.fail(here, `rows of ${shape.at(-1)} are no whole blocks of ${kind.name}`, `a multiple of ${kind.values}`);
    return { name, kind: kind.name, shape, length: (count / kind.values) * kind.bytes, offset: this.u64(here) };
  }
}

function parse(reader) {
  const { bytes, size } = reader;
  const magic = new TextDecoder("latin1").decode(bytes.subarray(reader.take(4, "magic"), 4));
  if (magic !== "GGUF") {
    reader.offset = 0;
    reader.fail("magic", `the file starts with ${JSON.stringify(magic)}`, "a GGUF file, which starts with GGUF");
  }
  const version = reader.u32("version");
  if (version !== 2 && version !== 3) reader.fail("version", `the GGUF version is ${version}`, "version 2 or 3");
  const tensorCount = reader.count("number of tensors", 24);
  const keyCount = reader.count("number of metadata keys", 13);
  const metadata = new Map();
  for (let i = 0; i < keyCount; i++) {
    const key = reader.string(`key ${i} of ${keyCount}`, LONGEST_NAME);
    if (metadata.has(key)) reader.fail(`key ${key}`, "the key occurs twice", "each key once");
    metadata.set(key, reader.value(`key ${key}`));
  }
  if (metadata.get("split.count") > 1)
    reader.fail("key split.count", "the model is split into several files", "a single file");
  const kinds = new Map(definitions.formats.map((format) => [format.gguf, format]));
  const described = Array.from({ length: tensorCount }, (_, i) =>
    reader.description(`tensor ${i} of ${tensorCount}`, kinds),
  );
  const alignment = metadata.get("general.alignment") ?? 32;
  if (!Number.isSafeInteger(alignment) || alignment < 1 || Math.log2(alignment) % 1) {
    reader.fail("key general.alignment", `the value is ${alignment}`, "a power of two");
  }
  const start = Math.ceil(reader.offset / alignment) * alignment;
  const tensors = new Map();
  let end = 0;
  for (const { offset, length, name } of [...described].sort((a, b) => a.offset - b.offset)) {
    if (offset < end || offset % alignment)
      reader.fail(`tensor ${name}`, `its data begin at offset ${offset}`, `a multiple of ${alignment} from ${end} on`);
    end = offset + length;
    if (start + end > size)
      reader.fail(`tensor ${name}`, `its data end at byte ${start + end}`, `at most ${size} (is the file truncated?)`);
  }
  for (const one of described) {
    if (tensors.has(one.name)) reader.fail(`tensor ${one.name}`, "the tensor occurs twice", "each tensor once");
    tensors.set(one.name, { ...one, offset: start + one.offset });
  }
  return { metadata, tensors };
}

/** Metadata and tensors of a GGUF file. */
export class Gguf {
  /**
   * Read the header of a file.
   *
   * @param source A `FileSource`, `BlobSource` or `UrlSource`.
   * @returns {Promise<Gguf>}
   * @throws {InputError} If it is no GGUF file, truncated, damaged, or has tensors of a kind that is not supported.
   */
  static async open(source) {
    for (let length = FIRST_READ; ; length *= 2) {
      const bytes = await source.read(0, Math.min(length, source.size));
      try {
        return new Gguf(source, parse(new Reader(bytes, source.size, source.name)));
      } catch (error) {
        if (!(error instanceof MoreNeeded)) throw error;
        if (length >= LONGEST_HEADER)
          throw new InputError(`${source.name}: its header exceeds ${LONGEST_HEADER >> 20} MiB`);
      }
    }
  }

  constructor(source, { metadata, tensors }) {
    this.source = source;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /** Read the bytes of a tensor. */
  async read(tensor) {
    return this.source.read(tensor.offset, tensor.length);
  }
}
