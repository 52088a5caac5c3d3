// Elements from values. Text is only ever set as text, so that model output never becomes markup (except in render.js).

export function element(tag, fields = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const button = (words, act, fields = {}) => {
  const made = element("button", { type: "button", ...fields }, words);
  made.addEventListener("click", act);
  return made;
};

export const byId = (id) => document.getElementById(id);

export const count = (number) => Math.round(number).toLocaleString("en");

/** Save a text as a file through the browser. */
export function save(text, name, type = "application/json") {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
