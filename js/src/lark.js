// Grammars in Lark's notation, as far as llguidance and this package read it: rules, terminals, %ignore.

import { ConstraintError, EMPTY, literal } from "./automata.js";
import { caseless } from "./charset.js";
import { parseRegex } from "./regex.js";

const TOKENS = [
  ["space", /[ \t\f]+|\/\/[^\n]*|#[^\n]*/y],
  ["line", /\r?\n/y],
  ["directive", /%[a-z]+/y],
  ["string", /"(?:[^"\\\n]|\\.)*"i?/y],
  ["regex", /\/(?!\/)(?:[^/\\\n]|\\.)+\/[a-z]*/y],
  ["name", /[!?]{0,2}_?[A-Za-z][A-Za-z0-9_-]*/y],
  ["number", /\d+/y],
  ["mark", /\.\.|->|[:|()[\]?*+~,]/y],
];
const MOST_REPEATS = 1000;
const MOST_DEPTH = 100;

/**
 * Compile a grammar.
 *
 * @param {string} source
 * @returns {object} A grammar for `Automaton`.
 * @throws {ConstraintError} If it has a form that is not known here.
 */
export function parseLark(source) {
  return new Compiler(new Reader(source).definitions()).grammar();
}

function refused(what, line) {
  return new ConstraintError(`this program reads no ${what} in a grammar${line ? ` (line ${line})` : ""}`);
}

const isTerminal = (name) => /^_?[A-Z]/.test(name) && name === name.toUpperCase();

// Reads definitions: names with expressions, whose leaves are ["string", ...], ["regex", ...], ["range", ...], ["name", ...].
class Reader {
  constructor(source) {
    this.tokens = [];
    this.at = 0;
    this.depth = 0;
    let line = 1;
    for (let at = 0; at < source.length;) {
      const found = TOKENS.map(([kind, pattern]) => {
        pattern.lastIndex = at;
        return [kind, pattern.exec(source)?.[0]];
      }).find(([, text]) => text !== undefined);
      if (!found) throw refused(`${JSON.stringify(source.slice(at, at + 12))}`, line);
      const [kind, text] = found;
      if (kind === "line") line++;
      if (kind !== "space") this.tokens.push({ kind, text, line });
      at += text.length;
    }
    this.tokens.push({ kind: "end", text: "the end", line });
  }

