// include products.wgsl
// include functions.wgsl
// Logits of the wanted rows.
@group(0) @binding(6) var<storage, read_write> logits: array<i32>; // [wanted][vocabulary]
fn row_count() -> u32 { return batch.wanted; }
fn row_of(row: u32) -> u32 { return batch.data[batch.heads + min(row, batch.wanted - 1u)]; }
fn store(segment: Segment, row: u32, k: u32, value: W) {
    var v = sat32(value);
    if (par.product.slope != 0u) { v = soft_cap(v, par.product.slope, par.product.limit); }
    logits[row * segment.place + k] = v; // its place is the vocabulary
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    product_tile(g.x, g.y * T, i);
}
