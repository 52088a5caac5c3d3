// Which bytes may follow a text under a constraint: terminals as byte automata, rules above them, as llguidance reads them.
//
// A lexer reads the longest terminal that the rules allow at a place, and the rules then go on. A state is thus a place in
// the rules and one in the terminals allowed there; states are made when they are first met, and kept.
//
// An expression is a list: ["set", ranges of code points], ["cat", ...], ["alt", ...], ["repeat", expression, least, most];
// in rules, whose leaves are ["terminal", number] and ["rule", name], there is no "set".

import { utf8 } from "./charset.js";
import { InputError } from "./sources.js";

const MOST_NODES = 300_000;
const MOST_STATES = 20_000;
const MOST_WORK = 200_000_000;
const MOST_FRAMES = 1 << 20;

/** A constraint that this package compiles no masks for, or that takes more than it may. */
export class ConstraintError extends InputError {
  constructor(message) {
    super(message, "constraint");
    this.name = "ConstraintError";
  }
}

/** Counts the work that is done for a constraint, so that none freezes the program. */
class Budget {
  #left = MOST_WORK;

  renew() {
    this.#left = MOST_WORK;
  }

  spend(amount) {
    this.#left -= amount;
    if (this.#left < 0) throw new ConstraintError("the constraint takes more work than it may");
  }
}

export const EMPTY = ["cat"];

/** The expression of a text. */
export function literal(text) {
  return ["cat", ...Array.from(text, (character) => ["set", [[character.codePointAt(0), character.codePointAt(0)]]])];
}

/** If true, an expression of a terminal matches the empty text. */
export function isNullable([kind, ...parts]) {
  if (kind === "set") return false;
  if (kind === "cat") return parts.every(isNullable);
  if (kind === "alt") return parts.some(isNullable);
  return parts[1] === 0 || isNullable(parts[0]);
}

// A graph of nodes with steps that take nothing and edges that take something. `edge` adds what an expression's leaf is.
class Graph {
  constructor() {
    this.free = []; // of each node the nodes that it goes to
    this.edges = []; // of each node a list of what `leaf` adds
  }

  node() {
    if (this.free.length >= MOST_NODES) throw new ConstraintError("the constraint is too large");
    this.free.push([]);
    this.edges.push([]);
    return this.free.length - 1;
  }

  /** Add an expression from a node to another one. */
  add(expression, from, to, leaf) {
    const [kind, ...parts] = expression;
    if (kind === "cat") {
      parts.forEach((part, i) => {
        const next = i === parts.length - 1 ? to : this.node();
        this.add(part, from, next, leaf);
        from = next;
      });
      if (!parts.length) this.free[from].push(to);
    } else if (kind === "alt") {
      for (const part of parts) this.add(part, from, to, leaf);
    } else if (kind === "repeat") {
      const [part, least, most] = parts;
      for (let i = 0; i < least; i++) from = this.#then(part, from, leaf);
      if (most === Infinity) {
        const loop = this.node();
        this.free[from].push(loop);
        this.add(part, loop, this.#back(loop), leaf);
        from = loop;
      }
      for (let i = least; i < most && most !== Infinity; i++) {
        this.free[from].push(to);
        from = this.#then(part, from, leaf);
      }
      this.free[from].push(to);
    } else leaf(expression, from, to);
  }

  #then(part, from, leaf) {
    const next = this.node();
    this.add(part, from, next, leaf);
    return next;
  }

  #back(to) {
    const end = this.node();
    this.free[end].push(to);
    return end;
  }
}

