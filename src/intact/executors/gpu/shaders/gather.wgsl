// include batch.wgsl
// Columns of a row by an index in `vectors`; those whose index is -1 become 0, or stay as they are: a row a workgroup.
struct Gather {
    source: u32,
    place: u32,
    is_wide: u32,
    width: u32,
    index: u32,
    keep: u32,
}
struct Parameters { gather: Gather }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.gather;
    let at = g.y * batch.row_words;
    for (var k = i; k < p.width; k += LANES) {
        let from_column = vector_word(p.index, k);
        if (from_column >= 0) {
            put(at + p.place, k, p.is_wide, element(at + p.source, u32(from_column), p.is_wide));
        } else if (p.keep == 0u) {
            put(at + p.place, k, p.is_wide, W(0u, 0u));
        }
    }
}
