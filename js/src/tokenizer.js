// Text to tokens and back: byte-level BPE as GGUF files hold it (tokenizer.ggml.model gpt2).
//
// Words are split by the patterns of the Python package (definitions.js), whose classes of characters are those of
// Unicode; an engine with another version of Unicode than the other side's may differ on characters added in between.

import definitions from "./definitions.js";
import { Float } from "./gguf.js";
import { InputError } from "./sources.js";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;
const PREFIX = "tokenizer.ggml.";
const MOST_WORDS = 1 << 15; // whose tokens are remembered

const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
const CHARACTERS = [];
for (let byte = 0, others = 0; byte < 256; byte++) {
  CHARACTERS.push(String.fromCharCode(printable(byte) ? byte : 256 + others++));
}
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));
const encoder = new TextEncoder();

/** Return a pattern of the Python package as JavaScript writes it. */
export function translate(pattern) {
  let text = "";
  let inClass = false;
  for (let i = 0; i < pattern.length; i++) {
    const rest = pattern.slice(i);
    if (rest.startsWith("(?i:")) {
      const end = pattern.indexOf(")", i); // the groups hold no others
      text += `(?:${caseless(pattern.slice(i + 4, end))})`;
      i = end;
    } else if (pattern[i] === "\\") {
      const next = pattern[++i];
      if (next === "s") text += "\\p{White_Space}";
      else if (next === "S") text += "\\P{White_Space}";
      else text += /[A-Za-z0-9^$\\.*+?()[\]{}|/-]/.test(next) ? `\\${next}` : next;
    } else {
      if (pattern[i] === "[" && !inClass) inClass = true;
      else if (pattern[i] === "]") inClass = false;
      text += pattern[i];
    }
  }
  return new RegExp(text, "gu");
}

