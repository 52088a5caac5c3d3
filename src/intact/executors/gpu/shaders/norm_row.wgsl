// include batch.wgsl
// include functions.wgsl
// include reduce.wgsl
// Section 5: a slice of a row, of `width` elements. The source may be the target.
struct Norm {
    source: u32,
    source_wide: u32,
    place: u32,
    place_wide: u32,
    width: u32,
    factor: u32,        // in `vectors`; slice s starts at factor + s * factor_step
    factor_step: u32,
    drop: u32,          // the last shift
    epsilon_low: u32,   // at the source's fraction
    epsilon_high: u32,
    accumulate: u32,
    centered: u32,
    bias: u32,          // in `vectors`, plus 1; 0 for none
}
fn centered_limit(v: W) -> W { return clip(v, 46u); }
fn mean_of(sum: W, n: u32) -> W { // floor((2 sum + n) / 2n)
    let a = plus(plus(sum, sum), W(n, 0u));
    if (!negative(a)) { return divide(a, 2u * n); }
    return negate(divide(plus(negate(a), W(2u * n - 1u, 0u)), 2u * n));
}
fn norm_element(p: Norm, at: u32, k: u32, mean: W) -> W {
    let v = element(at, k, p.source_wide);
    if (p.centered == 0u) { return v; }
    return minus(centered_limit(v), mean);
}
fn norm_slice(p: Norm, row: u32, slice: u32, i: u32) {
    let at = row * batch.row_words + p.source + ((slice * p.width) << p.source_wide);
    let to = row * batch.row_words + p.place + ((slice * p.width) << p.place_wide);
    var total = W(0u, 0u);
    if (p.centered != 0u) {
        for (var k = i; k < p.width; k += LANES) { total = plus(total, centered_limit(element(at, k, p.source_wide))); }
    }
    let mean = mean_of(sum_of(i, total), p.width);
    var top = 0u;
    for (var k = i; k < p.width; k += LANES) { top = max(top, u32(bits(size(norm_element(p, at, k, mean))))); }
    let length = i32(largest_words(i, vec2<u32>(top, 0u)).x);
    let s = max(0, length - 20);
    let t = max(0, length - 31);
    var squares = W(0u, 0u);
    for (var k = i; k < p.width; k += LANES) {
        let v = size(rshift(norm_element(p, at, k, mean), s)).x;
        squares = plus(squares, mul_u(v, v));
    }
    var v = plus(sum_of(i, squares), rshift(W(p.epsilon_low, p.epsilon_high), 2 * s));
    if (v.x == 0u && v.y == 0u) { v = W(1u, 0u); }
    let root = inverse_root(v);
    for (var k = i; k < p.width; k += LANES) {
        let x = rshift(norm_element(p, at, k, mean), t);
        var unit = mul_u(size(x).x, root.r); // the size may be 2^31
        if (negative(x)) { unit = negate(unit); }
        unit = rshift(unit, 31 - root.p + s - t);
        var y = rshift(mul(i32(unit.x), vector_word(p.factor + slice * p.factor_step, k)), i32(p.drop));
        if (p.centered != 0u) {
            if (p.bias != 0u) { y = plus(y, vector_wide(p.bias - 1u, k)); }
            if (p.place_wide == 0u) { y = rshift(y, 4); }
        }
        if (p.accumulate != 0u) { y = plus(y, element(to, k, p.place_wide)); }
        put(to, k, p.place_wide, y);
    }
}
