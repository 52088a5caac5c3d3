// promptfoo: a suite of four checks over chats, completions, responses and Anthropic's messages.
//
//     (cd benchmarks/clients && npm install --no-save promptfoo)
//     node benchmarks/clients/promptfoo_suite.mjs --model qwen

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { QUESTION, check, model, url, version } from "./common.mjs";

const folder = mkdtempSync(join(tmpdir(), "promptfoo-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
process.env.PROMPTFOO_CONFIG_DIR = folder;
for (const name of ["TELEMETRY", "UPDATE", "REMOTE_GENERATION"]) process.env[`PROMPTFOO_DISABLE_${name}`] = "true";
const promptfoo = (await import("promptfoo")).default;

const config = { apiBaseUrl: url, apiKey: "none", temperature: 0, max_tokens: 100 };
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false,
};
const get_weather = { name: "get_weather", description: "Get the weather of a city for some days.", parameters };
const format = { type: "json_schema", json_schema: { name: "trip", schema: parameters } };
const text = [{ type: "javascript", value: "output.length > 0" }];

const suites = {
  "chat, completion, messages": {
    prompts: ["{{question}}"],
    providers: [
      { id: `openai:chat:${model}`, config },
      { id: `openai:completion:${model}`, config },
      { id: `openai:responses:${model}`, config: { ...config, max_output_tokens: 100 } },
      { id: `anthropic:messages:${model}`, config: { ...config, apiBaseUrl: url.replace(/\/v1$/, "") } },
    ],
    tests: ["Why is the sky blue?", "What is 2 + 2?"].map((question) => ({ vars: { question }, assert: text })),
  },
  schema: {
    prompts: ["I go to Oslo for 3 days."],
    providers: [{ id: `openai:chat:${model}`, config: { ...config, response_format: format } }],
    tests: [{ assert: [{ type: "is-json", value: parameters }] }],
  },
  tool: {
    prompts: [QUESTION],
    providers: [{ id: `openai:chat:${model}`, config: { ...config, tools: [{ type: "function", function: get_weather }] } }],
    tests: [{ assert: [{ type: "is-valid-openai-tools-call" }] }],
  },
};

console.log(`promptfoo ${version("promptfoo")}`);
for (const [name, suite] of Object.entries(suites)) {
  const evaluation = await promptfoo.evaluate({ ...suite, writeLatestResults: false }, { maxConcurrency: 2, cache: false });
  const { results, stats } = await evaluation.toEvaluateSummary();
  const failed = results.filter((one) => !one.success).map((one) => one.error ?? one.response);
  check(name, stats.successes === results.length && results.length > 0, failed.length ? failed : stats.successes);
}
