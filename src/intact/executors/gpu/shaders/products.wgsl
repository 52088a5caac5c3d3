// include batch.wgsl
// include codes.wgsl
// Section 4: T rows by a panel of 16 outputs a workgroup, whose four quarters take every fourth group of 256 inputs. The
// matrices of a dispatch follow each other in panels; a segment says where the outputs of one of them go.
struct Segment {
    panel: u32,    // its first
    count: u32,    // of outputs
    first: u32,    // output of the target that its first output is
    place: u32,    // of the target in a row
    is_wide: u32,
    accumulate: u32,
    bias: u32,     // in `vectors`, plus 1; 0 for none
}
struct Product {
    codes: u32,    // of the rows
    blocks: u32,   // of 32 inputs
    zero: i32,
    round: u32,    // r
    minima: u32,   // offsets in `numbers`
    exponents: u32,
    table: u32,    // in `vectors`: T - zero
    adapter: u32,  // plus 1: rows that have another adapter are left alone; 0 for none
    slope: u32,    // of the soft cap of logits; 0 for none
    limit: u32,
    count: u32,    // of segments
    segments: array<Segment, 6>,
}
struct Parameters { product: Product }
var<workgroup> parts: array<vec2<i32>, 64 * T>;
var<workgroup> table: array<i32, 256>;
fn rounded(acc: i32, r: u32) -> i32 { return select(acc, rshift32(acc, max(r, 1u)), r > 0u); }
fn entry(c: u32, k: u32) -> i32 { return table[(c >> (8u * k)) & 255u]; }
fn four(c: u32, a: u32) -> i32 {
    if (TABLE == 0u) { return dot4(c, a); }
    let t = vec4<i32>(entry(c, 0u), entry(c, 1u), entry(c, 2u), entry(c, 3u));
    if (TABLE == 1u) { return dot4(pack4xI8(t), a); }
    let p = t * unpack4xI8(a);
    return p.x + p.y + p.z + p.w;
}
fn product_tile(panel: u32, row: u32, i: u32) {
    let p = par.product.blocks;
    let o = i & 15u;
    let part = i >> 4u;
    let pairs = select((p + 1u) / 2u, p, BLOCK == 16u);
    let zero = par.product.zero;
    let r = par.product.round;
    if (TABLE != 0u) {
        for (var k = i; k < (1u << BITS); k += 64u) { table[k] = vector_word(par.product.table, k); }
        workgroupBarrier();
    }
    var from_codes = array<u32, T>();
    for (var t = 0u; t < T; t++) { from_codes[t] = row_of(row + t) * batch.row_words + par.product.codes; }
    var sum = array<i32, T>();
    var least = array<i32, T>();
    for (var first = part * 8u; first < p; first += 32u) {
        var group = array<i32, T>();
        var minimum = array<vec2<i32>, T>();
        for (var b = first; b < min(first + 8u, p); b++) {
            let block = (panel * p + b) * BITS * 16u;
            var acc = array<vec2<i32>, T>();
            for (var k = 0u; k < 8u; k++) {
                let c = group_codes(block, k, o);
                for (var t = 0u; t < T; t++) {
                    let d = four(c, rows[from_codes[t] + 8u * b + k]);
                    if (k < 4u) { acc[t].x += d; } else { acc[t].y += d; }
                }
            }
            let at = (panel * pairs + select(b / 2u, b, BLOCK == 16u)) * 16u + o;
            let word = numbers[at];
            for (var t = 0u; t < T; t++) {
                let to = from_codes[t];
                let a = i32(rows[to + 8u * p + b]);
                let v = acc[t] - zero * vec2<i32>(i32(rows[to + 9u * p + 2u * b]), i32(rows[to + 9u * p + 2u * b + 1u]));
                if (BLOCK == 32u) {
                    group[t] += rounded(v.x + v.y, r) * rshift32(half_of(word, b) * a, 15u);
                } else {
                    group[t] += rounded(v.x, r) * rshift32(low_half(word) * a, 15u);
                    group[t] += rounded(v.y, r) * rshift32(high_half(word) * a, 15u);
                }
            }
            if (MINIMA) {
                let less = numbers[par.product.minima + at];
                for (var t = 0u; t < T; t++) {
                    let to = from_codes[t];
                    if (BLOCK == 32u) {
                        minimum[t].x += i32(rows[to + 11u * p + b]) * half_of(less, b);
                    } else {
                        let d = i32(rows[to + 12u * p + 2u * b]) * low_half(less)
                            + i32(rows[to + 12u * p + 2u * b + 1u]) * high_half(less);
                        if (((b - first) & 4u) == 0u) { minimum[t].x += d; } else { minimum[t].y += d; }
                    }
                }
            }
        }
        for (var t = 0u; t < T; t++) {
            sum[t] += (group[t] + 64) >> 7u;
            if (MINIMA && BLOCK == 32u) { least[t] += (minimum[t].x + 64) >> 7u; }
            if (MINIMA && BLOCK == 16u) { least[t] += ((minimum[t].x + 128) >> 8u) + ((minimum[t].y + 128) >> 8u); }
        }
    }
    for (var t = 0u; t < T; t++) { parts[t * 64u + i] = vec2<i32>(sum[t], least[t]); }
    workgroupBarrier();
    var which = 0u;
    for (var s = 1u; s < par.product.count; s++) { if (panel >= par.product.segments[s].panel) { which = s; } }
    let segment = par.product.segments[which];
    let n = (panel - segment.panel) * 16u + o;
    let e = numbers_exponent(panel * 16u + o);
    let fraction = select(16, 20, segment.is_wide != 0u);
    for (var t = part; t < T; t += 4u) {
        if (n >= segment.count || row + t >= row_count()) { continue; }
        let s = parts[t * 64u + o] + parts[t * 64u + 16u + o] + parts[t * 64u + 32u + o] + parts[t * 64u + 48u + o];
        let to = from_codes[t] + 14u * p;
        let exponent = fraction + i32(rows[to]);
        var v = shift(wide(s.x), -(22 + i32(r) + exponent + e.x));
        if (MINIMA) {
            let f = select(8, 7, BLOCK == 32u);
            let scaled = i32(rows[to + select(2u, 1u, BLOCK == 32u)]);
            v = plus(v, shift(wide(s.y), -(f + exponent + e.y + scaled)));
        }
        v = clip(v, 50u);
        if (segment.bias != 0u) { v = plus(v, vector_wide(segment.bias - 1u, segment.first + n)); }
        store(segment, row + t, segment.first + n, v);
    }
}
fn numbers_exponent(output: u32) -> vec2<i32> {
    let at = par.product.exponents + 2u * output;
    return vec2<i32>(i32(numbers[at]), i32(numbers[at + 1u]));
}
