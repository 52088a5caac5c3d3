// Settings of a request: a method with its parameters, a budget, sampling. All are validated before sending.

import { byId, element } from "/page/dom.js";

const SAMPLING = ["temperature", "top_p", "max_tokens"];
/** Sampling defaults of plain answers, if neither the user nor the model's files set them. */
const USUAL = { temperature: 0.7, top_p: 0.95, max_tokens: 512 };
const SEARCH_TOKENS = 4000;
const NUMBERS = new Set(["int", "int | None", "float"]);
let usual = USUAL;

/** Show a model's defaults in the empty fields. */
export function offerModel(model) {
  usual = { ...USUAL };
  for (const name of SAMPLING) {
    usual[name] = model?.sampling_defaults?.[name] ?? USUAL[name];
    byId(name).placeholder = String(usual[name]);
  }
}

/** Create the grouped method selector, with fields for the parameters. */
export function offerMethods(methods) {
  const choice = byId("method");
  for (const group of new Set(methods.map((method) => method.group))) {
    const options = methods.filter((method) => method.group === group).map(({ name, line }) => (
      element("option", { value: name, title: line }, name.replaceAll("_", " "))
    ));
    choice.append(element("optgroup", { label: group }, ...options));
  }
  const known = new Map(methods.map((method) => [method.name, method]));
  const show = () => {
    const method = known.get(choice.value);
    const n = method?.parameters.find(({ name }) => name === "n");
    byId("n-field").hidden = !n;
    byId("n").required = Boolean(n);
    byId("n").value = n ? Math.min(n.default ?? 8, 8) : "";
    byId("budget-field").hidden = byId("parameters-title").hidden = !method;
    byId("about").hidden = !method;
    byId("about").textContent = method ? `${method.line} ${method.paper}` : "";
    byId("parameters").replaceChildren(...(method?.parameters ?? []).filter(({ name }) => name !== "n").map(parameter));
  };
  choice.addEventListener("change", show);
  show();
}

function parameter({ name, type, default: value, help, choices, maximum }) {
  const numeric = NUMBERS.has(type);
  const field = choices
    ? element("select", { name }, ...choices.map((one) => element("option", { value: one, selected: one === value }, one)))
    : element("input", { type: numeric ? "number" : type === "bool" ? "checkbox" : "text", name, placeholder: String(value ?? "") });
  if (numeric) field.step = type === "float" ? "any" : 1;
  if (numeric && maximum) field.max = maximum;
  field.dataset.type = type;
  if (type === "bool") field.checked = value;
  field.dataset.default = String(value);
  return element("label", { className: "field" }, element("span", {}, name.replaceAll("_", " ")), field, element("small", {}, help));
}

function given() {
  const values = {};
  for (const field of byId("parameters").querySelectorAll("input, select")) {
    const { type, default: usually } = field.dataset;
    if (type === "bool") {
      if (String(field.checked) !== usually.toLowerCase()) values[field.name] = field.checked;
    } else if (field.value !== "" && field.value !== usually) {
      values[field.name] = NUMBERS.has(type) ? Number(field.value) : field.value;
    }
  }
  return values;
}

/** Return true if all fields are valid; otherwise open the settings at the first invalid one. */
export function settingsAreValid() {
  const wrong = [...document.querySelectorAll("#settings input, #ask input")].find((field) => !field.hidden && !field.checkValidity());
  if (!wrong) return true;
  if (wrong.closest("#settings")) byId("settings").hidden = false;
  wrong.reportValidity();
  return false;
}

/**
 * Return the fields of a request, except messages and seed.
 *
 * @param {object} choice `model` and `method` instead of the chosen ones; another method gets its default parameters.
 */
export function requestOptions(choice = {}) {
  const fields = { model: choice.model ?? byId("model").value, stream: true, stream_options: { include_usage: true } };
  const method = choice.method ?? byId("method").value;
  const isOther = method !== byId("method").value;
  for (const name of SAMPLING) {
    if (byId(name).value !== "") fields[name] = Number(byId(name).value);
    else if (!method || name === "max_tokens") fields[name] = usual[name];  // methods have their own defaults
  }
  const receipt = byId("receipt").checked;
  if (!method) return { ...fields, ...(byId("logprobs").checked ? { logprobs: true, top_logprobs: 3 } : {}), intact: { receipt } };
  const budget = `tokens=${byId("budget").value || SEARCH_TOKENS}`;
  const intact = { method, parameters: isOther ? {} : given(), progress: true, budget, receipt };
  if (!isOther && !byId("n-field").hidden && byId("n").value) intact.n = Number(byId("n").value);
  return { ...fields, intact };
}
