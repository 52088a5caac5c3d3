// Sets of characters as ascending ranges of code points, and the bytes that write them in UTF-8.

const LAST = 0x10ffff;

/** Return ranges in order, without overlaps and without surrogates, which no text has. */
export function normalized(ranges) {
  const sorted = ranges
    .flatMap(([low, high]) => [
      [low, Math.min(high, 0xd7ff)],
      [Math.max(low, 0xe000), high],
    ])
    .filter(([low, high]) => low <= high)
    .sort((a, b) => a[0] - b[0]);
  const out = [];
  for (const [low, high] of sorted) {
    const last = out.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else out.push([low, high]);
  }
  return out;
}

/** Return the characters that are not in a set. */
export function negated(ranges) {
  const out = [];
  let next = 0;
  for (const [low, high] of normalized(ranges)) {
    if (low > next) out.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= LAST) out.push([next, LAST]);
  return normalized(out);
}

/** Return the characters that are in both sets. */
export function intersection(a, b) {
  return negated([...negated(a), ...negated(b)]);
}

const properties = new Map();

/**
 * Return the characters with a Unicode property, as this engine's version of Unicode has it.
 *
 * @param {string} names What follows `\p` within braces in JavaScript, several separated by commas.
 * @throws {SyntaxError} If there is no such property.
 */
export function property(names) {
  if (!properties.has(names)) {
    const classes = names.split(",").map((name) => `\\p{${name}}`);
    const pattern = new RegExp(`[${classes.join("")}]`, "u");
    const ranges = [];
    for (let code = 0; code <= LAST; code++) {
      if (code === 0xd800) code = 0xe000;
      if (!pattern.test(String.fromCodePoint(code))) continue;
      const last = ranges.at(-1);
      if (last && last[1] === code - 1) last[1] = code;
      else ranges.push([code, code]);
    }
    properties.set(names, ranges);
  }
  return properties.get(names);
}

/** Return a set with all that differs from its members in case alone; null where that takes more than ASCII's letters. */
export function caseless(ranges) {
  const out = [...ranges];
  for (const [low, high] of ranges) {
    for (let code = Math.max(low, 0x41); code <= Math.min(high, 0x7a); code++) {
      if (code > 0x5a && code < 0x61) continue;
      out.push([code ^ 0x20, code ^ 0x20]);
      if ((code | 0x20) === 0x6b) out.push([0x212a, 0x212a]); // the sign of Kelvin
      if ((code | 0x20) === 0x73) out.push([0x17f, 0x17f]); // the long s
    }
    for (let code = Math.max(low, 0x80); code <= high; code++) {
      const text = String.fromCodePoint(code);
      if (high - low > 0x1000 || text.toLowerCase() !== text.toUpperCase()) return null;
    }
  }
  return normalized(out);
}

const LENGTHS = [0x7f, 0x7ff, 0xffff, LAST]; // the last code points of 1 to 4 bytes

/** Return the sequences of byte ranges that write the characters of a range: each a list of [low, high]. */
export function utf8([low, high]) {
  for (const last of LENGTHS) {
    if (low <= last && high > last) return [...utf8([low, last]), ...utf8([last + 1, high])];
  }
  if (high <= 0x7f) return [[[low, high]]];
  for (const bits of [6, 12, 18]) {
    const mask = 2 ** bits - 1;
    if ((low & ~mask) === (high & ~mask)) continue;
    if (low & mask) return [...utf8([low, low | mask]), ...utf8([(low | mask) + 1, high])];
    if ((high & mask) !== mask) return [...utf8([low, (high & ~mask) - 1]), ...utf8([high & ~mask, high])];
  }
  const [first, last] = [low, high].map(bytesOf);
  return [first.map((byte, i) => [byte, last[i]])];
}

const encoder = new TextEncoder();

function bytesOf(code) {
  return Array.from(encoder.encode(String.fromCodePoint(code)));
}
