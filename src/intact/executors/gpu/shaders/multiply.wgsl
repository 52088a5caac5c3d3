// include batch.wgsl
// Columns of a wide row times a number in Q24 (intact.numerics.multiply): a row a workgroup.
struct Multiply {
    source: u32,
    start: u32,
    place: u32,
    place_wide: u32,
    width: u32,
    multiplier: i32,
}
struct Parameters { multiply: Multiply }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.multiply;
    let at = g.y * batch.row_words;
    for (var k = i; k < p.width; k += LANES) {
        let x = clip(element(at + p.source, p.start + k, 1u), 46u);
        let low = mul(i32(x.x & 0xffffffu), p.multiplier); // x times the multiplier is high * 2^24 + low
        let high = mul(i32(right(x, 24u).x), p.multiplier);
        if (p.place_wide != 0u) {
            put(at + p.place, k, 1u, plus(high, rshift(low, 24)));
        } else {
            put(at + p.place, k, 0u, right(plus(high, right(plus(low, W(1u << 27u, 0u)), 24u)), 4u));
        }
    }
}
