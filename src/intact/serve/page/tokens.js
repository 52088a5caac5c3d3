// Tokens with their probabilities and alternatives, shown under the pointer or the focus; unlikely ones have a stronger background.

import { element } from "/page/dom.js";

const GAP = 6;  // pixels between a token and its card
const percent = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(3)}%`;
const MOVES = { ArrowRight: 1, ArrowLeft: -1 };
let card = null;

/** Return a row of the card; `chosen` marks the token that was sampled. */
function row({ token, logprob }, chosen) {
  const bar = element("meter", { min: 0, max: 1, value: Math.exp(logprob), ariaLabel: `probability of ${JSON.stringify(token)}` });
  return element("tr", { className: chosen ? "chosen" : "" }, element("td", {}, chosen ? "★" : ""), element("td", {}, JSON.stringify(token)), element("td", {}, bar), element("td", {}, percent(logprob)));
}

/** Return the rows of a token: the likeliest first, the sampled one among them. */
function rows({ token, logprob, top_logprobs: top = [] }) {
  const others = top.filter((one) => one.token !== token);
  return [{ token, logprob }, ...others].sort((a, b) => b.logprob - a.logprob).map((one) => row(one, one.token === token));
}

function show(target, value) {
  card ??= element("div", { id: "token-card", role: "tooltip", popover: "manual" });
  if (!card.isConnected) document.body.append(card);
  const note = value.top_logprobs?.length ? "" : "No alternatives were recorded.";
  card.replaceChildren(element("table", {}, ...rows(value)), element("p", { className: "quiet" }, `log-probability ${value.logprob.toFixed(4)}. ${note}`));
  card.showPopover?.();
  const { left, top, bottom } = target.getBoundingClientRect();
  const { width, height } = card.getBoundingClientRect();
  const below = bottom + GAP + height <= innerHeight;
  card.style.left = `${Math.max(0, Math.min(left, innerWidth - width - GAP))}px`;
  card.style.top = `${Math.max(0, below ? bottom + GAP : top - GAP - height)}px`;
  target.setAttribute("aria-describedby", card.id);
}

function hide(target) {
  target.removeAttribute("aria-describedby");
  if (card?.matches(":popover-open")) card.hidePopover();
}

/** Replace an element's text by tokens: objects with `token`, `logprob` and, if known, `top_logprobs`. */
export function showTokens(target, tokens) {
  const made = tokens.map((value, i) => {
    const one = element("span", { className: "token", tabIndex: i ? -1 : 0 }, value.token);
    one.style.setProperty("--doubt", String(Math.round(100 * (1 - Math.exp(value.logprob)))));
    return one;
  });
  const places = new Map(made.map((one, i) => [one, i]));
  const at = (event) => places.get(event.target.closest?.(".token"));
  const list = element("span", { className: "tokens", role: "group", ariaLabel: "Tokens; arrow keys move between them" }, ...made);
  for (const [enter, leave] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    list.addEventListener(enter, (event) => at(event) !== undefined && show(made[at(event)], tokens[at(event)]));
    list.addEventListener(leave, (event) => at(event) !== undefined && hide(made[at(event)]));
  }
  list.addEventListener("keydown", (event) => {
    const next = made[at(event) + (MOVES[event.key] ?? NaN)];
    if (event.key === "Escape" && card?.matches(":popover-open")) {
      event.preventDefault();
      hide(event.target);
    }
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  target.replaceChildren(list);
}
