// The page: a receipt and a model's file in, a verdict out. All computing is in a worker.

import definitions from "../src/definitions.js";
import { WorkerEngine } from "../src/engine.js";
import { BlobSource } from "../src/sources.js";
import { byId, count, element, size, say, takeFile } from "./dom.js";
import { markChecked, markFalse, showTokens } from "./tokens.js";
import { problem, words } from "./words.js";

const ROWS = 16; // tokens of a step: small, so that they are seen to pass one by one
const QUARTERS = 4;
const FIELDS = [
  ["weights", "weights"],
  ["tokenizer", "tokenizer"],
  ["template", "chat template"],
];
const state = { engine: null, file: null, model: null, receipts: [], shown: 0, work: null, opening: null };

const bytesOf = (id) => Uint8Array.from(atob(byId(id).textContent), (character) => character.charCodeAt(0));
const wasm = bytesOf("wasm");
const script = URL.createObjectURL(new Blob([bytesOf("worker")], { type: "text/javascript" }));

/** Return the engine; a new one where the last has failed. */
async function engine() {
  state.engine ??= WorkerEngine.start({ wasm, worker: new Worker(script) });
  try {
    return await state.engine;
  } catch (error) {
    state.engine = null;
    throw error;
  }
}

/** Drop the engine: its memory is lost after an error in the module. */
function restart(error) {
  if (error.name !== "CoreError") return;
  state.engine?.then((one) => one.close()).catch(() => {});
  state.engine = state.model = state.opening = null;
}

/** Do one thing at a time: what is new cancels what goes on. Errors are said in the place named. */
async function work(name, place, act) {
  state.work?.abort();
  const controller = (state.work = new AbortController());
  byId("work").hidden = false;
  byId("work-bar").removeAttribute("value");
  say("work-name", name);
  say(place);
  try {
    return await act(controller.signal);
  } catch (error) {
    restart(error);
    if (state.work === controller) {
      say(place, problem(error));
      say("status", error.name === "AbortError" ? "Cancelled." : `This did not work: ${problem(error)}`);
    }
    return null;
  } finally {
    if (state.work === controller) {
      byId("work").hidden = true;
      state.work = null;
      offerWriting();
    }
  }
}

function progress(done, total) {
  const bar = byId("work-bar");
  const before = Math.floor((QUARTERS * (bar.value ?? 0)) / (bar.max || 1));
  [bar.max, bar.value] = [total, done];
  const now = Math.floor((QUARTERS * done) / total);
  if (now !== before && now < QUARTERS) say("status", `${byId("work-name").textContent}: ${25 * now} %`);
}

async function takeReceipt(file) {
  [state.receipts, state.shown] = [[], 0];
  show();
  const found = await work("Reading the receipt", "receipt-problem", async () => (await engine()).receipts(file));
  if (found === null) return;
  state.receipts = found.map((one) => ({ ...one, texts: null }));
  say("receipt-state", `${file.name}: ${count(found.length, "receipt")}, ${size(file.size)}.`);
  chooseAmong();
  show();
  await next();
}

async function takeModel(file) {
  [state.file, state.model] = [file, null];
  say("model-state", `${file.name}: ${size(file.size)}.`);
  await again();
}

/** Verify all receipts anew. */
async function again() {
  for (const one of state.receipts) if (one.receipt) [one.verdict, one.texts] = [undefined, null];
  show();
  await next();
}

async function takeOpening(file) {
  state.opening = null;
  say("opening-state");
  const found = await work("Reading the opening", "opening-problem", async () => (await engine()).open(file));
  if (found === null) return;
  [state.opening, state.model] = [found, null];
  say("opening-state", `${file.name}: ${size(file.size)}, ${found.layers.length === 1 ? "layer" : "layers"} ${found.layers.join(", ")}.`);
  await again();
}

/** If true, a receipt is checked by the layers that were opened. */
const isOpened = ({ receipt, digests }) => receipt.layers !== undefined && digests.receipt === state.opening?.receipt;

