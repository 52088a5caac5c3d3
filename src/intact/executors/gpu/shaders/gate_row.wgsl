// include batch.wgsl
// include functions.wgsl
// Section 8: narrow gate and up to wide. `kind` is the activation's index in intact.numerics.gate.GATES.
struct Gate {
    gate: u32,
    up: u32, // plus 1; 0 for none
    place: u32,
    width: u32,
    kind: u32,
}
const SILU = 0u;
const GELU = 1u;
const RELU = 2u;
const SWIGLU_OAI = 3u;
const SIGMOID = 4u;
const GELU_ERF = 5u;
const OAI_LIMIT = 458752; // 7
fn times_sigmoid(x: i32, s: i32) -> i32 { return i32(rshift(mul(x, i32(sigmoid(s))), 30).x); }
fn gelu(x: i32) -> i32 {
    let y = clamp(x, -1048576, 1048576);
    let square = i32(rshift(mul(y, y), 16).x);
    let slope = plus(W(1713444047u, 0u), rshift(mul(square, 76616651), 16)); // below 2^35
    var scaled = mul_u(size32(y), slope.x);
    scaled.y += size32(y) * slope.y;
    if (y < 0) { scaled = negate(scaled); }
    return times_sigmoid(x, sat32(rshift(scaled, 30)));
}
fn erf_term(s: i32, z: i32, c: i32) -> i32 { return i32(rshift(mul(s, z), 16).x) + c; }
fn gelu_erf(x: i32) -> i32 {
    let y = clamp(x, -425984, 425984);
    let z = i32(rshift(mul(y, y), 16).x);
    let s = erf_term(erf_term(erf_term(erf_term(601, z, -16418), z, -67035), z, 19579033), z, 428330719);
    return times_sigmoid(x, i32(rshift(mul(y, s), 28).x));
}
fn swiglu_oai(x: i32) -> i32 {
    let y = min(x, OAI_LIMIT);
    return times_sigmoid(y, i32(rshift(mul(max(y, -1048576), 111542), 16).x));
}
fn activation(x: i32, kind: u32) -> i32 {
    switch (kind) {
        case SILU: { return times_sigmoid(x, x); }
        case GELU: { return gelu(x); }
        case GELU_ERF: { return gelu_erf(x); }
        case SWIGLU_OAI: { return swiglu_oai(x); }
        default: { return max(x, 0); }
    }
}
fn gate_row(p: Gate, row: u32, i: u32) {
    let at = row * batch.row_words;
    for (var k = i; k < p.width; k += LANES) {
        let x = i32(rows[at + p.gate + k]);
        var up = 0;
        if (p.up != 0u) { up = i32(rows[at + p.up - 1u + k]); }
        var y = W(0u, 0u);
        if (p.kind == SIGMOID) {
            let share = i32(sigmoid(x));
            y = rshift(wide(share), 10);
            if (p.up != 0u) { y = rshift(mul(up, share), 26); }
        } else {
            if (p.kind == SWIGLU_OAI) { up = clamp(up, -OAI_LIMIT, OAI_LIMIT) + 65536; }
            let v = activation(x, p.kind);
            y = left(wide(v), 4u);
            if (p.up != 0u) { y = rshift(mul(v, up), 12); }
        }
        put(at + p.place, k, 1u, y);
    }
}
