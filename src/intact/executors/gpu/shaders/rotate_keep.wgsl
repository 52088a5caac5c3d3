// include rotate_head.wgsl
// include keep_head.wgsl
// The heads of a query and of a key are rotated, and keys and values kept: a head of a row a workgroup.
struct Parameters { query: Rotate, key: Rotate, keep: Keep }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    if (g.x < par.query.heads) {
        rotate_head(par.query, g.y, g.x, i);
        return;
    }
    let head = g.x - par.query.heads;
    rotate_head(par.key, g.y, head, i);
    storageBarrier();
    keep_head(par.keep, g.y, head, i);
}
