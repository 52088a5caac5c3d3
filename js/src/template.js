// Chat templates: the part of jinja2's language that the templates of small models need, and no more. Text, `for` over
// a list, `if`, strings, names, members, `+`, comparisons, `and`, `or`, `not`. A template that comes to anything else
// (filters, calls, assignments), or has macros, is refused: that nobody takes a difference between two engines for a
// lie of a receipt's maker.

import { markControlTexts } from "./controls.js";
import { InputError } from "./sources.js";
import { parseStrict } from "./strict.js";

const TAGS = /\{(%|\{|#)([-+]?)([\s\S]*?)([-+]?)(%|\}|#)\}/g;
const TOKENS = /\s*(?:('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(\d+)|([A-Za-z_]\w*)|(==|!=|[+[\].()]))/y;
const ESCAPES = { n: "\n", t: "\t", "\\": "\\", "'": "'", '"': '"' };
const KEYWORDS = ["and", "or", "not", "in", "is", "if", "else"];
const CLOSERS = { "%": "%", "{": "}", "#": "#" };
const MOST_OUTPUT = 16_000_000;
/** Behind the content of a message that is to be continued, to find its end in the prompt; as in Python. */
const END_MARK = "intactEndOfUnfinishedMessage7c1f";

const unsupported = (what) =>
  new InputError(`the chat template has ${what}, which this program does not render`, "template");

/** Return the parts of a template: texts, and code between brackets; blocks are trimmed as chat templates expect. */
function partsOf(template) {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const parts = [];
  let end = 0;
  for (const match of source.matchAll(TAGS)) {
    const [whole, kind, left, code, right, close] = match;
    if (CLOSERS[kind] !== close || left === "+" || right === "+") throw unsupported(`the tag ${whole.slice(0, 40)}`);
    let text = source.slice(end, match.index);
    if (left === "-") text = text.trimEnd();
    else if (kind !== "{") {
      const begins = end === 0 || source[end - 1] === "\n";
      text = text.replace(/(^|\n)[ \t]*$/, (space, line) => (line || begins ? line : space));
    }
    parts.push({ text }, ...(kind === "#" ? [] : [{ kind, code: code.trim() }]));
    end = match.index + whole.length;
    if (right === "-") end += /^\s*/.exec(source.slice(end))[0].length;
    else if (kind !== "{" && source[end] === "\n") end++;
  }
  return [...parts, { text: source.slice(end) }].filter(({ text }) => text !== "");
}

function tokensOf(code) {
  const tokens = [];
  TOKENS.lastIndex = 0;
  while (TOKENS.lastIndex < code.trimEnd().length) {
    const match = TOKENS.exec(code);
    if (!match) throw unsupported(JSON.stringify(code.slice(0, 60)));
    const [, string, number, name, sign] = match;
    if (string !== undefined) tokens.push({ value: unescape(string.slice(1, -1)) });
    else if (number !== undefined) tokens.push({ value: Number(number) });
    else tokens.push({ word: name ?? sign, isName: name !== undefined });
  }
  return tokens;
}

function unescape(text) {
  return text.replace(/\\([\s\S])/g, (_, letter) => {
    if (!(letter in ESCAPES)) throw unsupported(`the escape \\${letter}`);
    return ESCAPES[letter];
  });
}

// Expressions become functions of the variables.
class Expression {
  constructor(code) {
    this.tokens = tokensOf(code);
    this.at = 0;
  }

  // What is not supported is an error only where the template comes to it.
  static of(code) {
    try {
      const made = new Expression(code);
      const value = made.either();
      if (made.at < made.tokens.length) throw unsupported(JSON.stringify(code.slice(0, 60)));
      return value;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  }

  takes(word) {
    if (this.tokens[this.at]?.word !== word) return false;
    this.at++;
    return true;
  }

  demand(word) {
    if (!this.takes(word)) throw unsupported(`an expression without ${word}`);
  }

  either() {
    let left = this.both();
    while (this.takes("or")) {
      const [a, b] = [left, this.both()];
      left = (scope) => (truth(a(scope)) ? a(scope) : b(scope));
    }
    return left;
  }

  both() {
    let left = this.negation();
    while (this.takes("and")) {
      const [a, b] = [left, this.negation()];
      left = (scope) => (truth(a(scope)) ? b(scope) : a(scope));
    }
    return left;
  }

  negation() {
    if (!this.takes("not")) return this.comparison();
    const value = this.negation();
    return (scope) => !truth(value(scope));
  }

  comparison() {
    const left = this.sum();
    for (const [sign, wanted] of [
      ["==", true],
      ["!=", false],
    ]) {
      if (this.takes(sign)) {
        const right = this.sum();
        return (scope) => same(left(scope), right(scope)) === wanted;
      }
    }
    if (this.takes("is")) {
      const wanted = !this.takes("not");
      this.demand("defined");
      return (scope) => (left(scope) !== undefined) === wanted;
    }
    return left;
  }

  sum() {
    let left = this.member();
    while (this.takes("+")) {
      const [a, b] = [left, this.member()];
      left = (scope) => {
        const [x, y] = [a(scope), b(scope)];
        if (typeof x !== "string" || typeof y !== "string")
          throw new InputError("the chat template adds what is no text");
        return x + y;
      };
    }
    return left;
  }

  member() {
    let value = this.primary();
    for (;;) {
      const owner = value;
      if (this.takes("[")) {
        const key = this.either();
        this.demand("]");
        value = (scope) => memberOf(owner(scope), key(scope));
      } else if (this.takes(".")) {
        const { word, isName } = this.tokens[this.at++] ?? {};
        if (!isName) throw unsupported("a member without a name");
        value = (scope) => memberOf(owner(scope), word);
      } else return value;
    }
  }

  primary() {
    const token = this.tokens[this.at++];
    if (token && "value" in token) return () => token.value;
    if (token?.word === "(") {
      const value = this.either();
      this.demand(")");
      return value;
    }
    if (!token?.isName || KEYWORDS.includes(token.word)) throw unsupported("an expression that ends early");
    if (this.tokens[this.at]?.word === "(") throw unsupported(`a call of ${token.word}`);
    const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
    if (Object.hasOwn(constants, token.word)) return () => constants[token.word];
    return (scope) => (Object.hasOwn(scope, token.word) ? scope[token.word] : undefined);
  }
}

const truth = (x) =>
  Array.isArray(x) ? x.length > 0 : x !== null && typeof x === "object" ? Object.keys(x).length > 0 : Boolean(x);
const plain = (x) => x === null || typeof x !== "object";

function same(a, b) {
  if (!plain(a) || !plain(b)) throw unsupported("a comparison of lists or objects");
  return a === b || (typeof a === "boolean" && Number(a) === b) || (typeof b === "boolean" && Number(b) === a);
}

function memberOf(owner, key) {
  if (owner === undefined) throw new InputError("the chat template asks for a member of what is not there");
  if (Array.isArray(owner) && Number.isInteger(key)) return owner.at(key);
  if (owner !== null && typeof owner === "object" && typeof key === "string" && !Array.isArray(owner)) {
    if (!Object.hasOwn(owner, key) && ["items", "keys", "values", "get", "pop", "copy", "update"].includes(key))
      throw unsupported(`the method ${key}`);
    return Object.hasOwn(owner, key) ? owner[key] : undefined;
  }
  throw unsupported("a member of a text or number");
}

// The parts up to one of the tags that end a block, as functions that write; returns them and that tag.
function block(parts, ends) {
  const writers = [];
  for (let part; (part = parts.shift()) !== undefined;) {
    if (part.text !== undefined) {
      writers.push((_, write) => write(part.text));
      continue;
    }
    if (part.kind === "{") {
      const value = Expression.of(part.code);
      writers.push((scope, write) => write(shown(value(scope))));
      continue;
    }
    const [word, ...rest] = part.code.split(/\s+/);
    const code = part.code.slice(word.length).trim();
    if (ends.includes(word)) return [writers, word, code];
    if (word === "if") writers.push(choice(parts, code));
    else if (word === "for" && rest[1] === "in")
      writers.push(loop(parts, rest[0], code.slice(code.indexOf(" in ") + 4)));
    else if (word === "set" && code.includes("=")) {
      writers.push(() => {
        throw unsupported("an assignment");
      });
    } else throw unsupported(`the tag ${word}`);
  }
  if (ends.length) throw unsupported("a block without an end");
  return [writers, null, ""];
}

function choice(parts, first) {
  const branches = [];
  for (let word = "if", code = first; word !== "endif";) {
    const condition = word === "else" ? () => true : Expression.of(code);
    const [writers, next, rest] = block(parts, ["elif", "else", "endif"]);
    branches.push([condition, writers]);
    [word, code] = [next, rest];
  }
  return (scope, write) => {
    const found = branches.find(([condition]) => truth(condition(scope)));
    for (const writer of found?.[1] ?? []) writer(scope, write);
  };
}

function loop(parts, name, code) {
  const list = Expression.of(code);
  const [writers] = block(parts, ["endfor"]);
  return (scope, write) => {
    const items = list(scope);
    if (!Array.isArray(items)) throw unsupported("a loop over what is no list");
    items.forEach((item, i) => {
      const place = { first: i === 0, last: i === items.length - 1, index: i + 1, index0: i, length: items.length };
      for (const writer of writers) writer({ ...scope, [name]: item, loop: place }, write);
    });
  };
}

function shown(value) {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  throw unsupported("a value that is written and is no text");
}

/**
 * Render a chat template.
 *
 * @param {string} template
 * @param {object} variables `messages`, and what else the template knows.
 * @throws {InputError} With `what` "template" if it is beyond what this program renders; else if it fails on the variables.
 */
export function render(template, variables) {
  const [writers] = block(partsOf(template), []);
  let text = "";
  for (const writer of writers) {
    writer(variables, (piece) => {
      text += piece;
      if (text.length > MOST_OUTPUT) throw new InputError("the chat template writes too much", "template");
    });
  }
  return text;
}

/**
 * Turn a source of kind "chat" (docs/spec/receipts.md) into tokens.
 *
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 * @param {string} text JSON with `messages` and further variables.
 * @param {"text"} [contents] That control tokens which these spell are text; else they become tokens.
 */
export function encodeChat(tokenizer, text, contents) {
  let given;
  try {
    given = parseStrict(text);
  } catch (error) {
    throw new InputError(`request.source.text is not valid JSON: ${error.message}`);
  }
  if (given === null || typeof given !== "object" || !Array.isArray(given.messages)) {
    throw new InputError("request.source.text must be a JSON object with a list of messages");
  }
  const made = encodeConversation(tokenizer, given, contents !== "text");
  if (contents !== undefined && !made.spells)
    throw new InputError("request.source.contents must be absent, as no content spells a control token");
  return made.tokens;
}

/**
 * Turn a conversation into tokens, by the model's chat template.
 *
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 * @param {object} given `messages`, of which the last may be unfinished, and further variables.
 * @param {boolean} [readsControlTokens] That control tokens which these spell become those tokens; else they are text.
 * @returns {{ tokens: number[], spells: boolean }} `spells`: whether they spell control tokens, and these are text.
 */
export function encodeConversation(tokenizer, given, readsControlTokens = false) {
  const marked = readsControlTokens ? null : markControlTexts(tokenizer.controlTexts, given);
  if (marked === null)
    return { spells: false, tokens: tokenizer.encode(renderChat(tokenizer, given), { around: false }) };
  const parts = marked.split(renderChat(tokenizer, marked.values));
  const tokens = parts.flatMap(({ text, isContent }) => tokenizer.encode(text, { special: !isContent, around: false }));
  return { spells: true, tokens };
}

/** Write a conversation as the model's chat template does; the last message may be unfinished, and the assistant's. */
function renderChat(tokenizer, given) {
  const templates = tokenizer.templates;
  if (templates === null) throw new InputError(`${tokenizer.name} has no chat template`);
  const { messages } = given;
  const misshapen = messages.findIndex(
    (message) =>
      message === null ||
      typeof message !== "object" ||
      typeof message.role !== "string" ||
      Object.keys(message).length === 1,
  );
  if (!messages.length || misshapen >= 0)
    throw new InputError("messages must be turns like {role: 'user', content: 'Hello'}");
  const template =
    given.tools !== undefined && given.tools !== null && templates.length > 1 ? templates[1] : templates[0];
  const { continue_final_message: unfinished = false, ...own } = given;
  if (typeof unfinished !== "boolean") throw new InputError("continue_final_message must be true or false");
  const usual = { bos_token: "", eos_token: "", tools: null, documents: null, ...tokenizer.named };
  const variables = { ...usual, add_generation_prompt: true, ...own };
  if (!unfinished) return render(template, variables);
  const begun = render(template, { ...variables, messages: marked(messages), add_generation_prompt: false });
  const end = begun.lastIndexOf(END_MARK);
  if (end < 0) throw new InputError(`the chat template of ${tokenizer.name} leaves out the last message`);
  return begun.slice(0, end);
}

/** Return messages with a mark at the end of the last one, which the assistant has not finished. */
function marked(messages) {
  const last = messages.at(-1);
  const calls = Array.isArray(last.tool_calls) && last.tool_calls.length > 0;
  if (last.role !== "assistant" || calls || typeof last.content !== "string" || last.content === "")
    throw new InputError("the last message cannot be continued: it must be an assistant message with text and no tool calls");
  return [...messages.slice(0, -1), { ...last, content: last.content + END_MARK }];
}
