// JSON schemas as grammars, with the texts that llguidance allows: properties in the order of the schema, and little space.

import { ConstraintError, EMPTY, literal } from "./automata.js";
import { intersection, negated, normalized } from "./charset.js";
import definitions from "./definitions.js";
import { parseRegex } from "./regex.js";
import { parseStrict } from "./strict.js";

/** Space between the parts of JSON. */
const SPACE = parseRegex(definitions.json_space);
const NOTES = new Set(
  "title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions".split(" "),
);
const OF_TYPE = {
  string: ["minLength", "maxLength", "pattern"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  number: [],
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  boolean: [],
  null: [],
};
const TYPES = ["null", "boolean", "number", "string", "array", "object"];
const MOST_ITEMS = 1000;
const INTEGER = "-?(?:0|[1-9][0-9]*)";
const NUMBER = parseRegex(`${INTEGER}(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`);

const SHORT = { 0x08: "b", 0x09: "t", 0x0a: "n", 0x0c: "f", 0x0d: "r" };
const CONTROLS = [
  [0, 0x1f],
  [0x7f, 0x7f],
];
const ESCAPED = [...CONTROLS, [0x22, 0x22], [0x5c, 0x5c]];
const RAW = negated(ESCAPED);

const both = (digit) => [...new Set([digit, digit.toUpperCase()])].map((one) => [one.charCodeAt(0), one.charCodeAt(0)]);

/** The expression of a character of a set within a JSON string. */
function quotedSet(ranges) {
  const ways = [];
  const raw = intersection(ranges, RAW);
  if (raw.length) ways.push(["set", raw]);
  for (const [low, high] of intersection(ranges, ESCAPED)) {
    for (let code = low; code <= high; code++) {
      if (code === 0x22 || code === 0x5c) ways.push(literal(`\\${String.fromCharCode(code)}`));
      else {
        if (SHORT[code]) ways.push(literal(`\\${SHORT[code]}`));
        const digits = Array.from(code.toString(16).padStart(2, "0"), (digit) => ["set", normalized(both(digit))]);
        ways.push(["cat", literal("\\u00"), ...digits]);
      }
    }
  }
  return ways.length === 1 ? ways[0] : ["alt", ...ways];
}

/** An expression of characters as it is written within a JSON string. */
function quoted([kind, ...parts]) {
  if (kind === "set") return quotedSet(parts[0]);
  if (kind === "repeat") return [kind, quoted(parts[0]), parts[1], parts[2]];
  return [kind, ...parts.map(quoted)];
}

const inQuotes = (expression) => ["cat", literal('"'), expression, literal('"')];
const textOf = (text) => inQuotes(quoted(literal(text)));
const CHARACTER = quotedSet(negated([]));
const STRING = inQuotes(["repeat", CHARACTER, 0, Infinity]);

/**
 * Compile a JSON schema.
 *
 * @param {string} source Its text.
 * @returns {object} A grammar for `Automaton`.
 * @throws {ConstraintError} If it has a keyword that is not known here.
 */
export function parseSchema(source) {
  let schema;
  try {
    schema = parseStrict(source);
  } catch (error) {
    throw new ConstraintError(`the schema is not JSON that is supported here: ${error.message}`);
  }
  return new Compiler(schema, source).grammar();
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

class Compiler {
  constructor(schema, source) {
    this.schema = schema;
    this.terminals = [];
    this.numbers = new Map(); // of terminals, by what they match
    this.rules = {};
    this.references = new Map();
    const withoutStrings = source.replace(/"(?:[^"\\]|\\.)*"/g, '""');
    this.hasFractions = /[0-9][.eE]/.test(withoutStrings);
  }

  grammar() {
    if (!isObject(this.schema)) throw this.#unknown("a schema that is no object");
    this.rules.start = this.#value(this.schema);
    const skip = this.#terminal(SPACE)[1];
    return { terminals: this.terminals, rules: this.rules, skip };
  }

  #unknown(what) {
    return new ConstraintError(`this program compiles no ${what}`);
  }

  #terminal(expression, except) {
    const key = JSON.stringify([expression, except]);
    if (!this.numbers.has(key)) this.numbers.set(key, this.terminals.push({ expression, except }) - 1);
    return ["terminal", this.numbers.get(key)];
  }

  #mark(text) {
    return this.#terminal(literal(text));
  }

  // A rule that is made when it is first asked for.
  #rule(name, make) {
    if (this.rules[name] === undefined) {
      this.rules[name] = EMPTY;
      this.rules[name] = make();
    }
    return ["rule", name];
  }

  #any() {
    return this.#rule("any", () => this.#typed({}, TYPES));
  }

  #value(schema) {
    if (schema === true) return this.#any();
    if (!isObject(schema)) throw this.#unknown(`schema ${JSON.stringify(schema)?.slice(0, 40)}`);
    const own = Object.keys(schema).filter((key) => !NOTES.has(key));
    if (!own.length) return this.#any();
    const alone = (key) => {
      if (own.length > 1) throw this.#unknown(`${key} beside ${own.find((one) => one !== key)} in a schema`);
    };
    if (own.includes("$ref")) return alone("$ref"), this.#reference(schema.$ref);
    for (const key of ["anyOf", "oneOf", "allOf"]) {
      if (!own.includes(key)) continue;
      alone(key);
      const ways = schema[key];
      if (!Array.isArray(ways) || !ways.length || (key === "allOf" && ways.length > 1)) throw this.#unknown(`such ${key}`);
      return ways.length === 1 ? this.#value(ways[0]) : ["alt", ...ways.map((way) => this.#value(way))];
    }
    if (own.includes("const")) return alone("const"), this.#constant(schema.const);
    const types = schema.type === undefined ? null : [schema.type].flat();
    if (own.includes("enum")) return this.#enumeration(schema.enum, types, own);
    const rest = own.filter((key) => key !== "type");
    const wrong = types?.find((type) => typeof type !== "string" || !Object.hasOwn(OF_TYPE, type));
    if (wrong !== undefined || types?.length === 0) throw this.#unknown(`type ${JSON.stringify(wrong)} in a schema`);
    for (const key of rest) {
      if (!(types ?? TYPES).some((type) => OF_TYPE[type].includes(key)))
        throw this.#unknown(`${JSON.stringify(key)} at this place of a schema`);
    }
    return this.#typed(schema, types ?? TYPES);
  }

  #typed(schema, types) {
    const ways = types.map((type) => this[`${type}Of`](schema));
    return ways.length === 1 ? ways[0] : ["alt", ...ways];
  }

  #reference(name) {
    const path = typeof name === "string" && /^#(\/[^/%~]+)*$/.test(name) ? name.split("/").slice(1) : null;
    const target = path?.reduce((at, key) => (isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined), this.schema);
    if (target === undefined) throw this.#unknown(`reference to ${JSON.stringify(name)?.slice(0, 60)}`);
    return this.#rule(`ref ${name}`, () => this.#value(target));
  }

  #enumeration(values, types, own) {
    const beside = own.find((key) => key !== "enum" && key !== "type");
    if (beside !== undefined || !Array.isArray(values)) throw this.#unknown(`enum beside ${beside} in a schema`);
    const fits = (value) =>
      types === null ||
      types.some((type) => {
        if (type === "integer" || type === "number") return typeof value === "number";
        if (type === "array") return Array.isArray(value);
        if (type === "null") return value === null;
        return type === "object" ? isObject(value) : typeof value === type;
      });
    const ways = values.filter(fits).map((value) => this.#constant(value));
    if (!ways.length) throw this.#unknown("enum without values");
    return ways.length === 1 ? ways[0] : ["alt", ...ways];
  }

  #constant(value) {
    if (typeof value === "string") return this.#terminal(textOf(value));
    if (Array.isArray(value)) return this.#list(value.map((one) => this.#constant(one)));
    if (isObject(value)) {
      const pairs = this.#names(value).map((name) => [this.#mark2(name), this.#mark(":"), this.#constant(value[name])]);
      return this.#listed("{", pairs.map((pair) => ["cat", ...pair]), "}");
    }
    if (typeof value === "number" && (this.hasFractions || !Number.isSafeInteger(value)))
      throw this.#unknown("fraction in an enum or const");
    return this.#mark(JSON.stringify(value));
  }

  #mark2(name) {
    return this.#terminal(textOf(name));
  }

  // Names in the order of the text, which JavaScript does not keep for those that look like integers.
  #names(object) {
    const names = Object.keys(object);
    if (names.some((name) => /^\d+$/.test(name))) throw this.#unknown("property with a number for a name");
    return names;
  }

  #list(items) {
    return this.#listed("[", items, "]");
  }

  #listed(open, items, close) {
    const comma = this.#mark(",");
    return ["cat", this.#mark(open), ...items.flatMap((item, i) => (i ? [comma, item] : [item])), this.#mark(close)];
  }

  nullOf() {
    return this.#mark("null");
  }

  booleanOf() {
    return ["alt", this.#mark("true"), this.#mark("false")];
  }

  numberOf(schema) {
    for (const key of OF_TYPE.integer) if (schema[key] !== undefined) throw this.#unknown(`${key} of a number`);
    return this.#terminal(NUMBER);
  }

  integerOf(schema) {
    const whole = (key) => {
      const value = schema[key];
      if (value !== undefined && !Number.isSafeInteger(value)) throw this.#unknown(`${key} that is no integer`);
      return value;
    };
    const [from, to] = [whole("minimum"), whole("maximum")];
    const [above, below] = [whole("exclusiveMinimum"), whole("exclusiveMaximum")];
    const low = Math.max(from ?? -Infinity, above === undefined ? -Infinity : above + 1);
    const high = Math.min(to ?? Infinity, below === undefined ? Infinity : below - 1);
    if (low > high) throw this.#unknown("range of integers without any");
    if (low === -Infinity && high === Infinity) return this.#terminal(parseRegex(INTEGER));
    return this.#terminal(parseRegex(integers(low, high)));
  }

  stringOf({ minLength, maxLength, pattern }) {
    if (minLength === undefined && maxLength === undefined && pattern === undefined) return this.#terminal(STRING);
    if (pattern === undefined) {
      const [least, most] = [minLength ?? 0, maxLength ?? Infinity];
      const isCount = (value) => Number.isSafeInteger(value) && value >= 0 && value <= MOST_ITEMS;
      if (!isCount(least) || !(most === Infinity || (isCount(most) && most >= least)))
        throw this.#unknown("such a length of a string");
      return this.#terminal(inQuotes(["repeat", CHARACTER, least, most]));
    }
    if (typeof pattern !== "string" || minLength !== undefined || maxLength !== undefined)
      throw this.#unknown("pattern beside a length");
    return this.#terminal(inQuotes(quoted(parseRegex(pattern, { isSearch: true }))));
  }

  arrayOf({ items = true, prefixItems = [], minItems = 0, maxItems = Infinity }) {
    const isCount = (value) => Number.isSafeInteger(value) && value >= 0 && value <= MOST_ITEMS;
    if (Array.isArray(items) || !Array.isArray(prefixItems)) throw this.#unknown("such items");
    if (!isCount(minItems) || !(maxItems === Infinity || isCount(maxItems))) throw this.#unknown("such a number of items");
    const most = items === false ? Math.min(maxItems, prefixItems.length) : maxItems;
    if (minItems > most) throw this.#unknown("array that can have no such number of items");
    const firsts = prefixItems.slice(0, most).map((item) => this.#value(item));
    const more = most > firsts.length ? this.#value(items) : null;
    const comma = this.#mark(",");
    const item = (i) => ["cat", ...(i ? [comma] : []), firsts[i] ?? more];
    // From the last item on: each may be followed by the next one.
    const fixed = Math.max(firsts.length, minItems, 1);
    let tail = EMPTY;
    if (most > fixed) tail = ["repeat", ["cat", comma, more], 0, most === Infinity ? Infinity : most - fixed];
    for (let i = Math.min(fixed, most) - 1; i >= 0; i--) {
      tail = ["cat", item(i), tail];
      if (i >= minItems) tail = ["alt", EMPTY, tail];
    }
    return ["cat", this.#mark("["), tail, this.#mark("]")];
  }

  objectOf({ properties = {}, required = [], additionalProperties = true }) {
    if (!isObject(properties) || !Array.isArray(required) || required.some((name) => typeof name !== "string"))
      throw this.#unknown("such properties");
    const extra = additionalProperties === false ? null : () => this.#value(additionalProperties);
    const listed = this.#names(properties);
    const others = required.filter((name) => !listed.includes(name));
    if (others.length && extra === null) throw this.#unknown("object without a property that it must have");
    if (listed.some((name) => properties[name] === false)) throw this.#unknown("property that must not be");
    const colon = this.#mark(":");
    const pairs = [...listed, ...new Set(others)].map((name) => ({
      isRequired: required.includes(name),
      pair: ["cat", this.#mark2(name), colon, listed.includes(name) ? this.#value(properties[name]) : extra()],
    }));
    const names = [...listed, ...others].map(textOf);
    const except = names.length ? ["alt", ...names] : undefined;
    const more = extra && ["cat", this.#terminal(STRING, except), colon, extra()];
    return ["cat", this.#mark("{"), this.#members(pairs, more), this.#mark("}")];
  }

  // Members in their order: those behind one depend only on whether any stands before them.
  #members(pairs, more) {
    const comma = this.#mark(",");
    const number = Object.keys(this.rules).length;
    const name = (i, isFirst) => `members ${number} ${i} ${isFirst}`;
    const then = (i, isFirst, pair) => ["cat", ...(isFirst ? [] : [comma]), pair, ["rule", name(i + 1, false)]];
    for (const isFirst of [true, false]) {
      pairs.forEach(({ isRequired, pair }, i) => {
        const taken = then(i, isFirst, pair);
        this.rules[name(i, isFirst)] = isRequired ? taken : ["alt", taken, ["rule", name(i + 1, isFirst)]];
      });
      const rest = more && ["cat", more, ["repeat", ["cat", comma, more], 0, Infinity]];
      const others = isFirst ? rest : more && ["cat", comma, ...rest.slice(1)];
      this.rules[name(pairs.length, isFirst)] = more ? ["alt", EMPTY, others] : EMPTY;
    }
    return ["rule", name(0, true)];
  }
}

// A regular expression of the integers from low to high, without leading zeros; between two bounds -0 is one, as in llguidance.
function integers(low, high) {
  const ways = [];
  const least = high < 0 ? -high : high === Infinity || low === -Infinity ? 1 : 0;
  if (low < 0) ways.push(...naturals(least, -low).map((way) => `-${way}`));
  if (high >= 0) ways.push(...naturals(Math.max(low, 0), high));
  return `(?:${ways.join("|")})`;
}

function naturals(low, high) {
  const ways = [];
  if (low === 0) {
    ways.push("0");
    low = 1;
  }
  for (let length = String(low).length; low <= high; length++) {
    const last = 10 ** length - 1;
    if (high === Infinity && low === 10 ** (length - 1)) return [...ways, `[1-9][0-9]{${length - 1},}`];
    ways.push(...ofLength(String(low), String(Math.min(high, last))));
    low = last + 1;
  }
  return ways;
}

// Numbers of as many digits as both bounds have.
function ofLength(low, high) {
  const digits = low.length - 1;
  const first = (from, to) => (from === to ? from : `[${from}-${to}]`);
  if (!digits) return [first(low, high)];
  const free = digits === 1 ? "[0-9]" : `[0-9]{${digits}}`;
  const [isLeast, isMost] = [/^.0*$/.test(low), /^.9*$/.test(high)];
  if (isLeast && isMost) return [first(low[0], high[0]) + free];
  if (low[0] === high[0]) return ofLength(low.slice(1), high.slice(1)).map((way) => low[0] + way);
  if (!isLeast) {
    const rest = ofLength(low.slice(1), "9".repeat(digits)).map((way) => low[0] + way);
    return [...rest, ...ofLength(`${Number(low[0]) + 1}${"0".repeat(digits)}`, high)];
  }
  const rest = ofLength("0".repeat(digits), high.slice(1)).map((way) => high[0] + way);
  return [...ofLength(low, `${Number(high[0]) - 1}${"9".repeat(digits)}`), ...rest];
}
