// include batch.wgsl
// include functions.wgsl
// include reduce.wgsl
// Section 7: a head of a row a workgroup. A text (five words a row): its first page in the list of pages, the number of
// slots that the row sees before a tree of drafts, the slots of the tree that it sees (64 bits), and the number of slots
// that it sees if attention is not causal. A head's scores, then its weights, are in `scores`.
struct Attend {
    query: u32,
    place: u32,
    heads: u32,
    kv_heads: u32,
    width: u32,
    padded: u32,
    page: u32,      // positions of a page
    mantissa: u32,  // of the score factor
    exponent: i32,
    window: u32,    // 0 for none
    slope: u32,     // of the soft cap of scores; 0 for none
    limit: u32,
    sinks: u32,     // in `vectors`, plus 1; 0 for none
    causal: u32,
}
struct Parameters { attend: Attend }
@group(0) @binding(4) var<storage, read> cache: array<u32>;
@group(0) @binding(5) var<storage, read_write> scores: array<i32>;
var<workgroup> query: array<i32, 512>;

struct Visible { first: u32, end: u32, last: u32, tree: vec2<u32> } // slots first to end - 1, and those of the tree before last
fn bit_of(tree: vec2<u32>, k: u32) -> bool { return (select(tree.x, tree.y, k >= 32u) >> (k & 31u) & 1u) != 0u; }
fn visible_of(p: Attend, row: u32) -> Visible {
    let at = batch.texts + 5u * row;
    if (p.causal == 0u) {
        let all = batch.data[at + 4u];
        return Visible(select(0u, all - min(all, p.window), p.window != 0u), all, all, vec2<u32>(0u, 0u));
    }
    let end = batch.data[at + 1u];
    var tree = vec2<u32>(batch.data[at + 2u], batch.data[at + 3u]);
    var first = 0u;
    if (p.window != 0u) {
        var count = countOneBits(tree.x) + countOneBits(tree.y);
        for (; count > p.window; count--) { // the lowest bit is the oldest
            if (tree.x != 0u) { tree.x &= tree.x - 1u; } else { tree.y &= tree.y - 1u; }
        }
        first = end - min(end, p.window - count);
    }
    return Visible(first, end, end + u32(bits(tree)), tree);
}
fn sees(v: Visible, slot: u32) -> bool { return slot < v.end || bit_of(v.tree, slot - v.end); }
fn head_at(p: Attend, row: u32, kv_head: u32, slot: u32) -> u32 { // in the page of the slot
    let page = batch.data[batch.pages + batch.data[batch.texts + 5u * row] + slot / p.page];
    return (page * p.kv_heads + kv_head) * (p.page * (3u * p.padded / 4u + 2u));
}
fn mass_of(p: Attend, row: u32, kv_head: u32, slot: u32, e: u32) -> W { // e times the value's scale
    return mul_u(e, cache[head_at(p, row, kv_head, slot) + 3u * p.page * p.padded / 4u + p.page + slot % p.page]);
}
fn query_codes(p: Attend, at: u32, i: u32) -> vec2<i32> { // returns the mantissa and the drop of scores
    var top = 0u;
    for (var d = i; d < p.width; d += LANES) { top = max(top, size32(i32(rows[at + d]))); }
    let amax = largest_words(i, vec2<u32>(top, 0u)).x;
    let reciprocal = divide(W(0u, 2047u << 16u), max(1u, amax)); // 2047 * 2^48
    for (var d = i; d < p.width; d += LANES) {
        let x = i32(rows[at + d]);
        let v = size32(x);
        var c = mul_u(v, reciprocal.x);
        c.y += v * reciprocal.y;
        if (x < 0) { c = negate(c); }
        query[d] = i32(rshift(c, 48).x);
    }
    let product = mul_u(amax, p.mantissa);
    let l = bits(product);
    workgroupBarrier();
    return vec2<i32>(i32(shift(product, l - 15).x), p.exponent + 24 - l);
}
fn score_of(p: Attend, row: u32, kv_head: u32, slot: u32, factor: vec2<i32>) -> i32 {
    let head = head_at(p, row, kv_head, slot);
    let within = slot % p.page;
    let key = head + (within >> 4u) * (8u * p.padded) + (within & 15u);
    var acc = 0;
    for (var d = 0u; d < p.width; d += 2u) {
        let w = cache[key + d * 8u];
        acc += (i32(w << 16u) >> 16u) * query[d];
        if (d + 1u < p.width) { acc += (i32(w) >> 16u) * query[d + 1u]; }
    }
    let s = i32(rshift(mul(acc, factor.x), 15).x);
    let scale = i32(cache[head + 3u * p.page * p.padded / 4u + within]);
    let score = sat32(shift(mul(s, scale), factor.y));
    if (p.slope == 0u) { return score; }
    return soft_cap(score, p.slope, p.limit);
}
fn weighted(p: Attend, row: u32, kv_head: u32, mine: u32, v: Visible, d: u32) -> W { // the sum over positions
    var total = W(0u, 0u);
    for (var start = v.first; start < v.last; start += 4096u) { // so many products fit 32 bits
        var sum = 0;
        for (var j = start; j < min(start + 4096u, v.last); j++) {
            let within = j % p.page;
            let at = head_at(p, row, kv_head, j) + p.page * p.padded / 2u + within / 4u * p.padded + d;
            sum += scores[mine + j - v.first] * extractBits(i32(cache[at]), 8u * (j & 3u), 8u);
        }
        total = plus(total, wide(sum));
    }
    return total;
}
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.attend;
    let row = g.y;
    let kv_head = g.x / (p.heads / p.kv_heads);
    let mine = (row * p.heads + g.x) * batch.scores;
    let at = row * batch.row_words + g.x * p.width;
    let v = visible_of(p, row);
    let factor = query_codes(p, at + p.query, i);
    var top = -TOP;
    for (var j = v.first + i; j < v.last; j += LANES) {
        if (!sees(v, j)) { continue; }
        let score = score_of(p, row, kv_head, j, factor);
        scores[mine + j - v.first] = score;
        top = max(top, score);
    }
    var sink = -TOP;
    if (p.sinks != 0u) { sink = vector_word(p.sinks - 1u, g.x); }
    top = largest_i32(i, max(top, sink));
    var most = W(0u, 0u);
    var mass = W(0u, 0u);
    for (var j = v.first + i; j < v.last; j += LANES) {
        if (!sees(v, j)) { continue; }
        let e = exp2neg(u32(top) - u32(scores[mine + j - v.first])); // the difference is below 2^32
        let t = mass_of(p, row, kv_head, j, e);
        mass = plus(mass, W(e, 0u));
        if (less_u(most, t)) { most = t; }
    }
    if (p.sinks != 0u && i == 0u) { mass = plus(mass, W(exp2neg(u32(top) - u32(sink)), 0u)); }
    let both = largest_and_sum(i, most, mass);
    let h = max(0, bits(both.xy) - 12);
    for (var j = v.first + i; j < v.last; j += LANES) {
        var weight = 0u;
        if (sees(v, j)) {
            let e = exp2neg(u32(top) - u32(scores[mine + j - v.first]));
            weight = min(4095u, rshift(mass_of(p, row, kv_head, j, e), h).x);
        }
        scores[mine + j - v.first] = i32(weight);
    }
    storageBarrier();
    let low = bits(both.zw) - 23;
    let inverse = div(0x4000u, 0u, rshift(both.zw, low).x).x; // 2^46
    for (var d = i; d < p.width; d += LANES) {
        let total = weighted(p, row, kv_head, mine, v, d);
        let magnitude = size(total);
        var o = mul_u(magnitude.x, inverse);
        o.y += magnitude.y * inverse;
        if (negative(total)) { o = negate(o); }
        put(at + p.place, d, 0u, rshift(o, 52 + low - h));
    }
}
