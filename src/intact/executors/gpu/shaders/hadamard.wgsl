// include batch.wgsl
// A block of up to 256 columns times the Hadamard matrix of its size (intact.numerics.hadamard): a block a workgroup.
struct Hadamard {
    source: u32,
    source_wide: u32,
    place: u32,
    size: u32,
}
struct Parameters { hadamard: Hadamard }
var<workgroup> values: array<W, 256>;
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.hadamard;
    let at = g.y * batch.row_words;
    for (var k = i; k < p.size; k += LANES) {
        values[k] = clip(element(at + p.source, g.x * p.size + k, p.source_wide), 53u);
    }
    workgroupBarrier();
    for (var half = 1u; half < p.size; half *= 2u) {
        for (var j = i; j < p.size / 2u; j += LANES) {
            let first = j / half * 2u * half + j % half;
            let a = values[first];
            let b = values[first + half];
            values[first] = plus(a, b);
            values[first + half] = minus(a, b);
        }
        workgroupBarrier();
    }
    for (var k = i; k < p.size; k += LANES) { put(at + p.place, g.x * p.size + k, 1u, values[k]); }
}
