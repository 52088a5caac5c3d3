// Requests to the server: JSON, event streams, and an API key if required.

import { read, write } from "/page/values.js";

let key = read("sessionStorage", "key") ?? "";

export class Refusal extends Error {}

/** Ask the user for a key, once for all pending requests. */
let asked = null;
function askForKey() {
  asked ??= new Promise((resolve) => {
    const door = document.getElementById("door");
    door.addEventListener("close", () => {
      key = document.getElementById("key").value.trim();
      write("sessionStorage", "key", key);
      asked = null;
      resolve();
    }, { once: true });
    door.showModal();
  });
  return asked;
}

async function request(path, body, signal) {
  for (;;) {
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    if (body !== undefined) headers["content-type"] = "application/json";
    const method = body === undefined ? "GET" : "POST";
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
    if (response.status === 401) {
      await askForKey();
      continue;
    }
    if (!response.ok) throw new Refusal(await reason(response));
    return response;
  }
}

async function reason(response) {
  const text = await response.text();
  try {
    const { message, param } = JSON.parse(text).error;
    return param ? `${message} (${param})` : message;
  } catch {
    return `the server answered ${response.status}`;
  }
}

export const ask = async (path, body) => (await request(path, body)).json();

export const askText = async (path) => (await request(path)).text();

/** Yield the values of a server-sent event stream. */
export async function* events(path, body, signal) {
  const response = await request(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data) continue;
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Refusal(event.error.message);
      yield event;
    }
    if (done) throw new Refusal("the server ended the answer before it was complete");
  }
}
