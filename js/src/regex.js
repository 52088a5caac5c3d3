// Regular expressions in Rust's syntax, without look-around and back-references, as expressions of automata.js.

import { ConstraintError, EMPTY, isNullable } from "./automata.js";
import { caseless, negated, normalized, property } from "./charset.js";

const MOST_REPEATS = 1000;
const MOST_DEPTH = 100;
const ESCAPES = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b, a: 0x07 };
const WORD = "Alphabetic,M,Nd,Pc,Join_Control";
const CLASSES = { d: "Nd", w: WORD, s: "White_Space" };
const LINE_FEED = [[0x0a, 0x0a]];

/** Any character. */
export const ANY = ["set", negated([])];

/**
 * Parse a regular expression.
 *
 * @param {string} source
 * @param {object} [options] `flags`: letters that hold from the beginning, of "is"; `isSearch`: if true, text may stand
 *   before and behind what matches, where `^` and `$` do not forbid it.
 * @returns {Array} An expression.
 * @throws {ConstraintError} If it has a form that is not known here.
 */
export function parseRegex(source, { flags = "", isSearch = false } = {}) {
  const characters = Array.from(source);
  const isBegun = characters[0] === "^";
  const isEnded = characters.at(-1) === "$" && !isEscaped(characters, characters.length - 1);
  const inner = characters.slice(Number(isBegun), isEnded ? -1 : undefined);
  const parsed = new Parser(inner, new Set(flags), source).parse();
  const isSplit = parsed[0] === "alt";
  if ((isBegun || isEnded) && isSplit) throw refused(source, "anchors beside alternatives");
  if (!isSearch) return parsed;
  const anything = ["repeat", ANY, 0, Infinity];
  return ["cat", isBegun ? EMPTY : anything, parsed, isEnded ? EMPTY : anything];
}

function isEscaped(characters, at) {
  let count = 0;
  while (characters[at - 1 - count] === "\\") count++;
  return count % 2 === 1;
}

function refused(source, what) {
  return new ConstraintError(`this program reads no ${what} in a regular expression: ${JSON.stringify(source).slice(0, 60)}`);
}

class Parser {
  constructor(characters, flags, source) {
    this.characters = characters;
    this.flags = flags;
    this.source = source;
    this.at = 0;
    this.depth = 0;
  }

  parse() {
    const found = this.#alternatives();
    if (this.at < this.characters.length) throw this.#refused("unmatched )");
    return found;
  }

