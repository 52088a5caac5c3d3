// include products.wgsl
// Products of all rows with matrices; results are set, or added where a segment accumulates.
fn row_count() -> u32 { return batch.rows; }
fn row_of(row: u32) -> u32 { return min(row, batch.rows - 1u); } // rows beyond the last one are computed, not stored
fn store(segment: Segment, row: u32, k: u32, value: W) {
    let adapter = par.product.adapter;
    if (adapter != 0u && batch.data[batch.adapters + row] != adapter) { return; }
    let at = row * batch.row_words + segment.place;
    var v = value;
    if (segment.accumulate != 0u) { v = plus(element(at, k, segment.is_wide), v); }
    put(at, k, segment.is_wide, v);
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    product_tile(g.x, g.y * T, i);
}
