// Result files of `intact eval`: parsed and validated here, with their traces if they are given too.

import { anyObject, check, flagIfAny, ifAny, list, number, numberIfAny, numbers, object, text, textIfAny } from "/page/shapes.js";

const FORMAT = "intact evaluation";
const READABLE = [1, 2, 3];
const MOST_BYTES = 256 << 20;
const MOST_RECORDS = 200_000;
const ENDING = /\.jsonl$/;
const TRACES = ".traces.jsonl";

const sample = object({ branch: text, answer: textIfAny, correct: flagIfAny, tokens: number, logprob: number, why: text, rewards: ifAny(numbers), measures: ifAny(numbers) });
const record = object({
  task: number, seed: number, id: text, right: text, answer: textIfAny, correct: flagIfAny, chosen: numberIfAny, confidence: numberIfAny, why: text,
  error: text, cost: numbers, samples: list(sample),
});
const manifest = object({
  version: number, command: text, seeds: list(number), caveats: list(text), models: list(object({ name: text })),
  method: object({ name: text, parameters: anyObject }), tasks: list(object({ name: text, label: text })),
});
const score = object({ task: number, metric: text, value: number, low: numberIfAny, high: numberIfAny, problems: number, interval: text });

function jsonLine(line, where) {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`${where} is not JSON`);
  }
}

/** Parse a result file; throw an Error that says what is wrong with it. */
function readResult(source, name) {
  const lines = source.split("\n").filter(Boolean);
  const values = lines.map((line, i) => jsonLine(line, `${name}, line ${i + 1}`));
  const [first, last] = [values[0], values.at(-1)];
  check(first?.format === FORMAT, `${name} is not a result file of intact eval`);
  check(READABLE.includes(first.version), `${name} has version ${JSON.stringify(first.version)}; this page reads ${READABLE.join(", ")}`);
  check(values.length > 1 && last?.scores, `${name} is truncated: its last line has no scores`);
  check(values.length - 2 <= MOST_RECORDS, `${name} has more than ${MOST_RECORDS.toLocaleString("en")} records`);
  const read = { manifest: manifest(first, "manifest"), records: values.slice(1, -1).map((one, i) => record(one, `record ${i + 1}`)) };
  const scores = list(score)(last.scores, "scores");
  for (const { task } of [...read.records, ...scores]) check(read.manifest.tasks[task], `${name} names task ${task}, which does not exist`);
  return { ...read, scores };
}

/**
 * Parse chosen files: results, and traces by their names (RUN.jsonl and RUN.traces.jsonl).
 *
 * @param {File[]} files
 * @returns {Promise<object[]>} Runs: name, source, manifest, records, scores, traces (lines of JSON, or null).
 */
export async function readFiles(files) {
  const traces = new Map(files.filter(({ name }) => name.endsWith(TRACES)).map((file) => [file.name, file]));
  const results = files.filter(({ name }) => !name.endsWith(TRACES));
  check(results.length, "choose the result file too: RUN.jsonl, with RUN.traces.jsonl for its trees");
  return Promise.all(results.map(async (file) => {
    check(ENDING.test(file.name), `${file.name} is not a result file: its name must end with .jsonl`);
    const own = traces.get(file.name.replace(ENDING, TRACES)) ?? null;
    for (const one of [file, own]) check((one?.size ?? 0) <= MOST_BYTES, `${one?.name} has more than ${MOST_BYTES >> 20} MiB`);
    const source = await file.text();
    const read = readResult(source, file.name);
    const text = own && await own.text();
    const lines = text && text.split("\n").filter(Boolean);
    check(!lines || lines.length === read.records.length, `${own?.name} has ${lines?.length} traces for ${read.records.length} records`);
    return { ...read, name: file.name, source, traces: lines, tracesSource: text };
  }));
}

const keyOf = ({ manifest: { tasks } }, { task, id, seed }) => JSON.stringify([tasks[task].name, tasks[task].label, id, seed]);

/** Return the problems of one or two runs: key, and each run's record with its index (null if it has none). */
export function pairs(runs) {
  const found = new Map();
  runs.forEach((run, side) => run?.records.forEach((one, index) => {
    const key = keyOf(run, one);
    if (!found.has(key)) found.set(key, [null, null]);
    found.get(key)[side] = { record: one, index };
  }));
  return [...found.values()];
}

const isRight = (one) => one?.record.correct === true;
const isWrong = (one) => one !== null && one.record.correct !== true;

/** Filters of problems by name: the words of the choice, and a predicate over the pair of records. */
export const FILTERS = {
  all: ["all problems", () => true],
  differ: ["verdicts differ", ([a, b]) => a && b && a.record.correct !== b.record.correct],
  leftWrong: ["left is wrong", ([a]) => isWrong(a)],
  rightWrong: ["right is wrong", ([, b]) => isWrong(b)],
  bothWrong: ["none is right", (both) => !both.some(isRight)],
  bothRight: ["all are right", (both) => both.filter(Boolean).every(isRight)],
  failed: ["failed or out of budget", (both) => both.some((one) => one && one.record.why !== "done")],
};

/** If true, the words occur in a problem's name, reference or answers. */
export function mentions(pair, words) {
  const wanted = words.trim().toLowerCase();
  return !wanted || pair.filter(Boolean).some(({ record: { id, right, answer } }) => [id, right, answer ?? ""].some((one) => one.toLowerCase().includes(wanted)));
}
