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
const RETRY_EVERY = 5000;  // milliseconds
/** Side panels, which cover the conversation in a narrow window. */
const PARTS = ["side", "settings", "receipts"];

/** Switch between light and dark colours; the button names the one that it switches to. */
function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const other = (name) => (name === "dark" ? "light" : "dark");
  const show = (name) => {
    document.documentElement.dataset.theme = name;
    byId("theme").textContent = other(name) === "dark" ? "Dark" : "Light";
    byId("theme").title = `Switch to ${other(name)} colours`;
  };
  show(read("localStorage", "theme") ?? system);
  byId("theme").addEventListener("click", () => {
    const name = other(document.documentElement.dataset.theme);
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

/** Fit side panels to the window: they cover a narrow one, so they are closed when it becomes narrow. */
function fitPanels() {
  const isCovered = () => NARROW.matches && PARTS.some((part) => !byId(part).hidden);
  const observer = new MutationObserver(() => { byId("shade").hidden = !isCovered(); });
  PARTS.forEach((part) => observer.observe(byId(part), { attributes: true, attributeFilter: ["hidden"] }));
  NARROW.addEventListener("change", () => {
    byId("side").hidden = NARROW.matches;
    if (NARROW.matches) for (const part of ["settings", "receipts"]) byId(part).hidden = true;
    byId("shade").hidden = !isCovered();
  });
  byId("shade").addEventListener("click", () => PARTS.forEach((part) => { byId(part).hidden = true; }));
}

/** Open and close the menu that a narrow window has instead of the header's buttons. */
function moreMenu() {
  const show = (isOpen) => {
    byId("more-tools").classList.toggle("open", isOpen);
    byId("more").setAttribute("aria-expanded", String(isOpen));
  };
  const isOpen = () => byId("more-tools").classList.contains("open");
  byId("more").addEventListener("click", () => show(!isOpen()));
  document.addEventListener("click", ({ target }) => { if (isOpen() && !target.closest("#more")) show(false); });
  byId("more-tools").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !isOpen()) return;
    event.preventDefault();
    show(false);
    byId("more").focus();
  });
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
  fitPanels();
  moreMenu();
  let sidebar;
  const chat = new Chat(async (conversation, running) => {
    sidebar.keep(conversation);
    if (running || byId("model").selectedOptions[0]?.dataset.context) return;
    await offerModels();
    chat.showContext();
  });
  byId("model").addEventListener("change", () => chat.showContext());
  const open = (conversation) => {
    if (chat.running && !confirm("An answer is being written. Stop it, keeping what is there?")) return;
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
  sidebar.show(chat.conversation);
  await sidebar.load();
  await reach(() => chat.showContext());
}

/** Fetch models and methods, and again every few seconds while the server does not answer. */
async function reach(done) {
  let timer;
  const attempt = async () => {
    clearTimeout(timer);
    try {
      await offerModels();
      offerMethods((await ask("/v1/methods")).data);
    } catch (error) {
      byId("trouble").hidden = false;
      byId("trouble-words").textContent = error.words ?? error.message;
      timer = setTimeout(attempt, RETRY_EVERY);
      return;
    }
    byId("trouble").hidden = true;
    done();
  };
  byId("trouble-again").addEventListener("click", attempt);
  await attempt();
}

begin();
