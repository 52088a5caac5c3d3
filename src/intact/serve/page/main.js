// The page: conversations with plain answers, or with searches drawn as they run.

import { ask } from "/page/api.js";
import { Chat } from "/page/chat.js";
import { watchBar } from "/page/bar.js";
import { Compare } from "/page/compare.js";
import { Conversation } from "/page/conversation.js";
import { byId, element } from "/page/dom.js";
import { watchForReceipts } from "/page/receipts.js";
import { offerMethods, offerModel } from "/page/settings.js";
import { Sidebar } from "/page/sidebar.js";
import { outputsOf } from "/page/traces.js";
import { read, write } from "/page/values.js";

const NARROW = matchMedia("(max-width: 60rem)");
/** Side panels, which cover the conversation in a narrow window. */
const PARTS = ["side", "settings", "receipts"];

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    byId("theme").setAttribute("aria-pressed", String(name === "dark"));
  };
  show(read("localStorage", "theme") ?? system);
  byId("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    write("localStorage", "theme", name);
    show(name);
  });
}

/** Make a button open and close a part of the page. */
function toggle(control, part, open) {
  const show = (value) => {
    if (value && NARROW.matches) PARTS.forEach((other) => { byId(other).hidden = true; });
    byId(part).hidden = !value;
    byId(control).setAttribute("aria-expanded", String(value));
  };
  byId(control).addEventListener("click", () => show(byId(part).hidden));
  byId(part).querySelector(".close")?.addEventListener("click", () => {
    show(false);
    byId(control).focus();
  });
  new MutationObserver(() => byId(control).setAttribute("aria-expanded", String(!byId(part).hidden)))
    .observe(byId(part), { attributes: true, attributeFilter: ["hidden"] });
  show(open);
}

/** Return the searches of a conversation in the form that compare.js takes. */
function runsOf(conversation) {
  return [...conversation.nodes.values()].filter(({ run }) => run?.start).map(({ run, method, model, seed, receipt }) => ({
    ...run, model, title: `${method.replaceAll("_", " ")}, seed ${seed}`, outputs: receipt ? outputsOf(receipt) : [],
  }));
}

/** List the models; their context lengths are known once they are loaded. */
async function offerModels() {
  const chosen = byId("model").value;
  const { data } = await ask("/v1/models");
  byId("model").replaceChildren(...data.map((model) => element("option", { value: model.id, "data-context": model.max_model_len ?? "" }, model.id)));
  byId("model").value = data.some(({ id }) => id === chosen) ? chosen : data[0].id;
  const show = () => offerModel(data[byId("model").selectedIndex]);
  byId("model").onchange = show;
  show();
}

async function begin() {
  theme();
  toggle("menu", "side", !NARROW.matches);
  toggle("settings-open", "settings", false);
  toggle("receipts-open", "receipts", false);
  let sidebar;
  const chat = new Chat(async (conversation, running) => {
    sidebar.keep(conversation);
    if (running || byId("model").selectedOptions[0]?.dataset.context) return;
    await offerModels();
    chat.showContext();
  });
  byId("model").addEventListener("change", () => chat.showContext());
  const open = (conversation) => {
    chat.open(conversation);
    sidebar.show(conversation);
    if (NARROW.matches) byId("side").hidden = true;
    byId("question").focus();
  };
  sidebar = new Sidebar(open);
  new Compare(() => runsOf(chat.conversation), () => byId("model").value);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    chat.send();
  });
  byId("stop").addEventListener("click", () => chat.stop());
  byId("fresh").addEventListener("click", () => open(new Conversation()));
  byId("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    chat.send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const covering = PARTS.map(byId).find((part) => NARROW.matches && !part.hidden);
    if (covering) covering.querySelector(".close").click();
    else chat.stop();
  });
  watchBar(chat, sidebar);
  watchForReceipts(() => byId("model").value);
  await sidebar.load();
  try {
    await offerModels();
    offerMethods((await ask("/v1/methods")).data);
    chat.showContext();
  } catch (error) {
    byId("hint").textContent = `The server cannot be reached: ${error.message}`;
    byId("hint").classList.add("wrong");
  }
}

begin();
