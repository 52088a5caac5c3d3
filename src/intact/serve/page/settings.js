// Settings of a request: a method with its parameters, a budget, sampling.

import { byId, element } from "/page/dom.js";

const SAMPLING = ["temperature", "top_p", "max_tokens", "seed"];
const SEARCH_TOKENS = 4000;
const NUMBERS = new Set(["int", "int | None", "float"]);

/** Make the choice of a method, with fields for its parameters. */
export function offer(methods) {
  const choice = byId("method");
  for (const { name, line } of methods) choice.append(element("option", { value: name, title: line }, name.replaceAll("_", " ")));
  const known = new Map(methods.map((method) => [method.name, method]));
  const show = () => {
    const method = known.get(choice.value);
    const n = method?.parameters.find(({ name }) => name === "n");
    byId("n-field").hidden = !n;
    byId("n").value = n ? Math.min(n.default ?? 8, 8) : "";
    byId("budget-field").hidden = !method;
    byId("about").hidden = !method;
    byId("about").textContent = method ? `${method.line} ${method.paper}` : "";
    byId("parameters").replaceChildren(...(method?.parameters ?? []).filter(({ name }) => name !== "n").map(parameter));
  };
  choice.addEventListener("change", show);
  show();
}

function parameter({ name, type, default: value, help }) {
  const numeric = NUMBERS.has(type);
  const field = element("input", {
    type: numeric ? "number" : type === "bool" ? "checkbox" : "text", name, title: help, placeholder: String(value ?? ""),
  });
  if (numeric) field.step = type === "float" ? "any" : 1;
  field.dataset.type = type;
  if (type === "bool") field.checked = value;
  field.dataset.default = String(value);
  return element("label", { className: "field", title: help }, name.replaceAll("_", " "), field);
}

function given() {
  const values = {};
  for (const field of byId("parameters").querySelectorAll("input")) {
    const { type, default: usual } = field.dataset;
    if (type === "bool") {
      if (String(field.checked) !== usual.toLowerCase()) values[field.name] = field.checked;
    } else if (field.value !== "") {
      values[field.name] = NUMBERS.has(type) ? Number(field.value) : field.value;
    }
  }
  return values;
}

/** Return the fields of a request, but for the messages. */
export function requestOptions() {
  const fields = { model: byId("model").value, stream: true };
  for (const name of SAMPLING) if (byId(name).value !== "") fields[name] = Number(byId(name).value);
  const method = byId("method").value;
  const receipt = byId("receipt").checked;
  if (!method) return { ...fields, intact: { receipt } };
  const budget = `tokens=${byId("budget").value || SEARCH_TOKENS}`;
  const intact = { method, parameters: given(), progress: true, budget, receipt };
  if (!byId("n-field").hidden && byId("n").value) intact.n = Number(byId("n").value);
  return { ...fields, intact };
}
