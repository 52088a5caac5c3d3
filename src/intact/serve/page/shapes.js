// Validators for data from files: each function returns the value with its known members, or throws an Error.

const MOST_MESSAGES = 100_000;

function check(sound, wanted) {
  if (!sound) throw new Error(wanted);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return a validator for a plain value of a type; with `optional`, the value may be absent. */
const plain = (type, optional = false) => (value, name) => {
  if (optional && (value === undefined || value === null)) return value;
  check(typeof value === type && (type !== "number" || Number.isFinite(value)), `${name} must be a ${type}`);
  return value;
};
const [text, number] = [plain("string"), plain("number")];
const [textIfAny, numberIfAny, flagIfAny] = [plain("string", true), plain("number", true), plain("boolean", true)];

const list = (read) => (value, name) => {
  check(Array.isArray(value), `${name} must be a list`);
  return value.map((one, i) => read(one, `${name}[${i}]`));
};

const pair = (first, second) => (value, name) => {
  check(Array.isArray(value) && value.length === 2, `${name} must be a pair`);
  return [first(value[0], `${name}[0]`), second(value[1], `${name}[1]`)];
};

/** Return a validator for an object with the named members; other members are dropped. */
const object = (members) => (value, name) => {
  check(isObject(value), `${name} must be an object`);
  const entries = Object.entries(members).map(([key, read]) => [key, read(value[key], `${name}.${key}`)]);
  return Object.fromEntries(entries.filter(([, one]) => one !== undefined));
};

const ifAny = (read) => (value, name) => (value === undefined || value === null ? value : read(value, name));

/** Any JSON value, unchecked: a receipt, which the server validates. */
const anyObject = (value, name) => {
  check(isObject(value), `${name} must be an object`);
  return value;
};

const numbers = (value, name) => {
  check(isObject(value) && Object.values(value).every(Number.isFinite), `${name} must be an object of numbers`);
  return value;
};

const likely = object({ token: text, logprob: number });
const token = object({ token: text, logprob: number, top_logprobs: ifAny(list(likely)) });

/** A step of workers that write one text together; the tokens are its fourth member. */
function step(value, name) {
  check(Array.isArray(value) && Array.isArray(value[3]), `${name} must be a list with a list of tokens`);
  return value;
}

const KINDS = {
  extend: object({ kind: text, branch: text, parent: textIfAny, text, tokens: number, logprob: numberIfAny, why: textIfAny, error: textIfAny }),
  score: object({ kind: text, scorer: text, scores: list(pair(text, number)) }),
  run: object({ kind: text, code: text, stdout: textIfAny, ended: textIfAny }),
  shared: object({ kind: text, branch: text, text, steps: list(step), conclusion: list(number) }),
  tool: object({ kind: text, tool: text, values: ifAny(anyObject), text, ended: textIfAny, replayable: flagIfAny }),
};

function nodes(value, name) {
  check(Array.isArray(value), `${name} must be a list`);
  return value.map((one, i) => KINDS[one?.kind]?.(one, `${name}[${i}]`)).filter(Boolean);  // other kinds are not drawn
}

const start = object({ method: text, paper: textIfAny, budget: (value, name) => object({ tokens: numberIfAny })(value ?? {}, name) });
const result = object({
  answer: textIfAny, chosen: textIfAny, why: textIfAny, votes: ifAny(numbers), cost: object({ tokens: number, sequential: numberIfAny, scores: numberIfAny, operations: numberIfAny }),
});
const outputs = list(pair(text, object({ tokens: list(number), logprobs: ifAny(list(number)) })));

/** A run of a method: its start, its texts and scores, its result. */
export const runOf = object({ start, nodes, answers: ifAny(list(pair(text, text))), result: ifAny(result), outputs });

/** Validators of a message's members. */
const messageMembers = {
  id: text, parent: textIfAny, role: text, content: text, thoughts: textIfAny, thoughtSeconds: numberIfAny, model: textIfAny, method: textIfAny, seed: numberIfAny, answer: textIfAny,
  speed: numberIfAny, finish: textIfAny, stopped: flagIfAny, error: textIfAny, logprobs: ifAny(list(token)), receipt: ifAny(anyObject),
  files: ifAny(list(object({ name: text, text }))), usage: ifAny(object({ prompt_tokens: numberIfAny, completion_tokens: number, total_tokens: number })), run: ifAny(runOf),
};
const message = object(messageMembers);

/** An exported conversation: messages come after their parents, and each has a unique name. */
export function conversationOf(value) {
  const read = object({ id: text, title: textIfAny, updated: numberIfAny, system: textIfAny, leaf: textIfAny, nodes: list(message) })(value, "conversation");
  check(read.nodes.length <= MOST_MESSAGES, `it has more than ${MOST_MESSAGES.toLocaleString("en")} messages`);
  const seen = new Set();
  for (const { id, parent, role } of read.nodes) {
    check(!seen.has(id), `two messages have the same id ${JSON.stringify(id)}`);
    check(["user", "assistant"].includes(role), `a message has the role ${JSON.stringify(role)}, which is neither user nor assistant`);
    check(parent === null || seen.has(parent), "a message answers one that does not come before it");
    seen.add(id);
  }
  check(read.leaf === null || seen.has(read.leaf), "it ends in a message that does not exist");
  return { ...read, title: read.title ?? "", system: read.system ?? "", updated: read.updated ?? Date.now() };
}

export { anyObject, check, flagIfAny, ifAny, list, messageMembers, number, numberIfAny, numbers, object, text, textIfAny };
