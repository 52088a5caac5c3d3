// Elements from values. Text is only ever set as text, so that nothing in a file becomes markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, fields = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Show a text, or hide its place if there is none. */
export function say(id, text = "") {
  byId(id).textContent = text;
}

export const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
export const size = (bytes) =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** Have a file that is chosen in a field, or dropped on its label, handled; the last one wins. */
export function takeFile(field, label, handle) {
  field.addEventListener("click", () => (field.value = "")); // or choosing the same file again would do nothing
  field.addEventListener("change", () => field.files.length && handle(field.files[0]));
  if (label) {
    label.addEventListener("dragover", (event) => {
      event.preventDefault();
      label.classList.add("over");
    });
    label.addEventListener("dragleave", () => label.classList.remove("over"));
    label.addEventListener("drop", (event) => {
      event.preventDefault();
      label.classList.remove("over");
      if (event.dataTransfer.files.length) handle(event.dataTransfer.files[0]);
    });
  }
  if (field.files.length) handle(field.files[0]); // which some browsers keep over a reload
}
