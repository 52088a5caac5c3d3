// The page: a conversation, with plain answers or searches that are drawn as they run.

import { ask, events } from "/page/api.js";
import { byId, count, element } from "/page/dom.js";
import { download, watchForReceipts } from "/page/receipts.js";
import { Search } from "/page/search.js";
import { offer, requestOptions } from "/page/settings.js";

let messages = [];
let running = null;

function article(role, title) {
  const text = element("p", { className: "text" });
  const made = element("article", { className: role }, element("h3", {}, title), text);
  byId("talk").append(made);
  made.scrollIntoView({ block: "nearest" });
  return { made, text };
}

/** Show the answer to the conversation as it arrives; return its text. */
async function answer(signal) {
  const body = { ...requestOptions(), messages };
  const { made, text } = article("assistant", body.intact.method ? `${body.model}, ${body.intact.method.replaceAll("_", " ")}` : body.model);
  const search = body.intact.method ? new Search() : null;
  if (search) made.append(search.root);
  const figures = element("p", { className: "figures" });
  made.append(figures);
  const began = performance.now();
  let tokens = 0;
  let name = "answer";
  made.setAttribute("aria-busy", "true");
  try {
    for await (const chunk of events("/v1/chat/completions", body, signal)) {
      name = chunk.id;
      byId("numerics").textContent = chunk.system_fingerprint;
      if (chunk.intact) search?.tell(chunk.intact);
      for (const choice of chunk.choices) {
        if (choice.delta.content) {
          text.append(choice.delta.content);
          tokens += 1;
        }
        if (choice.receipt) figures.append(download(choice.receipt, name));
        if (choice.finish_reason === "length") figures.append(element("span", {}, "cut after the most tokens"));
      }
    }
    if (!search) figures.append(element("span", {}, `${count(tokens / ((performance.now() - began) / 1000))} tokens a second`));
    return text.textContent;
  } catch (error) {
    const message = error.name === "AbortError" ? "stopped" : error.message;
    made.append(element("p", { className: "wrong", role: "alert" }, message));
    return null;
  } finally {
    made.removeAttribute("aria-busy");
  }
}

async function send(event) {
  event.preventDefault();
  const question = byId("question").value.trim();
  if (!question || running) return;
  byId("hint").hidden = true;
  article("user", "You").text.textContent = question;
  byId("question").value = "";
  messages.push({ role: "user", content: question });
  running = new AbortController();
  byId("send").hidden = true;
  byId("stop").hidden = false;
  const written = await answer(running.signal);
  running = null;
  byId("send").hidden = false;
  byId("stop").hidden = true;
  if (written === null) messages.pop();
  else messages.push({ role: "assistant", content: written });
  byId("question").focus();
}

function forget() {
  running?.abort();
  messages = [];
  byId("talk").replaceChildren();
  byId("hint").hidden = false;
  byId("question").focus();
}

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    byId("theme").setAttribute("aria-pressed", String(name === "dark"));
  };
  show(localStorage.getItem("theme") ?? system);
  byId("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", name);
    show(name);
  });
}

async function begin() {
  theme();
  byId("ask").addEventListener("submit", send);
  byId("stop").addEventListener("click", () => running?.abort());
  byId("fresh").addEventListener("click", forget);
  byId("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  watchForReceipts(() => byId("model").value);
  try {
    const [models, methods] = await Promise.all([ask("/v1/models"), ask("/v1/methods")]);
    byId("model").replaceChildren(...models.data.map(({ id }) => element("option", { value: id }, id)));
    offer(methods.data);
  } catch (error) {
    byId("hint").textContent = `The server cannot be reached: ${error.message}`;
    byId("hint").classList.add("wrong");
  }
}

begin();
