// include batch.wgsl
// A vector added to the wide rows that have an adapter: a row a workgroup.
struct Steer {
    place: u32,
    width: u32,
    vector: u32,
    adapter: u32, // plus 1
}
struct Parameters { steer: Steer }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.steer;
    if (batch.data[batch.adapters + g.y] != p.adapter) { return; }
    let at = g.y * batch.row_words + p.place;
    for (var k = i; k < p.width; k += LANES) { put(at, k, 1u, plus(element(at, k, 1u), vector_wide(p.vector, k))); }
}