/** All terminals of a constraint: sets of nodes that a byte leads to. */
class Lexer {
  /**
   * @param {{expression: Array, except?: Array}[]} terminals `except`: what a terminal does not match.
   * @param {Budget} budget
   */
  constructor(terminals, budget) {
    this.budget = budget;
    this.graph = new Graph();
    this.ends = new Map(); // node: what ends there
    this.owner = [];
    const suffixes = new Map();
    this.starts = terminals.map(({ expression, except }, terminal) =>
      [expression, except].flatMap((one, isExcept) => {
        if (one === undefined) return [];
        const [start, end] = [this.graph.node(), this.graph.node()];
        suffixes.clear();
        this.graph.add(one, start, end, ([, ranges], from, to) => this.#characters(ranges, from, to, suffixes));
        for (let node = start; node < this.graph.free.length; node++) this.owner[node] = isExcept ? -1 : terminal;
        this.ends.set(end, { terminal, isExcept });
        return [start];
      }),
    );
    this.states = new Map();
    this.begun = new Map();
  }

  // Edges of characters; those of the same bytes at their ends share them.
  #characters(ranges, from, to, suffixes) {
    const step = (sequence, at, node) => {
      const [[low, high]] = [sequence[at]];
      if (at === sequence.length - 1) {
        this.graph.edges[node].push([low, high, to]);
        return;
      }
      const key = `${to}:${sequence.slice(at + 1)}`;
      let next = suffixes.get(key);
      if (next === undefined) {
        suffixes.set(key, (next = this.graph.node()));
        step(sequence, at + 1, next);
      }
      this.graph.edges[node].push([low, high, next]);
    };
    for (const range of ranges) for (const sequence of utf8(range)) step(sequence, 0, from);
  }

  /** The state at the beginning of one of the terminals given. */
  start(terminals) {
    const key = terminals.join();
    if (!this.begun.has(key)) this.begun.set(key, this.#state(terminals.flatMap((one) => this.starts[one])));
    return this.begun.get(key);
  }

  /** The state after a byte; null where none of the terminals goes on with it. */
  step(state, byte) {
    let next = state.next[byte];
    if (next === undefined) {
      const reached = [];
      for (const node of state.nodes) {
        const edges = this.graph.edges[node];
        this.budget.spend(edges.length + 1);
        for (const [low, high, to] of edges) if (byte >= low && byte <= high) reached.push(to);
      }
      next = state.next[byte] = reached.length ? this.#state(reached) : null;
    }
    return next;
  }

  #state(reached) {
    const seen = new Set(reached);
    for (const node of seen) for (const to of this.graph.free[node]) seen.add(to);
    this.budget.spend(seen.size);
    const [ended, excepted, open] = [new Set(), new Set(), new Set()];
    const nodes = [];
    for (const node of seen) {
      const end = this.ends.get(node);
      if (end) (end.isExcept ? excepted : ended).add(end.terminal);
      if (!this.graph.edges[node].length) continue;
      nodes.push(node);
      if (this.owner[node] >= 0) open.add(this.owner[node]);
    }
    const accepts = [...ended].filter((terminal) => !excepted.has(terminal)).sort((a, b) => a - b);
    if (!accepts.length && !open.size) return null;
    nodes.sort((a, b) => a - b);
    const key = `${nodes}|${accepts}`;
    let state = this.states.get(key);
    if (state === undefined) {
      if (this.states.size >= MOST_STATES) throw new ConstraintError("the constraint has too many states");
      this.states.set(key, (state = { id: this.states.size, nodes, accepts, next: new Array(256) }));
    }
    return state;
  }
}

/** The rules: sets of places, each with the rules that wait for its own to end. */
class Parser {
  constructor(rules, budget) {
    this.budget = budget;
    this.graph = new Graph();
    this.ruleEnds = new Set();
    this.rules = {};
    for (const name of Object.keys(rules)) {
      this.rules[name] = [this.graph.node(), this.graph.node()];
      this.ruleEnds.add(this.rules[name][1]);
    }
    for (const [name, expression] of Object.entries(rules)) {
      const [start, end] = this.rules[name];
      this.graph.add(expression, start, end, ([kind, which], from, to) => {
        if (kind === "rule" && !this.rules[which]) throw new ConstraintError(`the rule ${which} is missing`);
        this.graph.edges[from].push([kind === "rule" ? this.rules[which][0] : -1 - which, to]);
      });
    }
    this.frames = [[-1, -1]]; // of each frame the node to return to, and the frame below
    this.frameIds = new Map();
    this.states = new Map();
    this.start = this.#state([[this.rules.start[0], 0]]);
  }

