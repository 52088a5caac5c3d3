// Control tokens that the contents of a conversation spell: marks stand for them while a template is rendered, so that
// they become text and the template's own become tokens (docs/spec/text.md).

/** A mark begins with these digits, then others that no text has, and ends with 8 that number what it stands for. */
const BEGIN = "73108259";
const CUT = 10 ** 8 - 1;

const joined = (parts) =>
  parts.length > 1 && parts.every((part) => typeof part?.text === "string")
    ? parts.map((part) => part.text).join("")
    : null;

/** Yield all texts in a value, names too, and those of a content's parts together. */
function* textsOf(value) {
  if (typeof value === "string") yield value;
  else if (value !== null && typeof value === "object") {
    if (Array.isArray(value)) {
      const whole = joined(value);
      if (whole !== null) yield whole;
    } else yield* Object.keys(value);
    for (const item of Object.values(value)) yield* textsOf(item);
  }
}

/**
 * Replace the texts of control tokens in the variables of a template.
 *
 * @param {RegExp | null} pattern Finds them in a text.
 * @param {object} values The variables.
 * @returns {{ values: object, split: (prompt: string) => { text: string, isContent: boolean }[] } | null} The variables
 *   with marks, and what splits the prompt that the template makes of them at these; null if there are none.
 */
export function markControlTexts(pattern, values) {
  const texts = [...textsOf(values)];
  const spells = (text) => pattern !== null && text.search(pattern) >= 0;
  if (!texts.some(spells)) return null;
  let salt = 0;
  while (texts.some((text) => text.includes(BEGIN + String(salt).padStart(8, "0")))) salt += 1;
  const mark = BEGIN + String(salt).padStart(8, "0");
  const numbers = new Map();
  const markOf = (number) => mark + String(number).padStart(8, "0");
  const marked = (value) => {
    if (typeof value === "string")
      return value.replace(pattern, (found) => {
        if (!numbers.has(found)) numbers.set(found, numbers.size);
        return markOf(numbers.get(found));
      });
    if (value === null || typeof value !== "object") return value;
    if (!Array.isArray(value))
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [marked(name), marked(item)]));
    const whole = joined(value);
    return whole !== null && spells(whole)
      ? value.map((part) => ({ ...marked(part), text: marked(part.text) + markOf(CUT) }))
      : value.map(marked);
  };
  const made = marked(values);
  const split = (prompt) => {
    const found = [...numbers.keys()];
    return prompt.split(new RegExp(`${mark}(\\d{8})`)).flatMap((text, i) => {
      if (i % 2 === 0) return [{ text, isContent: false }];
      return found[Number(text)] === undefined ? [] : [{ text: found[Number(text)], isContent: true }];
    });
  };
  return { values: made, split };
}
