// Elements from values. Text is only ever set as text, so that nothing a model writes becomes markup.

export function element(tag, fields = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

export const count = (number) => Math.round(number).toLocaleString("en");
