// Vercel's AI SDK: texts whole and streamed, tools and typed answers, over chats, responses and Anthropic's messages.
//
//     (cd benchmarks/clients && npm install --no-save ai @ai-sdk/openai-compatible @ai-sdk/openai @ai-sdk/anthropic zod)
//     node benchmarks/clients/ai_sdk.mjs --model qwen

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { QUESTION, check, model, report, url, version, weather } from "./common.mjs";

const settings = { baseURL: url, apiKey: "none" };
const openai = createOpenAI(settings);
const interfaces = {
  "openai-compatible": createOpenAICompatible({ ...settings, name: "intact", includeUsage: true, supportsStructuredOutputs: true })(model),
  "openai, chat": openai.chat(model),
  "openai, responses": openai(model),
  anthropic: createAnthropic(settings)(model),
};
const get_weather = tool({
  description: "Get the weather of a city for some days.",
  inputSchema: z.object({ city: z.string(), days: z.number().int() }),
  execute: weather,
});
const Trip = z.object({ city: z.string(), days: z.number().int() });
console.log(`ai ${version("ai")}`);

for (const [name, chosen] of Object.entries(interfaces)) {
  const asked = { model: chosen, temperature: 0, maxOutputTokens: 100, maxRetries: 0 };
  const agent = { ...asked, maxOutputTokens: 200, prompt: QUESTION, tools: { get_weather }, stopWhen: stepCountIs(2) };

  const whole = await generateText({ ...asked, prompt: "Why is the sky blue?", system: "Be brief." });
  const stream = streamText({ ...asked, prompt: "Why is the sky blue?", system: "Be brief.", onError: () => {} });
  check(`${name}: a stream is the same text`, (await stream.text) === whole.text, whole.text);
  const { outputTokens } = await stream.usage;
  check(`${name}: its usage`, outputTokens === whole.usage.outputTokens && outputTokens > 0, outputTokens);

  report(`${name}: tools`, (await generateText(agent)).steps[0].toolResults[0]?.output);
  report(`${name}: tools, streamed`, (await streamText({ ...agent, onError: () => {} }).steps)[0].toolResults[0]?.output);

  const prompt = "I go to Oslo for 3 days.";
  const { output } = await generateText({ ...asked, prompt, output: Output.object({ schema: Trip }) });
  check(`${name}: a typed answer`, output.days === 3, output);
}