/** Load the file for a number of bits, or the opened layers of it alone, unless it is loaded. */
async function loaded(bits, signal, isOpened = false) {
  if (state.model?.numerics.bits === bits && state.model.isOpened === isOpened) return state.model;
  state.model = null;
  say("work-name", "Reading the model");
  const began = performance.now();
  const { threads } = await engine();
  const model = await (await engine()).load(new BlobSource(state.file), { bits, progress, signal, isOpened });
  model.isOpened = isOpened;
  signal.throwIfAborted(); // another file may have been chosen since
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const { name, digests, memoryBytes } = model;
  const called = digests.name ? `, which calls itself ${JSON.stringify(digests.name).slice(0, 80)}` : "";
  say("model-state", `${name}${called}: ${size(state.file.size)}, ${count(digests.tensors, "tensor")}, read in ${seconds} s into ${size(memoryBytes)} of memory, ${count(threads, "thread")}.`);
  return (state.model = model);
}

/** Verify what can be verified now, the receipt shown first. */
async function next() {
  if (!state.receipts.length || !state.file) {
    const missing = state.file ? "Choose a receipt." : state.receipts.length ? "Choose the model's file." : "Choose a receipt and the model's file.";
    say("status", missing);
    if (state.file && !state.model) await work("Reading the model", "model-problem", (signal) => loaded(8, signal));
    if (state.model && !state.receipts.length) say("status", `The model is read. ${missing}`);
    showDigests();
    return;
  }
  const order = [state.shown, ...state.receipts.keys()];
  const of = (i) => state.receipts[i];
  for (let i; (i = order.find((at) => of(at).verdict === undefined)) !== undefined;) {
    if ((await work("Verifying", "model-problem", (signal) => judge(i, signal))) === null) return;
  }
  conclude();
}

async function judge(i, signal) {
  const one = state.receipts[i];
  const { receipt } = one;
  const { tokens } = receipt.output;
  const isShown = () => state.shown === i;
  let model;
  try {
    model = await loaded(receipt.numerics.bits, signal, isOpened(one));
  } catch (error) {
    if (error.name !== "InputError") throw error;
    say("model-problem", error.message);
    one.verdict = { outcome: "unverifiable", what: "model", position: null, detail: error.message, checked: 0 };
    show();
    return one.verdict;
  }
  if (receipt.model.weights === model.digests.weights) one.texts = await model.texts(tokens);
  show();
  say("work-name", "Verifying");
  say("status", `Verifying ${count(tokens.length, "token")} …`);
  const began = performance.now();
  const seen = (checked, total) => {
    progress(checked, total);
    if (isShown()) markChecked(checked);
  };
  const options = { rows: ROWS, signal, progress: seen };
  const opened = { nonce: byId("nonce").value.trim(), layers: state.opening?.layers.length };
  one.verdict = await (model.isOpened ? model.verifyLayers(receipt, { ...options, ...opened }) : model.verify(receipt, options));
  one.seconds = (performance.now() - began) / 1000;
  if (isShown()) show();
  chooseAmong();
  return one.verdict;
}

/** Say how it ended. */
function conclude() {
  const outcomes = state.receipts.map(({ verdict }) => verdict.outcome);
  if (outcomes.length === 1) {
    const [{ verdict, receipt, seconds }] = state.receipts;
    const total = receipt?.output.tokens.length ?? 0;
    const took = seconds ? ` (${count(total, "token")}, ${seconds.toFixed(1)} s)` : "";
    say("status", `${words(verdict, total).outcome}${took}`);
    return;
  }
  const of = (name) => outcomes.filter((one) => one === name).length;
  say("status", `${of("true")} true, ${of("false")} false, ${of("unverifiable")} that cannot be verified.`);
}

const NAMES = { true: "✓ true", false: "✗ false", unverifiable: "? cannot be verified", partial: "partly checked" };

