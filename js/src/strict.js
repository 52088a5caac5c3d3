// JSON that leaves nothing open: no member given twice, no nesting beyond what a receipt may have.

const MOST_DEPTH = 128;

/**
 * Parse a JSON text.
 *
 * @throws {SyntaxError} If it is no JSON, or has a member twice, or is nested too deep.
 */
export function parseStrict(text) {
  const value = JSON.parse(text);
  const open = []; // of each list null, of each object the names of its members so far
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{" || character === "[") {
      open.push(character === "{" ? new Set() : null);
      if (open.length > MOST_DEPTH)
        throw new SyntaxError(`nested too deeply; at most ${MOST_DEPTH} levels of lists and objects are allowed`);
    } else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const begin = i++;
      while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      let after = i + 1;
      while (/\s/.test(text[after] ?? "")) after++;
      const names = open.at(-1);
      if (text[after] !== ":" || !names) continue;
      const name = JSON.parse(text.slice(begin, i + 1));
      if (names.has(name)) throw new SyntaxError(`it has the member ${JSON.stringify(name).slice(0, 60)} twice`);
      names.add(name);
    }
  }
  return value;
}
