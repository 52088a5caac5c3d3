// The tokens of an answer as boxes: each is marked when it has been computed again.

import { byId, count, element } from "./dom.js";

const MOST = 2000; // boxes; a receipt may have a quarter of a million tokens
let boxes = [];
let total = 0;
let reached = 0;
let marked = 0;

/** Show the tokens, unchecked. `texts` is null while no model says what they are. */
export function showTokens(tokens, texts) {
  total = tokens.length;
  reached = marked = 0;
  boxes = tokens.slice(0, MOST).map((token, i) =>
    element("span", { className: "token", title: `token ${i + 1}: ${token}` }, visible(texts?.[i] ?? `${token}`)),
  );
  byId("tokens").replaceChildren(...boxes);
  const more = total - boxes.length;
  byId("more").hidden = more <= 0;
  byId("more").textContent = `and ${count(more, "more token")}, which are checked and not shown`;
}

// White space that would make an empty box is drawn.
const visible = (text) => (text === "" ? "·" : text.replace(/\n/g, "⏎\n"));

/** Mark the tokens before a number as checked, at the next frame. */
export function markChecked(checked) {
  if (reached === marked) requestAnimationFrame(draw);
  reached = Math.max(reached, checked);
}

function draw() {
  for (; marked < Math.min(reached, boxes.length); marked++) boxes[marked].classList.add("checked");
  marked = reached;
}

/** Mark the token that is false, and let it be seen. */
export function markFalse(position) {
  draw();
  const box = boxes[position];
  if (!box) return;
  box.classList.add("false");
  box.prepend(element("span", { className: "sign" }, "✗ "));
  box.scrollIntoView({ block: "nearest" });
}

/** The text shown for a token. */
export const textAt = (position) => boxes[position]?.textContent ?? null;