function chooseAmong() {
  byId("several").hidden = state.receipts.length < 2;
  const label = ({ verdict }, i) => `${i + 1} of ${state.receipts.length}${verdict ? `: ${NAMES[verdict.outcome]}` : ""}`;
  const which = byId("which");
  which.replaceChildren(...state.receipts.slice(0, 1000).map((one, i) => element("option", { value: i }, label(one, i))));
  which.value = state.shown;
}

/** Show the receipt chosen: its request, its tokens, its verdict. */
function show() {
  const { receipt, verdict, texts } = state.receipts[state.shown] ?? {};
  byId("verdict").hidden = verdict === undefined;
  byId("answer").hidden = receipt === undefined;
  if (!state.receipts.length) say("receipt-state");
  if (receipt) {
    const { request, model } = receipt;
    const { temperature, seed } = request.sampling;
    const from = request.source ? promptOf(request.source) : count(request.prompt.length, "token");
    say("asked", `Says of itself: model ${JSON.stringify(model.name ?? "without a name").slice(0, 120)}, temperature ${temperature}, seed ${seed}, prompt: ${from}`);
    showTokens(receipt.output.tokens, texts);
  }
  if (verdict) {
    const { kind, outcome, detail } = words(verdict, receipt?.output.tokens.length ?? 0);
    byId("verdict").className = `verdict ${kind}`;
    say("outcome", outcome);
    say("detail", detail);
    markChecked(verdict.checked);
    const isToken = verdict.outcome === "false" && verdict.what !== "prompt";
    if (isToken && verdict.position !== null) markFalse(verdict.position);
  }
  showDigests();
}

// What a receipt's source says, as one line; it is shown, and checked by `verify`.
function promptOf({ kind, text }) {
  const most = 300;
  let said = text;
  if (kind === "chat") {
    try {
      const { messages } = JSON.parse(text);
      said = messages.map(({ role, content }) => `${role}: ${typeof content === "string" ? content : "…"}`).join(" / ");
    } catch {
      // it is shown as it is
    }
  }
  return said.length > most ? `${said.slice(0, most)}…` : said;
}

function showDigests() {
  const { receipt, digests } = state.receipts[state.shown] ?? {};
  const own = state.model?.digests;
  const row = (name, claimed, here) => {
    const known = claimed !== undefined && here !== undefined;
    const text = (value) => (value === undefined ? "not read yet" : (value ?? "none"));
    const mark = !known ? "" : claimed === here ? "✓ equal" : "✗ differs";
    const kind = !known ? "" : claimed === here ? "same" : "differs";
    return element(
      "tr", {},
      element("th", { scope: "row" }, name),
      element("td", { "data-of": "in the receipt" }, text(claimed)),
      element("td", { "data-of": "of the file here" }, text(here)),
      element("td", { className: kind, "data-of": "equal" }, mark),
    );
  };
  byId("digests").replaceChildren(
    ...FIELDS.map(([name, words]) => row(words, receipt?.model[name], own?.[name])),
    row("arithmetic", receipt && arithmeticOf(receipt.numerics), state.model ? arithmeticOf(state.model.numerics) : undefined),
    ...(digests ? [wide("receipt, without its signature", digests.receipt), wide("answer's text", digests.text)] : []),
  );
}

const arithmeticOf = ({ version, profile, bits }) => `${version}, ${profile}, ${bits} bits`;
const wide = (name, digest) => element(
  "tr", {}, element("th", { scope: "row" }, name), element("td", { colSpan: 3, "data-of": "SHA-256" }, digest),
);

function showContract(found = {}) {
  byId("contract").replaceChildren(...Object.entries(definitions.contract).map(([group, digest]) => {
    const own = found[group];
    const kind = own === undefined ? "" : own === digest ? "same" : "differs";
    const text = own === undefined ? "not computed yet" : own === digest ? "✓ equal" : `✗ ${own}`;
    return element(
      "tr", {},
      element("th", { scope: "row" }, group),
      element("td", { "data-of": "of the contract" }, digest),
      element("td", { className: kind, "data-of": "of this browser" }, text),
    );
  }));
}

