// The tokens that may follow a text under a constraint (docs/sampling.md, Constraints), as the bits of a mask.

import { Automaton, ConstraintError } from "./automata.js";
import { parseLark } from "./lark.js";
import { parseRegex } from "./regex.js";
import { parseSchema } from "./schema.js";

const PARSERS = {
  regex: (text) => ({ terminals: [{ expression: parseRegex(text) }], rules: { start: ["terminal", 0] } }),
  json_schema: parseSchema,
  grammar: parseLark,
};
const MARK = "\x02"; // before a text that goes on from another
const MOST_TEXT = 1 << 16; // characters of a constraint
const MOST_MASKS = 64; // that are kept
const MOST_FORCED = 1 << 16; // bytes
const LOOK_BACK = 4; // tokens of a fixed text that a longer one might replace
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The tokens of a vocabulary as a tree of their bytes: nodes in order, each before those below it. */
export class Vocabulary {
  #bytes;
  #depths;
  #ends;
  #tokens;
  #more = new Map(); // of a node, the other tokens of the same bytes

  /**
   * @param {import("./tokenizer.js").Tokenizer} tokenizer
   * @param {number} size Logits of a row.
   */
  constructor(tokenizer, size) {
    this.tokenizer = tokenizer;
    this.size = size;
    this.mark = tokenizer.encode(MARK, { special: false, around: false });
    const sorted = tokenizer.texts.map((_, token) => [tokenizer.bytes(token), token]).filter(([bytes]) => bytes.length);
    sorted.sort(([a, i], [b, j]) => compare(a, b) || i - j);
    const most = 1 + sorted.reduce((sum, [bytes]) => sum + bytes.length, 0);
    const [bytes, depths, ends] = [new Uint8Array(most), new Uint16Array(most), new Uint32Array(most)];
    const tokens = new Int32Array(most).fill(-1);
    const path = [0]; // the node of each byte of the last token
    let count = 1;
    let last = [];
    for (const [own, token] of sorted) {
      let same = 0;
      while (same < last.length && same < own.length && last[same] === own[same]) same++;
      while (path.length > same + 1) ends[path.pop()] = count;
      for (let i = same; i < own.length; i++) {
        [bytes[count], depths[count]] = [own[i], i + 1];
        path.push(count++);
      }
      const node = path.at(-1);
      if (tokens[node] < 0) tokens[node] = token;
      else this.#more.set(node, [...(this.#more.get(node) ?? []), token]);
      last = own;
    }
    while (path.length) ends[path.pop()] = count;
    [this.#bytes, this.#depths, this.#ends, this.#tokens] = [bytes, depths, ends, tokens].map((list) => list.slice(0, count));
  }

  #child(node, byte) {
    for (let next = node + 1; next < this.#ends[node]; next = this.#ends[next]) if (this.#bytes[next] === byte) return next;
    return -1;
  }

  /**
   * Call a function with each token that is longer than some bytes, and whose rest an automaton allows.
   *
   * @param {Automaton} automaton
   * @param {object} state Where the bytes have led.
   * @param {number[]} begin The bytes.
   * @param {(token: number) => boolean} found Ends the search if it returns true.
   * @returns {number} The nodes that were looked at.
   */
  search(automaton, state, begin, found) {
    let top = 0;
    for (const byte of begin) if ((top = this.#child(top, byte)) < 0) return 0;
    const states = [state];
    let visited = 0;
    for (let node = top + 1; node < this.#ends[top]; visited++) {
      const depth = this.#depths[node] - begin.length;
      const next = automaton.step(states[depth - 1], this.#bytes[node]);
      if (next === null) {
        node = this.#ends[node];
        continue;
      }
      states[depth] = next;
      if (this.#tokens[node] >= 0 && found(this.#tokens[node])) break;
      if (this.#more.has(node)) this.#more.get(node).forEach(found);
      node++;
    }
    return visited;
  }

  /** The tokens of bytes that go on from other text, as the tokenizer writes them. */
  encode(bytes) {
    let [text, end] = [null, bytes.length];
    for (; text === null && end > bytes.length - 4; end--) text = decoded(bytes.slice(0, end));
    if (text === null) [text, end] = ["", -1];
    const rest = bytes.slice(end + 1);
    const marked = this.tokenizer.encode(MARK + text, { special: false, around: false });
    const isMarked = this.mark.every((token, i) => marked[i] === token);
    const tokens = isMarked
      ? marked.slice(this.mark.length)
      : this.tokenizer.encode(text, { special: false, around: false });
    return [...tokens, ...this.#greedy(rest)];
  }

  // The longest token, again and again.
  #greedy(bytes) {
    const tokens = [];
    for (let at = 0; at < bytes.length;) {
      let [node, token, end] = [0, -1, at + 1];
      for (let i = at; i < bytes.length && (node = this.#child(node, bytes[i])) > 0; i++) {
        if (this.#tokens[node] >= 0) [token, end] = [this.#tokens[node], i + 1];
      }
      if (token >= 0) tokens.push(token);
      at = end;
    }
    return tokens;
  }
}

function compare(a, b) {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

function decoded(bytes) {
  try {
    return decoder.decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

/** A constraint over a vocabulary, for any number of texts. */
export class Constraint {
  /**
   * @param {Vocabulary} vocabulary
   * @param {{kind: string, text: string}} given As a receipt has it.
   * @throws {ConstraintError} If this package does not compile it.
   */
  constructor(vocabulary, { kind, text }) {
    if (text.length > MOST_TEXT) throw new ConstraintError(`the ${kind} has more than ${MOST_TEXT} characters`);
    this.vocabulary = vocabulary;
    try {
      this.grammar = PARSERS[kind](text);
      this.#restart();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // the stack is full
      throw new ConstraintError(`the ${kind} nests too deep`);
    }
  }

  #restart() {
    this.automaton = new Automaton(this.grammar);
    this.masks = new Map(); // of states, those that were used last
  }

  /** A text that begins: what it may take does not depend on those before it. */
  matcher() {
    if (this.automaton.isWorn) this.#restart();
    this.automaton.budget.renew();
    return new Matcher(this);
  }

  /** The tokens that may follow in a state, without ends. */
  maskOf(state) {
    let mask = this.masks.get(state);
    if (mask === undefined) {
      mask = this.#compute(state);
      if (this.masks.size >= MOST_MASKS) this.masks.delete(this.masks.keys().next().value);
      this.masks.set(state, mask);
    }
    return mask;
  }

  #compute(state) {
    const mask = new Uint32Array(Math.ceil(this.vocabulary.size / 32));
    const visited = this.vocabulary.search(this.automaton, state, [], (token) => {
      mask[token >> 5] |= 1 << (token & 31);
      return false;
    });
    this.automaton.budget.spend(visited >> 4);
    return mask;
  }
}

/** The state of one text in its constraint. */
export class Matcher {
  #state;
  #last = null;
  #isOver = false;

  constructor(constraint) {
    this.constraint = constraint;
    this.#state = constraint.automaton.start;
  }

  /**
   * Return the tokens that may follow, a bit each: end tokens where the text may end.
   *
   * Where the next bytes are fixed, the tokenizer's own next token alone may follow.
   *
   * @throws {ConstraintError} If none may, or finding out takes more than it may.
   */
  mask() {
    const { vocabulary } = this.constraint;
    const forced = this.#forced();
    const mask = forced === null ? this.constraint.maskOf(this.#state).slice() : only(forced, vocabulary.size);
    if (this.#state.accepts || this.#isOver) {
      for (const end of vocabulary.tokenizer.ends) mask[end >> 5] |= 1 << (end & 31);
    }
    if (!mask.some((word) => word)) throw new ConstraintError("the constraint allows no token here");
    return mask;
  }

  /**
   * Append a token.
   *
   * @throws {ConstraintError} If the constraint does not allow it here.
   */
  accept(token) {
    if (this.constraint.vocabulary.tokenizer.ends.includes(token)) {
      this.#isOver = true;
      return;
    }
    const bytes = this.constraint.vocabulary.tokenizer.bytes(token);
    let state = bytes.length ? this.#state : null;
    for (const byte of bytes) state &&= this.constraint.automaton.step(state, byte);
    if (state === null) throw new ConstraintError(`the constraint does not allow token ${token} here`);
    this.#state = state;
    this.#last = token;
  }

  // The next token of bytes that are fixed; null where none are, or where a longer token might take them.
  #forced() {
    const { automaton, vocabulary } = this.constraint;
    const bytes = [];
    let state = this.#state;
    for (let byte; (byte = automaton.forced(state)) >= 0; state = automaton.step(state, byte)) {
      bytes.push(byte);
      if (bytes.length > MOST_FORCED) throw new ConstraintError("the constraint fixes a text without end");
    }
    if (!bytes.length) return null;
    let tokens;
    if (this.#last !== null) {
      tokens = vocabulary.encode([...vocabulary.tokenizer.bytes(this.#last), ...bytes]);
      tokens = tokens[0] === this.#last ? tokens.slice(1) : null;
    }
    tokens ??= vocabulary.encode(bytes);
    const suffix = [];
    let chopped = 0;
    for (let count = 1; count <= Math.min(tokens.length, LOOK_BACK); count++) {
      suffix.unshift(...vocabulary.tokenizer.bytes(tokens.at(-count)));
      if (this.#goesOn(suffix, state)) chopped = count;
    }
    return tokens.length > chopped ? tokens[0] : null;
  }

  // If true, a token begins with these bytes and goes on as the state behind them allows.
  #goesOn(bytes, state) {
    let isFound = false;
    this.constraint.vocabulary.search(this.constraint.automaton, state, bytes, () => (isFound = true));
    return isFound;
  }
}

function only(token, size) {
  const mask = new Uint32Array(Math.ceil(size / 32));
  mask[token >> 5] = 1 << (token & 31);
  return mask;
}
