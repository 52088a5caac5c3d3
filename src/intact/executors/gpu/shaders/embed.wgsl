// include batch.wgsl
// include codes.wgsl
// Section 9: a row of a matrix for each row, of its token or its position. A matrix may be cut into parts.
struct Parameters { embed: Embed }
struct Embed {
    place: u32,
    width: u32,
    blocks: u32,
    zero: i32,
    minima: u32,      // offsets in `numbers`
    exponents: u32,
    table: u32,       // in `vectors`: T - zero
    multiplier: i32,
    by_position: u32, // the rows are those of positions, not of tokens
    shifted: u32,     // added to a position
    first: u32,       // row of the matrix that the first row of this part is
    count: u32,       // of rows of this part
    accumulate: u32,
    bias: u32,        // in `vectors`, plus 1; 0 for none
    second_bias: u32, // the same, for rows after a separator
}
fn code_at(panel: u32, o: u32, k: u32) -> i32 {
    let word = group_codes((panel * par.embed.blocks + (k >> 5u)) * BITS * 16u, (k & 31u) >> 2u, o);
    if (TABLE != 0u) { return vector_word(par.embed.table, extractBits(word, 8u * (k & 3u), 8u)); }
    return extractBits(i32(word), 8u * (k & 3u), 8u) - par.embed.zero;
}
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.embed;
    var which = batch.data[batch.tokens + g.y];
    if (p.by_position != 0u) { which = batch.data[batch.positions + g.y] + p.shifted; }
    if (which < p.first || which >= p.first + p.count) { return; }
    let n = which - p.first;
    let panel = n >> 4u;
    let o = n & 15u;
    let pairs = select((p.blocks + 1u) / 2u, p.blocks, BLOCK == 16u);
    let to = g.y * batch.row_words + p.place;
    let bias = select(p.bias, p.second_bias, batch.data[batch.second + g.y] != 0u);
    for (var k = i; k < p.width; k += LANES) {
        let b = select(k >> 5u, k >> 4u, BLOCK == 16u);
        let at = (panel * pairs + b / 2u) * 16u + o;
        let scaled = code_at(panel, o, k) * half_of(numbers[at], b);
        var v = rshift(mul(scaled, p.multiplier), 4 - i32(numbers[p.exponents + 2u * n]));
        if (MINIMA) {
            let least = mul(half_of(numbers[p.minima + at], b), p.multiplier);
            v = plus(v, rshift(least, 4 - i32(numbers[p.exponents + 2u * n + 1u])));
        }
        if (bias != 0u) { v = plus(v, vector_wide(bias - 1u, k)); }
        if (p.accumulate != 0u) { v = plus(v, element(to, k, 1u)); }
        put(to, k, 1u, v);
    }
}