async function takeSet(file) {
  say("set-state", "Computing …");
  try {
    const { digests, wrong } = await (await engine()).selftest(file);
    showContract(digests);
    const same = Object.entries(definitions.contract).every(([group, digest]) => digests[group] === digest);
    say("set-state", same ? "This browser computes what the contract says." : `It does not: ${count(wrong.length, "case")} differ.`);
  } catch (error) {
    restart(error);
    say("set-state", problem(error));
  }
}

function offerWriting() {
  byId("write").disabled = state.model === null || state.model.isOpened;
  if (state.model) byId("as-chat").disabled = !state.model.hasTemplate;
}

const NUMBERS = {
  temperature: [/^(0|[1-9]\d{0,2})(\.\d{1,6})?$/, "the temperature must be a number from 0 to 999, like 0.8"],
  seed: [/^\d{1,19}$/, "the seed must be a whole number"],
  "max-tokens": [/^[1-9]\d{0,5}$/, "the number of tokens must be a whole number from 1 on"],
};

async function write(event) {
  event.preventDefault();
  const given = Object.fromEntries(Object.keys(NUMBERS).map((id) => [id, byId(id).value.trim()]));
  const wrong = Object.keys(NUMBERS).find((id) => !NUMBERS[id][0].test(given[id]));
  for (const id of Object.keys(NUMBERS)) byId(id).toggleAttribute("aria-invalid", id === wrong);
  say("try-problem", wrong ? `${NUMBERS[wrong][1]}, got ${JSON.stringify(given[wrong]).slice(0, 40)}` : "");
  if (wrong || !state.model) return;
  const { model } = state;
  const isChat = model.hasTemplate && byId("as-chat").checked;
  const text = byId("prompt").value;
  const written = byId("written");
  written.hidden = false;
  written.textContent = "";
  byId("stop").hidden = false;
  say("try-state", "Writing …");
  await work("Writing", "try-problem", async (signal) => {
    const began = performance.now();
    const prompt = await (isChat ? model.encodeChat([{ role: "user", content: text }]) : model.encode(text));
    const heat = given.temperature.includes(".") ? given.temperature.replace(/\.?0+$/, "") : given.temperature;
    const parameters = { temperature: heat, seed: `${BigInt(given.seed)}`, max_tokens: Number(given["max-tokens"]) };
    let drawn = 0;
    for await (const piece of model.stream(prompt, parameters, undefined, { signal })) {
      drawn++;
      written.append(piece.text);
    }
    const rate = drawn / ((performance.now() - began) / 1000);
    say("try-state", `${count(drawn, "token")} behind a prompt of ${prompt.length}, ${rate.toFixed(1)} a second.`);
    return true;
  });
  byId("stop").hidden = true;
  if (byId("try-state").textContent === "Writing …") say("try-state", "Stopped.");
}

async function main() {
  say("numerics", definitions.numerics);
  showContract();
  showDigests();
  try {
    await engine();
  } catch (error) {
    say("status", problem(error));
    return;
  }
  say("status", "Choose a receipt and the model's file.");
  const subtle = globalThis.crypto?.subtle;
  const digest = subtle && new Uint8Array(await subtle.digest("SHA-256", wasm));
  say("module-digest", digest ? Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") : "(not shown: this address is not secure)");
  takeFile(byId("receipt-file"), byId("receipt-drop"), takeReceipt);
  takeFile(byId("model-file"), byId("model-drop"), takeModel);
  takeFile(byId("opening-file"), byId("opening-drop"), takeOpening);
  takeFile(byId("set-file"), null, takeSet);
  byId("nonce").addEventListener("change", () => state.opening && again());
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  byId("cancel").addEventListener("click", () => state.work?.abort());
  byId("stop").addEventListener("click", () => state.work?.abort());
  byId("try").addEventListener("submit", write);
  byId("which").addEventListener("change", ({ target }) => {
    state.shown = Number(target.value);
    show();
  });
}

main();
