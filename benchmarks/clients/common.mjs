// Options of the client scripts in JavaScript, the question they ask, and the tool that answers it.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

export const QUESTION = "What is the weather in Oslo for the next 3 days? Use the tool.";

export const { url, model } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:8000/v1" },
    model: { type: "string", default: "qwen" },
  },
}).values;

const calls = [];

/** Record a call of the tool, and return its answer. */
export function weather({ city, days }) {
  calls.push([city, days]);
  return `${city}, ${days} days: rain, 7 degrees`;
}

/** Return the version of an installed package. */
export function version(name) {
  return JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}

/** Print what happened; end with an error if it does not hold. */
export function check(name, holds, found) {
  console.log(`${holds ? "ok  " : "FAIL"} ${name}: ${JSON.stringify(found)}`);
  if (!holds) process.exitCode = 1;
}

/** Print a client's answer and the calls made since the last report; end with an error if there were none. */
export function report(client, answer) {
  const made = calls.splice(0);
  check(`${client}, called ${JSON.stringify(made)}`, made.length > 0, answer);
}