  /** The state after one of the terminals given. */
  step(state, terminals) {
    const key = terminals.join();
    let next = state.next.get(key);
    if (next === undefined) {
      const reached = [];
      for (const [node, frame] of state.places) {
        for (const [what, to] of this.graph.edges[node]) {
          if (what < 0 && terminals.includes(-1 - what)) reached.push([to, frame]);
        }
      }
      state.next.set(key, (next = this.#state(reached)));
    }
    return next;
  }

  #state(reached) {
    const seen = new Map();
    const waiting = [];
    const visit = (node, frame) => {
      const key = node * MOST_FRAMES + frame;
      if (!seen.has(key)) seen.set(key, waiting.push([node, frame]));
    };
    for (const [node, frame] of reached) visit(node, frame);
    const allowed = new Set();
    const places = [];
    let accepts = false;
    while (waiting.length) {
      const [node, frame] = waiting.pop();
      this.budget.spend(10);
      for (const to of this.graph.free[node]) visit(to, frame);
      if (this.ruleEnds.has(node)) {
        if (frame === 0) accepts = true;
        else visit(...this.frames[frame]);
      }
      let takes = false;
      for (const [what, to] of this.graph.edges[node]) {
        if (what < 0) {
          takes = true;
          allowed.add(-1 - what);
        } else visit(what, this.#call(to, frame));
      }
      if (takes) places.push([node, frame]);
    }
    const key = `${accepts}${places.sort((a, b) => a[0] - b[0] || a[1] - b[1]).join(";")}`;
    let state = this.states.get(key);
    if (state === undefined) {
      if (this.states.size >= MOST_STATES) throw new ConstraintError("the constraint has too many states");
      const terminals = [...allowed].sort((a, b) => a - b);
      state = { id: this.states.size, places, accepts, allowed: terminals, next: new Map() };
      this.states.set(key, state);
    }
    return state;
  }

  // The frame of a rule that is called: none of its own where nothing follows it in the calling rule.
  #call(to, frame) {
    if (this.#isLast(to)) return frame;
    const key = to * MOST_FRAMES + frame;
    let id = this.frameIds.get(key);
    if (id === undefined) {
      if (this.frames.length >= MOST_FRAMES) throw new ConstraintError("the constraint nests too deep");
      this.frameIds.set(key, (id = this.frames.push([to, frame]) - 1));
    }
    return id;
  }

  #isLast(node) {
    for (let steps = 0; steps < 64; steps++) {
      if (this.ruleEnds.has(node)) return true;
      const free = this.graph.free[node];
      if (this.graph.edges[node].length || free.length !== 1) return false;
      [node] = free;
    }
    return false;
  }
}

/** A constraint as states of one text. */
export class Automaton {
  /**
   * @param {object} grammar
   * @param {{expression: Array, except?: Array}[]} grammar.terminals
   * @param {Object<string, Array>} grammar.rules Expressions by name; `start` is the text's.
   * @param {number | null} grammar.skip The terminal that may stand before each other one, but not at the beginning.
   * @throws {ConstraintError} If a rule begins with itself, or a limit is passed.
   */
  constructor({ terminals, rules, skip = null }) {
    this.budget = new Budget();
    this.skip = skip;
    const wanted = Object.fromEntries(
      Object.entries(rules).map(([name, expression]) => [name, withEmpty(expression, terminals)]),
    );
    this.lexer = new Lexer(terminals, this.budget);
    this.parser = new Parser(withoutLeftRecursion(wanted), this.budget);
    this.states = new Map();
    this.start = this.#begin(this.parser.start, true);
  }

  /** If true, so many states are kept that another text might find no room. */
  get isWorn() {
    return Math.max(this.states.size, this.lexer.states.size, this.parser.states.size) > MOST_STATES / 2;
  }

  // The state before a terminal.
  #begin(place, hasSkipped) {
    const skips = this.skip !== null && !hasSkipped && place.allowed.length > 0;
    const lexeme = this.lexer.start(skips ? [...place.allowed, this.skip] : place.allowed);
    return this.#state(place, lexeme, true);
  }