  definitions() {
    const [rules, terminals, ignored] = [new Map(), new Map(), []];
    for (;;) {
      while (this.#take("line"));
      const { kind, text, line } = this.#next();
      if (kind === "end") return { rules, terminals, ignored };
      if (kind === "directive" && text === "%ignore") ignored.push(this.#alternatives());
      else if (kind === "name" && this.#take("mark", ":")) {
        const name = text.replace(/^[!?]+/, "");
        const of = isTerminal(name) ? terminals : rules;
        if (of.has(name)) throw refused(`second ${name}`, line);
        of.set(name, this.#alternatives());
      } else throw refused(`${JSON.stringify(text)} at this place`, line);
      if (this.#peek().kind !== "end" && !this.#take("line")) throw refused(`${JSON.stringify(this.#peek().text)} at this place`, line);
    }
  }

  #peek() {
    return this.tokens[this.at];
  }

  #next() {
    const token = this.tokens[this.at];
    if (token.kind !== "end") this.at++;
    return token;
  }

  #take(kind, text) {
    const token = this.#peek();
    if (token.kind !== kind || (text !== undefined && token.text !== text)) return null;
    return this.#next();
  }

  // A definition goes on in the next line where that begins with |, and within brackets.
  #alternatives() {
    if (++this.depth > MOST_DEPTH) throw refused("so many nested brackets", this.#peek().line);
    const ways = [this.#sequence()];
    for (;;) {
      const before = this.at;
      while (this.#take("line"));
      if (!this.#take("mark", "|")) {
        if (this.depth === 1) this.at = before;
        break;
      }
      ways.push(this.#sequence());
    }
    this.depth--;
    return ways.length === 1 ? ways[0] : ["alt", ...ways];
  }

  #sequence() {
    const parts = [];
    for (;;) {
      if (this.depth > 1) while (this.#take("line"));
      const part = this.#item();
      if (part === null) break;
      parts.push(part);
    }
    if (this.#take("mark", "->") && !this.#take("name")) throw refused("alias without a name", this.#peek().line);
    return parts.length === 1 ? parts[0] : ["cat", ...parts];
  }

  #item() {
    const { kind, text, line } = this.#peek();
    let part;
    if (this.#take("string")) part = this.#take("mark", "..") ? ["range", text, this.#end(line)] : ["string", text, line];
    else if (this.#take("regex")) part = ["regex", text, line];
    else if (kind === "name" && this.tokens[this.at + 1].text !== ":" && this.#next()) part = ["name", text, line];
    else if (this.#take("mark", "(")) part = this.#bracketed(")");
    else if (this.#take("mark", "[")) part = ["repeat", this.#bracketed("]"), 0, 1];
    else return null;
    for (;;) {
      if (this.#take("mark", "?")) part = ["repeat", part, 0, 1];
      else if (this.#take("mark", "*")) part = ["repeat", part, 0, Infinity];
      else if (this.#take("mark", "+")) part = ["repeat", part, 1, Infinity];
      else if (this.#take("mark", "~")) part = ["repeat", part, ...this.#counts(line)];
      else return part;
    }
  }

  #end(line) {
    const token = this.#take("string");
    if (!token) throw refused("range without an end", line);
    return token.text;
  }

  #bracketed(close) {
    const found = this.#alternatives();
    if (!this.#take("mark", close)) throw refused(`bracket without ${close}`, this.#peek().line);
    return found;
  }

  #counts(line) {
    const number = () => {
      const token = this.#take("number");
      if (!token || Number(token.text) > MOST_REPEATS) throw refused("such a number after ~", line);
      return Number(token.text);
    };
    const least = number();
    const most = this.#take("mark", "..") ? number() : least;
    if (most < least) throw refused("such a range after ~", line);
    return [least, most];
  }
}

// Makes of definitions rules over terminals, which are regular.
class Compiler {
  constructor({ rules, terminals, ignored }) {
    this.definitions = { rules, terminals, ignored };
    this.terminals = [];
    this.numbers = new Map();
    this.open = new Set();
    this.texts = new Map();
  }

  grammar() {
    const { rules, ignored } = this.definitions;
    if (!rules.has("start")) throw refused("grammar without a rule start");
    const made = Object.fromEntries([...rules].map(([name, expression]) => [name, this.#rule(expression)]));
    const space = ignored.map((expression) => this.#text(expression));
    const skip = space.length ? this.#terminal(["repeat", ["alt", ...space], 1, Infinity])[1] : null;
    return { terminals: this.terminals, rules: made, skip };
  }

  #terminal(expression) {
    const key = JSON.stringify(expression);
    if (!this.numbers.has(key)) this.numbers.set(key, this.terminals.push({ expression }) - 1);
    return ["terminal", this.numbers.get(key)];
  }

  #rule(expression) {
    const [kind, ...parts] = expression;
    if (kind === "name" && !isTerminal(parts[0])) {
      if (!this.definitions.rules.has(parts[0])) throw refused(`rule ${parts[0]}, which is not defined,`, parts[1]);
      return ["rule", parts[0]];
    }
    if (["name", "string", "regex", "range"].includes(kind)) {
      const text = this.#text(expression);
      return text.length === 1 ? EMPTY : this.#terminal(text);
    }
    if (kind === "repeat") return [kind, this.#rule(parts[0]), parts[1], parts[2]];
    return [kind, ...parts.map((part) => this.#rule(part))];
  }

  // The regular expression of a terminal.
  #text([kind, ...parts]) {
    if (kind === "string") return stringOf(...parts);
    if (kind === "regex") return regexOf(...parts);
    if (kind === "range") {
      const [from, to] = parts.map((text) => Array.from(unquoted(text)));
      if (from.length !== 1 || to.length !== 1 || from[0] > to[0]) throw refused(`range ${parts.join("..")}`);
      return ["set", [[from[0].codePointAt(0), to[0].codePointAt(0)]]];
    }
    if (kind === "name") return this.#named(...parts);
    if (kind === "repeat") return [kind, this.#text(parts[0]), parts[1], parts[2]];
    return [kind, ...parts.map((part) => this.#text(part))];
  }

  #named(name, line) {
    const expression = this.definitions.terminals.get(name);
    if (!isTerminal(name) || expression === undefined) throw refused(`${name}, which is no terminal that is defined,`, line);
    if (this.open.has(name)) throw refused(`terminal ${name} of itself`, line);
    if (!this.texts.has(name)) {
      this.open.add(name);
      this.texts.set(name, this.#text(expression));
      this.open.delete(name);
    }
    return this.texts.get(name);
  }
}

function unquoted(text, line) {
  try {
    return JSON.parse(text);
  } catch {
    throw refused(`string ${text.slice(0, 40)}`, line);
  }
}

function stringOf(text, line) {
  const isCaseless = text.endsWith("i");
  const [kind, ...parts] = literal(unquoted(isCaseless ? text.slice(0, -1) : text, line));
  if (!isCaseless) return [kind, ...parts];
  const sets = parts.map(([, ranges]) => caseless(ranges));
  if (sets.includes(null)) throw refused("letters beyond ASCII without case", line);
  return [kind, ...sets.map((ranges) => ["set", ranges])];
}

function regexOf(text, line) {
  const end = text.lastIndexOf("/");
  const flags = text.slice(end + 1).replace(/u/g, "");
  if (/[^is]/.test(flags)) throw refused(`flags ${flags} of a regular expression`, line);
  return parseRegex(text.slice(1, end).replace(/\\\//g, "/"), { flags });
}
