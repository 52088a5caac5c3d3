// Tokens with their log-probabilities under the pointer; likelier tokens have a paler background.

import { element } from "/page/dom.js";

const percent = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(3)}%`;

/** Replace an element's text by tokens: objects with `token`, `logprob` and, if known, `top_logprobs`. */
export function showTokens(target, tokens) {
  target.replaceChildren(...tokens.map(({ token, logprob, top_logprobs: top = [] }) => {
    const others = top.map((one) => `${JSON.stringify(one.token)} ${percent(one.logprob)}`);
    const title = [`${JSON.stringify(token)} ${percent(logprob)} (log-probability ${logprob.toFixed(4)})`, ...others].join("\n");
    const made = element("span", { className: "token", title }, token);
    made.style.setProperty("--doubt", String(Math.round(100 * (1 - Math.exp(logprob)))));
    return made;
  }));
}