  #state(place, lexeme, isFresh) {
    const key = `${place.id}:${lexeme?.id}:${isFresh}`;
    let state = this.states.get(key);
    if (state === undefined) {
      if (this.states.size >= MOST_STATES) throw new ConstraintError("the constraint has too many states");
      state = { id: this.states.size, place, lexeme, accepts: place.accepts && isFresh, next: new Array(256) };
      this.states.set(key, state);
      state.after = isFresh || !lexeme.accepts.length ? null : this.#after(place, lexeme.accepts);
      if (state.after?.accepts) state.accepts = true;
    }
    return state;
  }

  // The state behind terminals that all end here.
  #after(place, accepts) {
    const own = accepts.filter((terminal) => terminal !== this.skip);
    return own.length ? this.#begin(this.parser.step(place, own), false) : this.#begin(place, true);
  }

  /** The state after a byte; null where it may not follow. */
  step(state, byte) {
    let next = state.next[byte];
    if (next === undefined) {
      const lexeme = state.lexeme && this.lexer.step(state.lexeme, byte);
      if (lexeme) next = this.#state(state.place, lexeme, false);
      else next = state.after ? this.step(state.after, byte) : null;
      state.next[byte] = next;
    }
    return next;
  }

  /** The only byte that may follow; -1 where the text may end, or several may. */
  forced(state) {
    if (state.forced === undefined) {
      let [found, count] = [-1, 0];
      for (let byte = 0; byte < 256 && count < 2 && !state.accepts; byte++) {
        if (this.step(state, byte)) [found, count] = [byte, count + 1];
      }
      state.forced = count === 1 ? found : -1;
    }
    return state.forced;
  }
}

// A terminal takes a byte at least; where it may be empty, the rule may leave it out.
function withEmpty([kind, ...parts], terminals) {
  if (kind === "terminal") {
    const leaf = [kind, ...parts];
    return isNullable(terminals[parts[0]].expression) ? ["alt", EMPTY, leaf] : leaf;
  }
  if (kind === "rule") return [kind, ...parts];
  if (kind === "repeat") return [kind, withEmpty(parts[0], terminals), parts[1], parts[2]];
  return [kind, ...parts.map((part) => withEmpty(part, terminals))];
}

// Rules that begin with themselves become repetitions: a: a x | b is a: b x*.
function withoutLeftRecursion(rules) {
  const out = {};
  for (const [name, expression] of Object.entries(rules)) {
    const ways = expression[0] === "alt" ? expression.slice(1) : [expression];
    const isOwn = (way) => way[0] === "cat" && way[1]?.[0] === "rule" && way[1][1] === name;
    const [own, others] = [ways.filter(isOwn), ways.filter((way) => !isOwn(way))];
    if (own.length && !others.length) throw new ConstraintError(`the rule ${name} has no beginning`);
    const rests = own.map((way) => ["cat", ...way.slice(2)]);
    out[name] = own.length ? ["cat", ["alt", ...others], ["repeat", ["alt", ...rests], 0, Infinity]] : expression;
  }
  const empty = emptyRules(out);
  for (const name of Object.keys(out)) {
    const seen = new Set();
    const waiting = [name];
    while (waiting.length) {
      for (const next of firstRules(out[waiting.pop()] ?? EMPTY, empty)) {
        if (next === name) throw new ConstraintError(`the rule ${name} begins with itself, by way of others`);
        if (!seen.has(next)) seen.add(next), waiting.push(next);
      }
    }
  }
  return out;
}

function emptyRules(rules) {
  const empty = new Set();
  const isEmpty = ([kind, ...parts]) => {
    if (kind === "terminal") return false;
    if (kind === "rule") return empty.has(parts[0]);
    if (kind === "cat") return parts.every(isEmpty);
    if (kind === "alt") return parts.some(isEmpty);
    return parts[1] === 0 || isEmpty(parts[0]);
  };
  for (let size = -1; size !== empty.size;) {
    size = empty.size;
    for (const [name, expression] of Object.entries(rules)) if (isEmpty(expression)) empty.add(name);
  }
  empty.test = isEmpty;
  return empty;
}

// Names of the rules that a text of an expression may begin with.
function firstRules([kind, ...parts], empty) {
  if (kind === "terminal") return [];
  if (kind === "rule") return parts;
  if (kind === "repeat") return firstRules(parts[0], empty);
  if (kind === "alt") return parts.flatMap((part) => firstRules(part, empty));
  const out = [];
  for (const part of parts) {
    out.push(...firstRules(part, empty));
    if (!empty.test(part)) break;
  }
  return out;
}