  #refused(what) {
    return refused(this.source, what);
  }

  #peek(text) {
    return this.characters.slice(this.at, this.at + text.length).join("") === text;
  }

  #take(text) {
    if (!this.#peek(text)) return false;
    this.at += text.length;
    return true;
  }

  #next(what) {
    if (this.at >= this.characters.length) throw this.#refused(`end within ${what}`);
    return this.characters[this.at++];
  }

  #alternatives() {
    if (++this.depth > MOST_DEPTH) throw this.#refused("so many nested groups");
    const before = new Set(this.flags);
    const ways = [this.#sequence()];
    while (this.#take("|")) ways.push(this.#sequence());
    this.flags = before;
    this.depth--;
    return ways.length === 1 ? ways[0] : ["alt", ...ways];
  }

  #sequence() {
    const parts = [];
    while (this.at < this.characters.length && !this.#peek("|") && !this.#peek(")")) {
      const part = this.#atom();
      if (part !== null) parts.push(this.#repeated(part));
    }
    return parts.length === 1 ? parts[0] : ["cat", ...parts];
  }

  #repeated(part) {
    for (;;) {
      let bounds;
      if (this.#take("*")) bounds = [0, Infinity];
      else if (this.#take("+")) bounds = [1, Infinity];
      else if (this.#take("?")) bounds = [0, 1];
      else if (this.#take("{")) bounds = this.#bounds();
      else return part;
      this.#take("?"); // the shortest match is none other, where the whole text must match
      if (isNullable(part)) bounds[0] = 0;
      part = ["repeat", part, ...bounds];
    }
  }

  #bounds() {
    let text = "";
    for (let next; (next = this.#next("{}")) !== "}";) text += next;
    const found = /^(\d{1,4})(,(\d{0,4}))?$/.exec(text);
    if (!found) throw this.#refused(`{${text}}`);
    const least = Number(found[1]);
    const most = !found[2] ? least : found[3] ? Number(found[3]) : Infinity;
    if (most < least || least > MOST_REPEATS || (most > MOST_REPEATS && most !== Infinity))
      throw this.#refused(`{${text}}`);
    return [least, most];
  }

  // An atom; null for flags, which stand for nothing.
  #atom() {
    if (this.#take("(")) return this.#group();
    if (this.#take("[")) return this.#set(this.#class());
    if (this.#take(".")) return ["set", this.flags.has("s") ? negated([]) : negated(LINE_FEED)];
    if (this.#take("\\")) return this.#set(this.#escape());
    const character = this.#next("the expression");
    if ("^$*+?{".includes(character)) throw this.#refused(`${character} at this place`);
    return this.#set([[character.codePointAt(0), character.codePointAt(0)]]);
  }

  #set(ranges) {
    const found = this.flags.has("i") ? caseless(ranges) : normalized(ranges);
    if (found === null) throw this.#refused("letters beyond ASCII without case");
    if (!found.length) throw this.#refused("empty class");
    return ["set", found];
  }

  #group() {
    const before = new Set(this.flags);
    if (this.#take("?")) {
      if (this.#take("P<") || (this.#peek("<") && !this.#peek("<=") && !this.#peek("<!"))) {
        while (this.#next("a group's name") !== ">");
      } else {
        let isOn = true;
        for (;;) {
          const flag = this.#next("a group");
          if (flag === ":") break;
          if (flag === ")") return null; // to the end of the group around
          if (flag === "-") isOn = false;
          else if (!"is".includes(flag)) throw this.#refused(`group (?${flag}`);
          else if (isOn) this.flags.add(flag);
          else this.flags.delete(flag);
        }
      }
    }
    const found = this.#alternatives();
    if (!this.#take(")")) throw this.#refused("group without end");
    this.flags = before;
    return found;
  }

  // What follows a backslash, as ranges.
  #escape() {
    const letter = this.#next("an escape");
    if (CLASSES[letter]) return property(CLASSES[letter]);
    const lower = letter.toLowerCase();
    if (CLASSES[lower]) return negated(property(CLASSES[lower]));
    if (lower === "p") return this.#property(letter === "P");
    if (ESCAPES[letter] !== undefined) return [[ESCAPES[letter], ESCAPES[letter]]];
    if ("xuU".includes(letter)) {
      const code = this.#code({ x: 2, u: 4, U: 8 }[letter]);
      return [[code, code]];
    }
    if (!/[!-/:-@[-`{-~]/.test(letter) || "<>".includes(letter)) throw this.#refused(`\\${letter}`);
    return [[letter.codePointAt(0), letter.codePointAt(0)]];
  }

  #code(digits) {
    let text = "";
    if (this.#take("{")) for (let next; (next = this.#next("an escape")) !== "}";) text += next;
    else for (let i = 0; i < digits; i++) text += this.#next("an escape");
    const code = /^[0-9A-Fa-f]{1,8}$/.test(text) ? parseInt(text, 16) : Infinity;
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw this.#refused(`character ${text}`);
    return code;
  }

  #property(isNegated) {
    let name = this.#next("a property");
    if (name === "{") {
      name = "";
      for (let next; (next = this.#next("a property")) !== "}";) name += next;
    }
    if (!/^[A-Z][A-Za-z_]{0,30}$/.test(name)) throw this.#refused(`property ${name}`);
    try {
      return isNegated ? negated(property(name)) : property(name);
    } catch {
      throw this.#refused(`property ${name}`);
    }
  }

  #class() {
    const isNegated = this.#take("^");
    const ranges = [];
    for (let isFirst = true; isFirst || !this.#peek("]"); isFirst = false) {
      if (["[", "&&", "--", "~~"].some((text) => this.#peek(text))) throw this.#refused("class within a class");
      const low = this.#member();
      if (!this.#peek("-") || this.#peek("-]")) {
        ranges.push(...low);
        continue;
      }
      this.at++;
      if (this.#peek("[") || this.#peek("-")) throw this.#refused("class within a class");
      const high = this.#member();
      const [from, to] = [low, high].map((set) => (set.length === 1 && set[0][0] === set[0][1] ? set[0][0] : NaN));
      if (!(from <= to)) throw this.#refused("range of these characters");
      ranges.push([from, to]);
    }
    this.at++;
    const all = this.flags.has("i") ? caseless(normalized(ranges)) : ranges;
    if (all === null) throw this.#refused("letters beyond ASCII without case");
    return isNegated ? negated(all) : all;
  }

  #member() {
    const character = this.#next("a class");
    if (character === "\\") return this.#escape();
    return [[character.codePointAt(0), character.codePointAt(0)]];
  }
}
