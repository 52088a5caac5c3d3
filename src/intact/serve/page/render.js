// Rendering of Markdown, code and mathematics in model output. HTML stays text, images become links, nothing is executed.

import hljs from "/page/vendor/highlight.js";
import "/page/vendor/katex.js";
import MarkdownIt from "/page/vendor/markdown-it.js";
import { element } from "/page/dom.js";

const LONGEST = 20_000;  // characters of a formula
const MATHS = [["$$", "$$", true], ["\\[", "\\]", true], ["\\(", "\\)", false], ["$", "$", false]];

function highlight(code, language) {
  return hljs.getLanguage(language) ? hljs.highlight(code, { language, ignoreIllegals: true }).value : "";
}

const markdown = new MarkdownIt({ html: false, linkify: false, breaks: false, highlight });
markdown.disable("image");
markdown.inline.ruler.before("escape", "mathematics", readMathematics);
markdown.block.ruler.before("fence", "mathematics", readBlock, { alt: ["paragraph", "blockquote", "list"] });
markdown.renderer.rules.mathematics = (tokens, index) => formula(tokens[index].content, tokens[index].meta.display);
const questions = new MarkdownIt("zero");
questions.inline.ruler.before("text", "mathematics", readMathematics);
questions.inline.ruler.enable("mathematics");
questions.renderer.rules.mathematics = markdown.renderer.rules.mathematics;
const open = markdown.renderer.rules.link_open ?? ((tokens, index, options, _, self) => self.renderToken(tokens, index, options));
markdown.renderer.rules.link_open = (tokens, index, options, environment, self) => {
  tokens[index].attrSet("rel", "noopener noreferrer");
  tokens[index].attrSet("target", "_blank");
  return open(tokens, index, options, environment, self);
};

/** Parse $...$, $$...$$, \(...\) and \[...\]; a single dollar counts only if no blank or digit suggests money. */
function readMathematics(state, silent) {
  for (const [opening, closing, display] of MATHS) {
    if (!state.src.startsWith(opening, state.pos)) continue;
    const begin = state.pos + opening.length;
    const end = state.src.indexOf(closing, begin);
    if (end < begin + 1 || end + closing.length > state.posMax) continue;
    const content = state.src.slice(begin, end);
    if (opening === "$" && (/^\s|\s$|\n/.test(content) || /\d/.test(state.src[end + 1] ?? ""))) continue;
    if (!silent) Object.assign(state.push("mathematics", "math", 0), { content, meta: { display } });
    state.pos = end + closing.length;
    return true;
  }
  return false;
}

/** Parse a formula that begins a line, with all its lines. */
function readBlock(state, first, last, silent) {
  const begin = state.bMarks[first] + state.tShift[first];
  const kind = MATHS.find(([opening, , display]) => display && state.src.startsWith(opening, begin));
  if (!kind) return false;
  const [opening, closing] = kind;
  const end = state.src.indexOf(closing, begin + opening.length);
  if (end < 0 || end >= state.eMarks[last - 1]) return false;
  let line = first;
  while (state.eMarks[line] < end) line += 1;
  if (state.src.slice(end + closing.length, state.eMarks[line]).trim()) return false;
  if (silent) return true;
  const token = state.push("mathematics", "math", 0);
  Object.assign(token, { content: state.src.slice(begin + opening.length, end), meta: { display: true }, block: true });
  state.line = line + 1;
  return true;
}

/** Return a formula as MathML; one that cannot be drawn, or is too deep or too long, stays text. */
function formula(source, displayMode) {
  const options = { displayMode, output: "mathml", throwOnError: true, trust: false, strict: "ignore", maxExpand: 1000, maxSize: 20 };
  try {
    if (source.length <= LONGEST) return globalThis.katex.renderToString(source, options);
  } catch {
    // shown as text
  }
  return `<code class="formula">${markdown.utils.escapeHtml(source)}</code>`;
}

/** Render the formulas of a question into an element; everything else stays as it was typed. */
export function renderQuestion(target, text) {
  target.innerHTML = questions.renderInline(text);
}

/** Render a text as Markdown into an element. */
export function render(target, text) {
  target.innerHTML = markdown.render(text);
  for (const block of target.querySelectorAll("pre")) {
    block.tabIndex = 0;  // makes it scrollable by keyboard
    const copy = element("button", { type: "button", className: "copy" }, "Copy code");
    copy.addEventListener("click", () => copyText(copy, block.textContent));
    block.replaceWith(element("div", { className: "code" }, copy, block.cloneNode(true)));
  }
  for (const table of target.querySelectorAll("table")) {
    const scroller = element("div", { className: "wide", tabIndex: 0 });
    table.replaceWith(scroller);
    scroller.append(table);
  }
}

/** Copy a text to the clipboard, and confirm it briefly on the button. */
export async function copyText(button, text) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not allow it";
  }
  setTimeout(() => { button.textContent = words; }, 1500);
}
