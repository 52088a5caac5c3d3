// include batch.wgsl
// include reduce.wgsl
// Section 3, scheme int8. The codes of a row, at `codes`: bytes (8 blocks words), scales (blocks), sums of halves of
// blocks (2 blocks), scaled sums T of blocks of 32 (blocks) and of 16 (2 blocks), the exponent, the s of either T.
struct Quantize {
    source: u32,
    is_wide: u32,
    width: u32,
    blocks: u32,
    fraction: i32,
    codes: u32,
}
fn entering(q: Quantize, at: u32, k: u32) -> W {
    if (k < q.width) { return element(at + q.source, k, q.is_wide); }
    return W(0u, 0u);
}
fn row_exponent(top: W) -> i32 {
    if (top.x == 0u && top.y == 0u) { return 0; }
    let e = bits(top) - 20;
    var most = W(1040257u >> u32(max(-e, 0)), 0u); // 127 * 8191
    if (e > 0) { most = left(W(1040257u, 0u), u32(e)); }
    return select(e, e + 1, less_u(most, top));
}
fn sum_shift(top: u32) -> i32 {
    let s = max(0, bits32(top) - 13);
    return select(s, s + 1, scaled_sum(i32(top), s) > 8191);
}
fn scaled_sum(sum: i32, s: i32) -> i32 { return select(sum, rshift32(sum, u32(max(s, 1))), s > 0); }
fn quantize_row(q: Quantize, row: u32, i: u32) {
    let at = row * batch.row_words;
    let codes = at + q.codes;
    let scales = codes + 8u * q.blocks;
    let sums = codes + 9u * q.blocks;
    var most = W(0u, 0u);
    for (var k = i; k < q.width; k += LANES) {
        let v = size(entering(q, at, k));
        if (less_u(most, v)) { most = v; }
    }
    let e = row_exponent(largest(i, most));
    var tops = vec2<u32>(0u, 0u);
    for (var b = i; b < q.blocks; b += LANES) {
        var top = 1u;
        for (var k = 0u; k < 32u; k++) { top = max(top, size32(i32(shift(entering(q, at, b * 32u + k), e).x))); }
        let a = (top + 126u) / 127u;
        let reciprocal = i32((0x1000000u + (a >> 1u)) / a);
        var both = 0;
        for (var half = 0u; half < 2u; half++) {
            var sum = 0;
            for (var j = 0u; j < 4u; j++) {
                var word = 0u;
                for (var k = 0u; k < 4u; k++) {
                    let u = i32(shift(entering(q, at, b * 32u + half * 16u + j * 4u + k), e).x);
                    let code = rshift32(u * reciprocal, 24u);
                    sum += code;
                    word |= (u32(code) & 255u) << (8u * k);
                }
                rows[codes + b * 8u + half * 4u + j] = word;
            }
            rows[sums + 2u * b + half] = u32(sum);
            both += sum;
            tops.y = max(tops.y, size32(sum) * a);
        }
        rows[scales + b] = a;
        tops.x = max(tops.x, size32(both) * a);
    }
    tops = largest_words(i, tops);
    let s32 = sum_shift(tops.x);
    let s16 = sum_shift(tops.y);
    for (var b = i; b < q.blocks; b += LANES) { // each thread reads what it wrote
        let a = i32(rows[scales + b]);
        let low = i32(rows[sums + 2u * b]) * a;
        let high = i32(rows[sums + 2u * b + 1u]) * a;
        rows[codes + 11u * q.blocks + b] = u32(scaled_sum(low + high, s32));
        rows[codes + 12u * q.blocks + 2u * b] = u32(scaled_sum(low, s16));
        rows[codes + 12u * q.blocks + 2u * b + 1u] = u32(scaled_sum(high, s16));
    }
    if (i == 0u) {
        rows[codes + 14u * q.blocks] = u32(e - q.fraction);
        rows[codes + 14u * q.blocks + 1u] = u32(s32);
        rows[codes + 14u * q.blocks + 2u] = u32(s16);
    }
}
