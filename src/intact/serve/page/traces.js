// Saved runs: traces of `intact solve --trace`, and receipts of runs and answers, converted to search events.

import { runOf } from "/page/shapes.js";

/** Factor of a receipt's log-probabilities. */
export const SCALE = 2 ** 24;
const WHY = { stop: "stop", end: "end", length: "length" };

/** Parse a receipt's score: a double as 16 hexadecimal digits. */
function double(digits) {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(`0x${digits}`));
  return view.getFloat64(0);
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function textNode(branch, parent, { text, tokens, logprobs, finish }) {
  const logprob = logprobs ? sum(logprobs) / SCALE : null;
  return { kind: "extend", branch, parent, text, tokens: tokens.length, logprob, why: WHY[finish] ?? finish };
}

function fromTrace({ method, budget = {}, nodes, answer, chosen, why, cost, votes }) {
  return { title: method, start: { method, budget }, nodes, result: { answer, chosen, why, cost, votes }, outputs: [] };
}

function fromRun({ method, budget, entries, result }) {
  const outputs = [];
  const nodes = entries.map((entry) => {
    if (entry.kind === "text") {
      const branch = entry.branch.join("/");
      outputs.push([branch, entry.output]);
      return textNode(branch, entry.branch.slice(0, -1).join("/"), entry.output);
    }
    if (entry.kind === "tool") return entry;
    if (entry.kind === "shared") return { ...entry, branch: entry.branch.join("/") };
    if (entry.kind !== "score") return null;
    return { kind: "score", scorer: entry.scorer, scores: entry.texts.map((path, i) => [path, double(entry.scores[i])]) };
  }).filter(Boolean);
  const votes = Object.fromEntries((result.votes ?? []).map(([answer, weight]) => [answer, typeof weight === "string" ? double(weight) : weight]));
  const chosen = result.chosen?.join("/") ?? null;
  return { title: method.name, start: { method: method.name, budget: JSON.parse(budget) }, nodes, result: { ...result, chosen, votes }, outputs };
}

function fromAnswer({ output }) {
  const cost = { tokens: output.tokens.length, sequential: output.tokens.length, scores: 0, operations: 0 };
  const result = { answer: output.text, chosen: "0", why: "done", cost };
  return { title: "one answer", start: { method: "one answer", budget: {} }, nodes: [textNode("0", "", output)], result, outputs: [["0", output]] };
}

/** Parse the runs in a file, a single one or one per line; throw an Error that says what is wrong. */
export function readRuns(text, name) {
  let values;
  try {
    values = [JSON.parse(text)];
  } catch {
    try {
      values = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
    } catch {
      throw new Error(`${name} is neither a trace nor a receipt: it is not JSON`);
    }
  }
  return values.map((value, i) => {
    try {
      const read = Array.isArray(value.nodes) ? fromTrace : value.format === "intact-run-receipt" ? fromRun : fromAnswer;
      const run = { title: read(value).title, ...runOf(read(value), "run") };
      return { ...run, title: `${name}${values.length > 1 ? `, line ${i + 1}` : ""}: ${run.title.replaceAll("_", " ")}` };
    } catch {
      throw new Error(`${name} is neither a trace of intact solve --trace nor a receipt`);
    }
  });
}

/** Draw a run. */
export function replay(search, { start, nodes, answers, result }) {
  search.handle({ event: "start", ...start });
  for (const node of nodes) search.handle({ event: "node", node });
  for (const [branch, answer] of answers ?? []) search.handle({ event: "answer", branch, answer });
  if (result) search.handle({ event: "result", ...result });
}

/** Return the run of a trace; throw an Error if it is damaged. */
export const runOfTrace = (trace) => runOf(fromTrace(trace), "run");

/** Return the run that a receipt describes; throw an Error if it is damaged. */
export const runOfReceipt = (receipt) => runOf((receipt.format === "intact-run-receipt" ? fromRun : fromAnswer)(receipt), "run");

/** Return the outputs of a receipt as JSON, by branch; empty if it is damaged. */
export function outputsOf(receipt) {
  try {
    return receipt.entries ? runOf(fromRun(receipt), "run").outputs : [];
  } catch {
    return [];  // the server reports the damage when it verifies the receipt
  }
}
