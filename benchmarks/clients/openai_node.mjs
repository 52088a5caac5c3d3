// OpenAI's client for node: chats whole and streamed, tools, a typed answer, responses, completions, errors.
//
//     (cd benchmarks/clients && npm install --no-save openai zod)
//     node benchmarks/clients/openai_node.mjs --model qwen

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { QUESTION, check, model, report, url, version, weather } from "./common.mjs";

const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Why is the sky blue?" }];
const asked = { model, messages, seed: 7, max_tokens: 20 };
console.log(`openai ${version("openai")} for node`);

const listed = (await client.models.list()).data.map((one) => one.id);
check("models", listed.includes(model), listed);

const chat = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
const whole = chat.choices[0].message.content;
check("chat", whole && chat.choices[0].logprobs.content.length === chat.usage.completion_tokens, whole);

let text = "", usage;
for await (const chunk of await client.chat.completions.create(
  { ...asked, stream: true, stream_options: { include_usage: true } },
)) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
check("stream, the same", text === whole && usage.total_tokens === chat.usage.total_tokens, usage);

const tool = {
  type: "function",
  function: {
    name: "weather",
    description: "Get the weather of a city for some days.",
    function: weather,
    parse: JSON.parse,
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" } },
      required: ["city", "days"],
    },
  },
};
for (const stream of [false, true]) {
  const runner = client.chat.completions.runTools(
    { model, messages: [{ role: "user", content: QUESTION }], tools: [tool], stream, temperature: 0, max_tokens: 200 },
    { maxChatCompletions: 2 },
  );
  await runner.done();
  report(`runTools${stream ? ", streamed" : ""}`, runner.messages.find((one) => one.role === "tool")?.content);
}

const Trip = z.object({ city: z.string(), days: z.number().int() });
const parsed = await client.chat.completions.parse({
  ...asked, messages: [{ role: "user", content: "I go to Oslo for 3 days." }], temperature: 0, max_tokens: 100,
  response_format: zodResponseFormat(Trip, "trip"),
});
const trip = parsed.choices[0].message.parsed;
check("parse", trip?.days === 3, trip);

const response = await client.responses.create({ model, input: "Why is the sky blue?", max_output_tokens: 20 });
check("responses", response.output_text.length > 0, response.output_text);
const events = [];
for await (const event of await client.responses.create({ model, input: "Hi", max_output_tokens: 8, stream: true })) {
  events.push(event.type);
}
check("responses, streamed", /completed|incomplete/.test(events.at(-1)), events.at(-1));

const completion = await client.completions.create({ model, prompt: "def add(a, b):", max_tokens: 16, temperature: 0 });
check("completions", completion.choices[0].text.length > 0, completion.choices[0].text);

const refused = await client.chat.completions.create({ ...asked, model: "gone" }).catch((error) => error);
check("error", refused instanceof OpenAI.NotFoundError, refused.message);
