// Requests to the server: JSON, event streams, and an API key if required. Errors are failures (failures.js).

import { broken, inStream, refusal, unreachable } from "/page/failures.js";
import { read, write } from "/page/values.js";

let key = read("sessionStorage", "key") ?? "";

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
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal }).catch((error) => {
      throw error.name === "AbortError" ? error : unreachable();
    });
    if (response.status === 401) {
      await askForKey();
      continue;
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** Return the JSON reply to a request. */
export async function ask(path, body, signal) {
  const response = await request(path, body, signal);
  return response.json().catch((error) => {
    throw error.name === "AbortError" ? error : broken(false);
  });
}

export const askText = async (path) => (await request(path)).text();

/** Yield the values of a server-sent event stream. */
export async function* events(path, body, signal) {
  const response = await request(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, received] = ["", false];
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : broken(received);
    });
    rest += value ?? "";
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data) continue;
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw inStream(event.error);
      received = true;
      yield event;
    }
    if (done) throw broken(received);
  }
}
