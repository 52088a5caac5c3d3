// Tokens with their log-probabilities, shown under the pointer; the paler its background, the likelier a token was.

import { element } from "/page/dom.js";

const percent = (logprob) => `${(100 * Math.exp(logprob)).toPrecision(3)}%`;

/** Replace an element's text by tokens: objects of `token`, `logprob` and, where known, `top_logprobs`. */
export function showTokens(target, tokens) {
  target.replaceChildren(...tokens.map(({ token, logprob, top_logprobs: top = [] }) => {
    const others = top.map((one) => `${JSON.stringify(one.token)} ${percent(one.logprob)}`);
    const title = [`${JSON.stringify(token)} ${percent(logprob)} (log-probability ${logprob.toFixed(4)})`, ...others].join("\n");
    const made = element("span", { className: "token", title }, token);
    made.style.setProperty("--doubt", String(Math.round(100 * (1 - Math.exp(logprob)))));
    return made;
  }));
}
