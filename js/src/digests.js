// Canonical JSON (RFC 8785) and the tree of digests (RFC 6962).

/** Write a value without floats, whose members have ASCII names, in canonical form. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

/** Return the root over digests of leaves; the left part is the largest power of two that leaves a right part. */
export function treeRoot(digest, leaves) {
  if (leaves.length === 1) return leaves[0];
  const middle = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
  return digest(Uint8Array.of(1), treeRoot(digest, leaves.slice(0, middle)), treeRoot(digest, leaves.slice(middle)));
}
