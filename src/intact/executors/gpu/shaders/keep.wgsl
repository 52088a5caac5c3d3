// include keep_head.wgsl
// A KV head of a row a workgroup.
struct Parameters { keep: Keep }
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    keep_head(par.keep, g.y, g.x, i);
}