// The letters of contractions; ſ is what Unicode folds to s.
function caseless(text) {
  return text.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}${letter === "s" ? "ſ" : ""}]`);
}

// Pieces of a text: the matches of a pattern, and what lies between them.
function split(text, pattern) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    if (match.index > end) pieces.push(text.slice(end, match.index));
    pieces.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}

// A heap of pairs: the least rank first, of equals the leftmost.
class Queue {
  #items = [];

  static #compare(a, b) {
    return a.rank - b.rank || a.i - b.i;
  }

  push(item) {
    const items = this.#items;
    let at = items.push(item) - 1;
    for (let up; at > 0 && Queue.#compare(item, items[(up = (at - 1) >> 1)]) < 0; at = up) items[at] = items[up];
    items[at] = item;
  }

  pop() {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (!items.length) return first;
    let at = 0;
    for (let down; (down = 2 * at + 1) < items.length; at = down) {
      if (down + 1 < items.length && Queue.#compare(items[down + 1], items[down]) < 0) down++;
      if (Queue.#compare(last, items[down]) <= 0) break;
      items[at] = items[down];
    }
    items[at] = last;
    return first;
  }
}

/** The tokenizer of a GGUF file. */
export class Tokenizer {
  /**
   * @param {import("./gguf.js").Gguf} file
   * @throws {InputError} If the file has none that this package reads.
   */
  constructor(file) {
    this.metadata = file.metadata;
    this.name = file.source.name;
    const own = (key) => file.metadata.get(PREFIX + key);
    const fail = (key, wrong) => {
      throw new InputError(`${this.name}: ${PREFIX}${key} ${wrong}`);
    };
    if (own("model") !== "gpt2")
      fail("model", `is ${JSON.stringify(own("model"))}; gpt2 (byte-level BPE) alone is read here`);
    const kind = definitions.pretokenizers[own("pre") ?? "default"];
    if (!kind)
      fail(
        "pre",
        `is ${JSON.stringify(own("pre"))}; expected one of ${Object.keys(definitions.pretokenizers).join(", ")}`,
      );
    this.texts = own("tokens");
    if (!Array.isArray(this.texts) || !this.texts.length || this.texts.some((text) => typeof text !== "string")) {
      fail("tokens", "must be a list of strings");
    }
    this.texts = this.texts.map((text, token) => text || `[EMPTY_${token}]`);
    this.ids = new Map(this.texts.map((text, token) => [text, token]));
    if (this.ids.size !== this.texts.length) fail("tokens", "names a token twice");
    this.types = this.#types(own("token_type"), fail);
    this.#merges(own("merges"), fail);
    this.#patterns = kind.patterns.map(translate);
    this.#wholeWords = kind.whole_words;
    this.#composes = kind.nfc;
    this.#named(own, kind, fail);
    const written = (types) => this.texts.filter((_, token) => types.includes(this.types[token]));
    this.#finders = {
      special: finder(written([CONTROL, UNKNOWN, USER_DEFINED])),
      plain: finder(written([USER_DEFINED])),
    };
    /** Finds the texts of control tokens; null if there are none. */
    this.controlTexts = finder(written([CONTROL, UNKNOWN]));
  }

  #patterns;
  #wholeWords;
  #composes;
  #ranks = new Map();
  #finders;
  #words = new Map();

  #types(stored, fail) {
    const types = stored ?? this.texts.map(() => NORMAL);
    if (!Array.isArray(types) || types.length !== this.texts.length || types.some((type) => !(type <= BYTE))) {
      fail("token_type", "must be a list with a type, 0 to 6, for each token");
    }
    return types.map((type, token) => {
      if (type === BYTE && !/^<0x[0-9A-F]{2}>$/.test(this.texts[token])) fail("tokens", `entry ${token} is no byte's`);
      return definitions.turn_ends.includes(this.texts[token]) ? CONTROL : type;
    });
  }

  #merges(merges, fail) {
    if (!Array.isArray(merges)) fail("merges", "must be a list of strings");
    merges.forEach((merge, rank) => {
      const parts = typeof merge === "string" ? merge.split(" ") : [];
      if (parts.length !== 2 || !parts.every((part) => this.ids.has(part)) || !this.ids.has(parts.join(""))) {
        fail("merges", `entry ${rank} is ${JSON.stringify(merge)}; expected two tokens that make a third`);
      }
      if (!this.#ranks.has(merge)) this.#ranks.set(merge, rank);
    });
  }

  #named(own, kind, fail) {
    const token = (key) => {
      const value = own(key);
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0 && value < this.texts.length)) {
        fail(key, `is ${value}; expected a token`);
      }
      return value;
    };
    this.bos = token("bos_token_id");
    const eos = token("eos_token_id");
    const ends = [eos, token("eot_token_id"), token("eom_token_id")].filter((id) => id !== undefined);
    const special = this.texts.flatMap((_, id) => ([CONTROL, UNKNOWN].includes(this.types[id]) ? [id] : []));
    const texts = special.map((id) => this.texts[id]);
    // In gpt-oss's form <|end|> ends a message of a turn, and others follow.
    const messages = ["<|return|>", "<|call|>"].every((text) => texts.includes(text)) ? ["<|end|>"] : [];
    const turns = special.filter(
      (id) => definitions.turn_ends.includes(this.texts[id]) && !messages.includes(this.texts[id]),
    );
    this.ends = [...new Set([...ends, ...turns])].sort((a, b) => a - b);
    const addBos = own("add_bos_token") ?? (kind.bos && this.bos !== undefined);
    const addEos = own("add_eos_token") ?? false;
    if (addBos && this.bos === undefined) fail("bos_token_id", "is missing, but add_bos_token requires it");
    if (addEos && eos === undefined) fail("eos_token_id", "is missing, but add_eos_token requires it");
    this.around = [addBos ? [this.bos] : [], addEos ? [eos] : []];
    const names = {
      bos_token: "bos_token_id",
      eos_token: "eos_token_id",
      unk_token: "unknown_token_id",
      sep_token: "seperator_token_id",
      pad_token: "padding_token_id",
      cls_token: "cls_token_id",
      mask_token: "mask_token_id",
    };
    this.named = Object.fromEntries(
      Object.entries(names).flatMap(([name, key]) =>
        this.texts[own(key)] === undefined ? [] : [[name, this.texts[own(key)]]],
      ),
    );
  }

  /** The chat template, and the one for tools, where the file has them; null without one. */
  get templates() {
    const found = this.metadata.get("tokenizer.chat_template");
    const tools = this.metadata.get("tokenizer.chat_template.tool_use");
    return typeof found !== "string" ? null : typeof tools === "string" ? [found, tools] : [found];
  }

  /** The metadata that a tokenizer's digest covers (docs/spec/receipts.md, Digests), floats as the digits of their binary64. */
  describe() {
    const view = new DataView(new ArrayBuffer(8));
    const plain = (value) => {
      if (Array.isArray(value)) return value.map(plain);
      if (typeof value === "bigint") throw new InputError(`${this.name}: ${value} has no place in a receipt`);
      if (!(value instanceof Float)) return value;
      view.setFloat64(0, value.value);
      return view.getBigUint64(0).toString(16).padStart(16, "0");
    };
    const own = [...this.metadata].filter(([key]) => key.startsWith(PREFIX));
    return { format: "gguf", metadata: Object.fromEntries(own.map(([key, value]) => [key, plain(value)])) };
  }

  /**
   * Turn a text into tokens.
   *
   * @param {string} text
   * @param {object} [options] `special`: whether control tokens that are written in the text become those tokens;
   *   `around`: whether the model's BOS and EOS are put around it, as its file says.
   */
  encode(text, { special = true, around = true } = {}) {
    if (!text.isWellFormed?.() && /\p{Surrogate}/u.test(text))
      throw new InputError("the text is not Unicode: it has a lone surrogate");
    const tokens = [];
    const pattern = special ? this.#finders.special : this.#finders.plain;
    let end = 0;
    for (const match of pattern ? text.matchAll(pattern) : []) {
      this.#encodePlain(text.slice(end, match.index), tokens);
      tokens.push(this.ids.get(match[0]));
      end = match.index + match[0].length;
    }
    this.#encodePlain(text.slice(end), tokens);
    return around ? [...this.around[0], ...tokens, ...this.around[1]] : tokens;
  }

  #encodePlain(text, tokens) {
    if (!text) return;
    let pieces = [this.#composes ? text.normalize("NFC") : text];
    for (const pattern of this.#patterns) pieces = pieces.flatMap((piece) => split(piece, pattern));
    for (const piece of pieces) {
      if (this.#words.size > MOST_WORDS) this.#words.clear();
      if (!this.#words.has(piece)) this.#words.set(piece, this.#word(piece));
      for (const token of this.#words.get(piece)) tokens.push(token);
    }
  }

  // The tokens of a word: the pair of neighbours of least rank is joined, the leftmost of equals, until there is none.
  #word(piece) {
    const letters = Array.from(encoder.encode(piece), (byte) => CHARACTERS[byte]);
    const whole = this.ids.get(letters.join(""));
    if (this.#wholeWords && whole !== undefined) return [whole];
    const parts = letters.filter((letter) => this.ids.has(letter));
    const before = parts.map((_, i) => i - 1);
    const after = parts.map((_, i) => i + 1);
    const waiting = new Queue();
    const offer = (i) => {
      const pair = i >= 0 && after[i] < parts.length ? `${parts[i]} ${parts[after[i]]}` : null;
      const rank = this.#ranks.get(pair);
      if (rank !== undefined) waiting.push({ rank, i, pair });
    };
    for (let i = 0; i < parts.length; i++) offer(i);
    for (let next; (next = waiting.pop()) !== undefined;) {
      const { i, pair } = next;
      const j = after[i];
      if (parts[i] === null || `${parts[i]} ${parts[j]}` !== pair) continue; // joined with another meanwhile
      parts[i] += parts[j];
      parts[j] = null;
      after[i] = after[j];
      if (after[j] < parts.length) before[after[j]] = i;
      offer(before[i]);
      offer(i);
    }
    return parts.filter((part) => part !== null).map((part) => this.ids.get(part));
  }

  /** The bytes that a token adds to a text: none of control tokens. */
  bytes(token) {
    const text = this.texts[token];
    switch (this.types[token]) {
      case NORMAL: {
        const bytes = Array.from(text, (character) => BYTES.get(character));
        return bytes.includes(undefined) ? encoder.encode(text) : Uint8Array.from(bytes);
      }
      case BYTE:
        return Uint8Array.of(parseInt(text.slice(3, 5), 16));
      case USER_DEFINED:
        return encoder.encode(text);
      default:
        return new Uint8Array();
    }
  }

  /** Return a decoder of tokens that come one at a time: `push(token)` and `flush()` give the characters complete. */
  stream() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (token) => decoder.decode(this.bytes(token), { stream: true }),
      flush: () => decoder.decode(),
    };
  }
}

// Finds the texts in another, of those that begin together the longest; null without any.
function finder(texts) {
  if (!texts.length) return null;
  const longest = [...texts].sort((a, b) => b.length - a.length);
  return new RegExp(longest.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "gu");
}
